"""Which runs lie in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from forebay.acquisition.arguments import check_count
from forebay.acquisition.errors import FolderError, RunNotFoundError
from forebay.acquisition.format.layout import CONTROL

_BUNDLE_MARK = "bagit.txt"
_DEPTH = 8


def run_folder(location: object) -> Path:
    """Return the folder of a run, which a worker in another folder finds as well.

    Raises
    ------
    RunNotFoundError
        If there is no such folder, or what was given names none.
    """
    if not isinstance(location, str | os.PathLike):
        raise RunNotFoundError(
            f"{location!r} is no place of a run: give its folder as text or as a path, or its URL"
        )
    path = Path(location)
    try:
        there = path.is_dir()
    except OSError as error:
        raise RunNotFoundError(
            f"{path} cannot be opened as a run: {error.strerror}; check the name and who may read "
            "the folders above it"
        ) from error
    if not there:
        raise RunNotFoundError.no_folder(path)
    return path.absolute()


def find_runs(folder: str | os.PathLike[str], *, depth: int = _DEPTH) -> Iterator[Path]:
    """Yield the folders of the runs in a folder, in the order of their names.

    They are not opened: one that is damaged hides none of the others.  The run in a bundle is none
    of them: it is the copy of one.

    Parameters
    ----------
    folder
        The folder of the runs.
    depth
        How many folders deep a run may lie: the run ``monday/water`` lies two deep.

    Yields
    ------
    Path
        The folder of a run, for `open_run`.

    Raises
    ------
    FolderError
        If `folder` cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from forebay.acquisition import acquire, find_runs
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("water", "monday/beads"):
    ...         with open_source("simulated:shape=48x64,emitters=5", frames=1) as source:
    ...             _ = acquire(source, f"{folder}/{name}")
    ...     [str(path.relative_to(folder)) for path in find_runs(folder)]
    ['monday/beads', 'water']
    """
    if not isinstance(folder, str | os.PathLike):
        raise FolderError(f"{folder!r} is no folder of runs: give it as text or as a path")
    check_count("depth", depth)
    folder = Path(folder)
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            )
    except (OSError, ValueError) as error:
        # A path with a zero byte is no path for the system.
        why = error.strerror if isinstance(error, OSError) else error
        raise FolderError(
            f"the folder of the runs, {folder}, cannot be read: {why}; choose another "
            "(with --runs or the setting 'runs' at the command line)"
        ) from error
    for name in names:
        path = folder / name
        try:
            if (path / CONTROL).is_dir():
                yield path
            elif depth > 1 and not (path / _BUNDLE_MARK).is_file():
                yield from find_runs(path, depth=depth - 1)
        except OSError:
            # What this user may not look into holds no run of theirs.
            continue
