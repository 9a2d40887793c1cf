"""The path of a folder as it is written down, and told."""

import os
from pathlib import Path


def plain_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a place, without a part ``..``.

    Links keep their names, but where what follows one leads up again: that is another folder than
    the one that the path's words name.

    Examples
    --------
    >>> plain_path("/data/lab/../small")
    PosixPath('/data/small')
    """
    absolute = Path(path).absolute()
    if ".." not in absolute.parts:
        return absolute
    plain, there = Path(os.path.normpath(absolute)), absolute.resolve()
    return plain if plain.resolve() == there else there
