"""What is wanted of runs: the results, and where each of them goes."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.acquisition.format.layout import LOG
from forebay.engine.algorithm import Algorithm, WholeRun
from forebay.engine.errors import ParameterError, RunNotClosedError
from forebay.engine.queue.jobs import Target
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Job


def targets(
    runs: Iterable[Run],
    algorithm: Algorithm,
    parameters: Mapping[str, Any],
    *,
    results: str | os.PathLike[str] | None,
    live: bool = False,
) -> list[Target]:
    """Return the results of an algorithm over runs.

    Parameters
    ----------
    runs
        The runs.
    algorithm
        The algorithm.
    parameters
        Its parameters, bound.
    results
        Folder of all results; by default ``results`` beside each run.
    live
        Whether runs are followed while they grow.

    Raises
    ------
    ParameterError
        If a run has no folder beside it, or results would lie within a run.
    RunNotClosedError
        If the algorithm needs a whole run that still grows.
    """
    wanted = []
    for run in runs:
        if isinstance(algorithm.needs, WholeRun) and not (run.closed or live):
            remedy = (
                "is open though nobody writes it: end it first ('forebay runs close')"
                if run.path is not None and run.writer is None
                else "is still growing: wait until it is closed, or follow it (--follow)"
            )
            raise RunNotClosedError(
                f"{algorithm.label} needs the whole run and {run.location} {remedy}"
            )
        job = Job.of(run, algorithm, dict(parameters))
        folder = ResultFolder.of(results_folder(run, results), job)
        folder.check(job)
        wanted.append(
            Target(job, str(run.path.absolute()) if run.path else run.location, str(folder.path))
        )
    return wanted


def results_folder(run: Run, given: str | os.PathLike[str] | None) -> Path:
    """Return the folder of all results: as given, or beside the run; never within a run.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if given is not None:
        results = Path(given).absolute()
    elif run.path is not None:
        results = run.path.absolute().parent / "results"
    else:
        raise ParameterError(f"{run.location} is not on this machine: say where results go")
    for folder in (results, *results.parents):
        if os.path.isdir(folder / LOG):  # noqa: PTH112 (False where it may not be looked at)
            raise ParameterError(
                f"results cannot go to {results}, which is in the run {folder}: choose another "
                "folder (--results)"
            )
    return results
