"""Which results there are of a run."""

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from forebay.acquisition import Run
from forebay.engine.errors import JobError
from forebay.engine.results.folder import DESCRIPTION

_DEPTH = 8
"""How many folders deep a run lies at the most."""


def usual_results(run: Path, name: str) -> Path:
    """Return where the results of a run go if nobody says where: into the folder of the runs.

    Parameters
    ----------
    run
        The folder of the run.
    name
        What the run was called when it was made, from the folder of the runs on.

    Examples
    --------
    >>> usual_results(Path("/data/beads/001"), "beads/001")
    PosixPath('/data/results')
    >>> usual_results(Path("/elsewhere/001"), "beads/001")
    PosixPath('/elsewhere/results')
    """
    folder, parts = run.absolute(), PurePosixPath(name).parts
    depth = len(parts) if folder.parts[-len(parts) :] == parts else 1
    return folder.parents[depth - 1] / "results"


def find_results(run: Run, results: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield the folders of a run's results, and not of another run's of that name.

    They are not opened: one that is damaged hides none of the others.

    Parameters
    ----------
    run
        The run.
    results
        The folder of the results. If not given, ``results`` beside the run and in the folders
        above it.

    Yields
    ------
    Path
        The folder of a result, for `open_result`; none where there is no such folder.

    Raises
    ------
    JobError
        If it is no opened run, such as its path.

    Examples
    --------
    >>> import tempfile, forebay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
    ...     run = forebay.open_run(f"{folder}/run")
    ...     result = forebay.process(run, "find-particles")
    ...     [path.name.rpartition("-")[0] for path in forebay.find_results(run)]
    ['find-particles-1.0.0']
    """
    if not isinstance(run, Run):
        raise JobError(f"{run!r} is not an opened run: open it with forebay.open_run")
    folders = _usual_folders(run) if results is None else [Path(results)]
    for folder in folders:
        for description in sorted((folder / run.name).glob(f"*/{DESCRIPTION}")):
            try:
                job = json.loads(description.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(job, dict) and job.get("run_id") == run.run_id:
                yield description.parent


def _usual_folders(run: Run) -> list[Path]:
    """Return where results go if nobody says where."""
    if run.path is None:
        return []
    return [folder / "results" for folder in run.path.absolute().parents[:_DEPTH]]
