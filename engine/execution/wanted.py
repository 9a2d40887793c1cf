"""What is wanted of runs: the results, and where each of them goes."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.acquisition.format.layout import LOG
from forebay.engine.definition import Algorithm, WholeRun
from forebay.engine.errors import (
    JobError,
    ParameterError,
    RunNotClosedError,
    UnknownAlgorithmError,
)
from forebay.engine.queue.database import Database
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.submission import Target
from forebay.engine.registry import REGISTRY
from forebay.engine.results.finding import usual_results
from forebay.engine.results.folder import LEDGER, ResultFolder
from forebay.engine.unit import Job, plan


def algorithm_of(given: Algorithm | str) -> Algorithm:
    """Return an algorithm, or the one of that name.

    Raises
    ------
    UnknownAlgorithmError
        If there is none, or it is something else, such as a function.
    """
    if isinstance(given, Algorithm):
        return given
    if not isinstance(given, str):
        raise UnknownAlgorithmError(
            f"{given!r} is not an algorithm: declare it with @forebay.algorithm(name, version=...)"
        )
    REGISTRY.load()
    return REGISTRY.get(given)


def opened_runs(runs: Run | Iterable[Run]) -> list[Run]:
    """Return one run or many as a list.

    Raises
    ------
    JobError
        If one is something else, such as the path of a run.
    """
    single = isinstance(runs, Run | str | bytes | os.PathLike)
    opened = []
    for each in runs if isinstance(runs, Iterable) and not single else [runs]:
        if not isinstance(each, Run):
            raise JobError(f"{each!r} is not an opened run: open it with forebay.open_run")
        opened.append(each)
    return opened


def targets(
    runs: Iterable[Run],
    algorithm: Algorithm,
    parameters: Mapping[str, Any],
    *,
    results: str | os.PathLike[str] | None,
    ledger: Path | str | None = None,
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
        Folder of all results; by default ``results`` in the folder of the runs. What was begun
        beside a run that lies deeper, where it went before, is gone on with there.
    ledger
        Where they are to be entered; by default wherever what is there of them was.
    live
        Whether runs are followed while they grow.

    Raises
    ------
    ParameterError
        If a run has no folder beside it, or results would lie within a run.
    RunNotClosedError
        If the algorithm needs a whole run that still grows.
    ResultLedgerError
        If what is there of a result is entered in another ledger.
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
        if results is None and run.path is not None and not folder.begun:
            before = ResultFolder.of(run.path.absolute().parent / "results", job)
            folder = before if before.begun else folder
        folder.check(job, ledger=ledger)
        wanted.append(
            Target(job, str(run.path.absolute()) if run.path else run.location, str(folder.path))
        )
    return wanted


def done_units(target: Target, ledger: Path | str, *, force: bool) -> frozenset[str]:
    """Return the units of a result that are not computed any more."""
    if force or (isinstance(ledger, Path) and not ledger.is_file()):
        return frozenset()
    with Database(ledger) as database:
        units = Ledger(database).units(target.job.identity)
    return frozenset(each.unit for each in units if each.state == UnitState.DONE)


def anything_left(
    runs: Sequence[Run], wanted: Sequence[Target], ledger: Path | str | None = None
) -> bool:
    """Tell whether any unit is still to be computed.

    Parameters
    ----------
    runs
        The runs.
    wanted
        What is wanted of each of them.
    ledger
        Where it is entered what is done; by default wherever what is there of the results was.
    """
    for run, target in zip(runs, wanted, strict=True):
        where = ledger or ResultFolder(Path(target.folder)).ledger
        done = done_units(target, where, force=False)
        if any(unit.identity not in done for unit, _ in plan(run, target.job)):
            return True
    return False


def common_results(runs: Sequence[Run], given: str | os.PathLike[str] | None) -> Path:
    """Return the folder of all results of a job over several runs.

    Raises
    ------
    JobError
        If there are no runs.
    """
    if not runs:
        raise JobError("a job needs at least one run")
    return results_folder(runs[0], given)


def results_folder(run: Run, given: str | os.PathLike[str] | None) -> Path:
    """Return the folder of all results: as given, or that of the runs'; never within a run.

    Raises
    ------
    ParameterError
        If there is none, or cannot be one.
    """
    if given is not None:
        results = Path(given).absolute()
    elif run.path is not None:
        results = usual_results(run.path, run.name)
    else:
        raise ParameterError(f"{run.location} is not on this machine: say where results go")
    nearest = next(each for each in (results, *results.parents) if os.path.lexists(each))
    if not nearest.is_dir():
        raise ParameterError(
            f"results cannot go to {results}: {nearest} is no folder, choose another (--results)"
        )
    if (within := run_around(results)) is not None:
        raise ParameterError(
            f"results cannot go to {results}, which is in the run {within}: choose another "
            "folder (--results)"
        )
    return results


def ledger_at(given: Path | str | None, results: Path | None = None) -> Path | str:
    """Return the place of a ledger: a URL as it is, or a path; by default among the results.

    Raises
    ------
    ParameterError
        If it would lie within a run.

    Examples
    --------
    >>> ledger_at("postgresql+psycopg://user@host/forebay")
    'postgresql+psycopg://user@host/forebay'
    >>> ledger_at(None, Path("/data/results"))
    PosixPath('/data/results/ledger.sqlite')
    """
    if isinstance(given, str) and "://" in given:
        return given
    place = Path(given).expanduser() if given is not None else (results or Path()) / LEDGER
    place = place.absolute()
    if (within := run_around(place.parent)) is not None:
        raise ParameterError(
            f"the ledger cannot be {place}, which is in the run {within}: choose another place "
            "(--ledger or --results)"
        )
    return place


def run_around(folder: Path) -> Path | None:
    """Return the run that a folder is, or lies in."""
    for each in (folder, *folder.parents):
        if os.path.isdir(each / LOG):  # noqa: PTH112 (False where it may not be looked at)
            return each
    return None
