"""Running an algorithm over a run, now: in batch, or live while the run grows."""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.acquisition.format.layout import LOG
from forebay.engine.algorithm import Algorithm, WholeRun
from forebay.engine.errors import (
    JobInterruptedError,
    ParameterError,
    RunNotClosedError,
    UnitsFailedError,
)
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.events import Observer
from forebay.engine.execution.executor import DaskExecutor, Executor, InProcessExecutor
from forebay.engine.execution.heartbeat import Heartbeat
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs, Submission, Target
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import LEASE_SECONDS, Service
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.retry import PROMPT_RULES, RetryPolicy
from forebay.engine.queue.states import JobState, UnitState
from forebay.engine.registry import REGISTRY
from forebay.engine.results.folder import ResultFolder
from forebay.engine.results.result import Result, load_result
from forebay.engine.unit import Job

_WAKE_SECONDS = 0.2
_STOP_SECONDS = 30.0
"""How long a job that was stopped waits for what is being computed."""


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
    LeaseLostError
        If this process was stopped for so long that others have taken over its work.
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
    folder.check(job)
    chosen = algorithm

    def find(name: str, version: str) -> Algorithm:  # noqa: ARG001 (there is but this one)
        return chosen

    with contextlib.ExitStack() as stack:
        database = stack.enter_context(Database(folder.ledger))
        service = Service(database, policy=RetryPolicy(PROMPT_RULES))
        stack.callback(service.end)
        number, _ = Jobs(database).submit(
            Submission(
                targets=[Target(job, run.location, str(folder.path))],
                lane=Lane.REALTIME if follow else Lane.REPROCESS,
                live=follow,
                force=force,
                private=service.identity,
            )
        )
        executor: Executor = InProcessExecutor() if client is None else DaskExecutor(client)
        stack.callback(executor.close)
        dispatcher = Dispatcher(
            database,
            service,
            executor,
            find,
            units_in_flight_per_worker=units_in_flight_per_worker,
            job=number,
            run=run,
            observer=on_event,
        )
        stack.callback(dispatcher.close)
        heart = Heartbeat(service, every=LEASE_SECONDS / 3, wake=dispatcher.wake)
        with heart:
            _carry_out(dispatcher, heart, Jobs(database), number, stop or threading.Event(), folder)
        result = load_result(folder, Ledger(database), job.identity, computed=dispatcher.published)
    _check(result, algorithm)
    return result


def _carry_out(
    dispatcher: Dispatcher,
    heart: Heartbeat,
    jobs: Jobs,
    number: int,
    stop: threading.Event,
    folder: ResultFolder,
) -> None:
    """Work until the job has ended, or was stopped and what was begun is done."""
    stopped_at: float | None = None
    while True:
        dispatcher.turn(wait_seconds=_WAKE_SECONDS)
        heart.check()
        if not dispatcher.in_flight and (record := jobs.get(number)).ended:
            if record.state == JobState.CANCELLED:
                heart.beat()
                raise JobInterruptedError(
                    f"the job was cancelled ({record.error}) after {dispatcher.published} units; "
                    f"they are published in {folder.path}; run it again to go on"
                )
            return
        if stop.is_set():
            if stopped_at is None:
                stopped_at = time.monotonic()
                dispatcher.drain()
            left = dispatcher.in_flight
            if not left or time.monotonic() - stopped_at > _STOP_SECONDS:
                given_up = f"; {left} units were given up" if left else ""
                raise JobInterruptedError(
                    f"the job was stopped after {dispatcher.published} units{given_up}; they are "
                    f"published in {folder.path}; run it again to go on"
                )


def _check(result: Result, algorithm: Algorithm) -> None:
    """Raise the error for what could not be computed, if there is any."""
    units = [each for each in result.units if each.state != UnitState.SUPERSEDED]
    failed = [each for each in units if each.state == UnitState.DEAD]
    if not failed:
        return
    first = failed[0]
    raise UnitsFailedError(
        f"{algorithm.label} failed on {len(failed)} of {len(units)} units, first on "
        f"the frames {first.start} to {first.stop - 1}: {first.error}; the others are published "
        f"in {result.path}; mend the cause and run it again to complete them"
    )


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
