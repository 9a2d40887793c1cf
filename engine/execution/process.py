"""Running an algorithm over a run, now: in batch, or live while the run grows."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.engine.definition import Algorithm
from forebay.engine.errors import UnitsFailedError
from forebay.engine.execution.events import Observer
from forebay.engine.execution.here import carry_out, check_how
from forebay.engine.execution.wanted import algorithm_of, ledger_at, opened_runs, targets
from forebay.engine.given import check_given
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.submission import Submission
from forebay.engine.results.folder import ResultFolder
from forebay.engine.results.result import Result, load_result


def process(
    run: Run,
    algorithm: Algorithm | str,
    /,
    *,
    client: Any = None,
    results: str | os.PathLike[str] | None = None,
    ledger: str | Path | None = None,
    follow: bool = False,
    force: bool = False,
    stop: threading.Event | None = None,
    on_event: Observer | None = None,
    units_in_flight_per_worker: int = 2,
    owner: str = "",
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
        Folder for results; by default ``results`` in the folder of the runs: beside ``water``, and
        beside the folder ``beads`` of a run that is called ``beads/001``.
    ledger
        The ledger, as a path or an SQLAlchemy URL; by default the one of the results' folder.
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
    owner
        Who asks, for the list of jobs.
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
    algorithm = algorithm_of(algorithm)
    (run,) = opened_runs([run])
    check_given(process, locals())
    check_how(client, units_in_flight_per_worker)
    bound = algorithm.bind(parameters)
    where = None if ledger is None else ledger_at(ledger)
    (target,) = targets([run], algorithm, bound, results=results, ledger=where, live=follow)
    folder = ResultFolder(Path(target.folder))
    chosen = algorithm

    def find(name: str, version: str) -> Algorithm:  # noqa: ARG001 (there is but this one)
        return chosen

    with Database(where or folder.ledger_for(target.job)) as database:
        if folder.staging.is_dir():
            # A call that was killed may have left something though there is nothing left to do.
            folder.sweep(lambda: Ledger(database).parts(target.job.identity))
        submission = Submission(
            targets=[target],
            lane=Lane.REALTIME if follow else Lane.REPROCESS,
            live=follow,
            force=force,
            owner=owner,
        )
        record, published = carry_out(
            database,
            submission,
            find,
            client=client,
            units_in_flight_per_worker=units_in_flight_per_worker,
            stop=stop or threading.Event(),
            on_event=on_event,
            run=run,
        )
        result = load_result(folder, Ledger(database), target.job.identity, computed=published)
        broken = Jobs(database).progress(record.job).errors
    _check(result, algorithm, broken)
    return result


def _check(result: Result, algorithm: Algorithm, broken: Sequence[str]) -> None:
    """Raise the error for what could not be computed, if there is any."""
    if broken:
        raise UnitsFailedError(
            f"{algorithm.label}: {broken[0]}; {len(result.done)} of {len(result.units)} units are "
            f"published in {result.path}"
        )
    units = [each for each in result.units if each.state != UnitState.SUPERSEDED]
    failed = [each for each in units if each.state == UnitState.DEAD]
    if not failed:
        return
    first = failed[0]
    others = f"the others are published in {result.path}" if result.done else "none is published"
    raise UnitsFailedError(
        f"{algorithm.label} failed on {len(failed)} of {len(units)} units, first on "
        f"the frames {first.start} to {first.stop - 1}: {first.error}; {others}; "
        "mend the cause and run it again to complete them"
    )
