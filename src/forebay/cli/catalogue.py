"""Which runs lie in a folder, and what is published of a run."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.cli.errors import FolderError

if TYPE_CHECKING:
    from forebay.acquisition import Run

_RUN_MARK = "_forebay"
_BUNDLE_MARK = "bagit.txt"
_DEPTH = 8


def find_runs(folder: Path, *, depth: int = _DEPTH) -> Iterator[Path]:
    """Yield the folders of the runs in `folder`, in the order of their names.

    The run in a bundle is none of them: it is the copy of one.

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
        try:
            if (path / _RUN_MARK).is_dir():
                yield path
            elif depth > 1 and not (path / _BUNDLE_MARK).is_file():
                yield from find_runs(path, depth=depth - 1)
        except OSError:
            # What this user may not look into holds no run of theirs.
            continue


def find_results(results: Path, run: "Run") -> Iterator[Path]:
    """Yield the folders of a run's results, and not of another run's of that name."""
    for description in sorted((results / run.name).glob("*/result.json")):
        try:
            job = json.loads(description.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(job, dict) and job.get("run_id") == run.run_id:
            yield description.parent
