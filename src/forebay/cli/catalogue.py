"""Which runs lie in a folder, and what is published of a run."""

import os
from collections.abc import Iterator
from pathlib import Path

from forebay.cli.errors import FolderError

_RUN_MARK = "_forebay"
_DEPTH = 8


def find_runs(folder: Path, *, depth: int = _DEPTH) -> Iterator[Path]:
    """Yield the folders of the runs in `folder`, in the order of their names.

    Raises
    ------
    FolderError
        If `folder` cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            )
    except OSError as error:
        raise FolderError(
            f"the folder of the runs, {folder}, cannot be read: {error.strerror}; choose another "
            "with --runs or the setting 'runs'"
        ) from error
    for name in names:
        path = folder / name
        if (path / _RUN_MARK).is_dir():
            yield path
        elif depth > 1 and os.access(path, os.R_OK | os.X_OK):
            yield from find_runs(path, depth=depth - 1)


def find_results(results: Path, run_name: str) -> Iterator[Path]:
    """Yield the folders of a run's results."""
    folder = results / run_name
    if folder.is_dir():
        yield from sorted(each.parent for each in folder.glob("*/result.json"))
