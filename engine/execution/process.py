"""Running an algorithm over a run, now: in batch, or live while the run grows."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.acquisition.format.layout import LOG
from forebay.engine.algorithm import Algorithm, WholeRun
from forebay.engine.errors import ParameterError, RunNotClosedError
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.events import Observer
from forebay.engine.execution.executor import DaskExecutor, Executor, InProcessExecutor
from forebay.engine.ledger import Ledger
from forebay.engine.registry import REGISTRY
from forebay.engine.results.folder import ResultFolder
from forebay.engine.results.result import Result, load_result
from forebay.engine.unit import Job


def process(
    run: Run,
    algorithm: Algorithm | str,
    /,
    *,
    client: Any = None,
    results: str | os.PathLike[str] | None = None,
    follow: bool = False,
    force: bool = False,
    stop: threading.Event | None = None,
    on_event: Observer | None = None,
    units_in_flight_per_worker: int = 2,
    **parameters: Any,
) -> Result:
    """Run an algorithm over a run and return its published result.

    Units that are done already are not computed again, so that calling it once more completes
    what was interrupted, and does nothing where nothing is missing.

    Parameters
    ----------
    run
        The run, from `open_run`.
    algorithm
        The algorithm, or its name.
    client
        A `distributed.Client` whose workers compute; by default this process does.
    results
        Folder for results; by default ``results`` beside the run.
    follow
        Go on with each block as it is committed, until the run is closed.
    force
        Compute also what is done, and publish it in place of the earlier parts.
    stop
        Ends the job when it is set; what is being computed then is still published, unless it
        takes a cluster more than half a minute.
    on_event
        Told of everything that happens, from the calling thread.
    units_in_flight_per_worker
        Units that are handed out at a time, for each one that the workers compute at the same
        time: with 1, a worker waits for its next unit; more than 2 seldom help.
    **parameters
        The algorithm's parameters.

    Returns
    -------
    Result
        The published parts.

    Raises
    ------
    ParameterError, UnknownAlgorithmError
        If there is no such algorithm or parameter, or its value is of the wrong type.
    RunNotClosedError
        If the algorithm needs the whole run, and the run still grows.
    UnitsFailedError
        If some units could not be computed.  The others are published.
    JobInterruptedError
        If `stop` was set before the end.
    ClusterLostError
        If the cluster went away before the end.
    JobTakenOverError
        If another process computes the same units and has not published them yet.
    ResultStorageError, LedgerError
        If the storage refuses to keep the result.

    Examples
    --------
    Count particles in a simulated run:

    >>> import tempfile, forebay
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         status = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
    ...     result = forebay.process(forebay.open_run(f"{folder}/run"), "find-particles")
    ...     len(result.done), result.frames
    (2, 4)
    """
    if isinstance(algorithm, str):
        REGISTRY.load()
        algorithm = REGISTRY.get(algorithm)
    bound = algorithm.bind(parameters)
    if isinstance(algorithm.needs, WholeRun) and not (run.closed or follow):
        remedy = (
            "is open though nobody writes it: end it first ('forebay runs close')"
            if run.path is not None and run.writer is None
            else "is still growing: wait until it is closed, or follow it (--follow)"
        )
        raise RunNotClosedError(
            f"{algorithm.label} needs the whole run and {run.location} {remedy}"
        )
    if units_in_flight_per_worker < 1:
        raise ParameterError(
            f"units_in_flight_per_worker cannot be {units_in_flight_per_worker}: at least 1 unit "
            "has to be handed out"
        )
    job = Job.of(run, algorithm, bound)
    folder = ResultFolder.of(_results(run, results), job)
    executor: Executor = InProcessExecutor() if client is None else DaskExecutor(client)
    with contextlib.closing(Ledger(folder.ledger)) as ledger, folder.session() as staging:
        ledger.add_job(job)
        folder.describe(job, staging)
        folder.sweep(ledger, job)
        with contextlib.closing(executor):
            dispatcher = Dispatcher(
                job,
                algorithm,
                folder,
                staging,
                ledger,
                executor,
                units_in_flight_per_worker=units_in_flight_per_worker,
                force=force,
                stop=stop or threading.Event(),
                on_event=on_event,
            )
            dispatcher.carry_out(run, follow=follow)
        dispatcher.check()
        return load_result(folder, ledger, job.identity, computed=dispatcher.published)


def _results(run: Run, given: str | os.PathLike[str] | None) -> Path:
    """Return the folder of all results: as given, or beside the run; never within a run."""
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
