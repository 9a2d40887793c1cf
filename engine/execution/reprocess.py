"""Running an algorithm over many runs, and telling honestly what came of it."""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.engine.definition import Algorithm
from forebay.engine.execution.events import Observer, RunRecalled
from forebay.engine.execution.here import carry_out, check_how
from forebay.engine.execution.recalls import RecallAgreement, agreed_recalls, needed_recalls
from forebay.engine.execution.recalls_ahead import ask_first
from forebay.engine.execution.wanted import (
    algorithm_of,
    common_results,
    ledger_at,
    opened_runs,
    targets,
)
from forebay.engine.given import check_given
from forebay.engine.queue.database import Database
from forebay.engine.queue.dead import DeadLetter, DeadLetters
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.progress import Progress
from forebay.engine.queue.submission import Submission


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a job over many runs."""

    job: int
    """Number of the job in its ledger."""
    results: tuple[Path, ...]
    """Folders of the results, one for each run."""
    computed: int
    """Units that this call has published."""
    progress: Progress
    """How many units stand how, those included that were done before."""
    dead: tuple[DeadLetter, ...]
    """What could not be computed."""

    @property
    def complete(self) -> bool:
        """Whether everything is published."""
        return not self.dead and not self.progress.errors


def reprocess(
    runs: Iterable[Run],
    algorithm: Algorithm | str,
    /,
    *,
    client: Any = None,
    results: str | os.PathLike[str] | None = None,
    ledger: str | Path | None = None,
    force: bool = False,
    stop: threading.Event | None = None,
    on_event: Observer | None = None,
    units_in_flight_per_worker: int = 2,
    recall: RecallAgreement | None = None,
    owner: str = "",
    **parameters: Any,
) -> Report:
    """Run an algorithm over many runs, in this process; units that are done are left out.

    A unit that cannot be computed keeps no other from being computed, and raises nothing: the
    report names it.  Called once more, it completes what was interrupted or had failed.

    Parameters
    ----------
    runs
        The runs, from `open_run`.
    algorithm
        The algorithm, or its name.
    client
        A `distributed.Client` whose workers compute; by default this process does.
    results
        Folder for results; by default ``results`` in the folder that the first run is named from.
    ledger
        The ledger, as a path or an SQLAlchemy URL; by default the one of the results' folder.
    force
        Compute also what is done, and publish it in place of the earlier parts.
    stop
        Ends the work when it is set; what is being computed then is still published.
    on_event
        Told of everything that happens, from the calling thread.
    units_in_flight_per_worker
        Units that are handed out at a time, for each one that is computed at the same time.
    recall
        What may be had recalled of what lies in an archive, and is waited for; None for nothing:
        then it is refused, with what it would cost.
    owner
        Who asks, for the list of jobs.
    **parameters
        The algorithm's parameters.

    Returns
    -------
    Report
        What is done, and what is not.

    Raises
    ------
    ParameterError, UnknownAlgorithmError
        If there is no such algorithm or parameter, or its value is of the wrong type.
    JobError
        If there are no runs, or one is given twice.
    RunNotClosedError
        If the algorithm needs whole runs, and one still grows.
    ResultLedgerError
        If what is there of a result is entered in another ledger.
    ArchivedError
        If what it reads lies in an archive, and what that costs was not agreed to.
    JobInterruptedError
        If `stop` was set before the end.
    ClusterLostError
        If the cluster went away before the end.

    Examples
    --------
    >>> import tempfile, forebay
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for day in ("monday", "tuesday"):
    ...         with open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...             _ = forebay.acquire(source, f"{folder}/{day}", frames_per_block=2)
    ...     runs = [forebay.open_run(f"{folder}/{day}") for day in ("monday", "tuesday")]
    ...     report = forebay.reprocess(runs, "find-particles")
    ...     report.complete, report.computed, len(report.results)
    (True, 4, 2)
    """
    algorithm = chosen = algorithm_of(algorithm)
    runs = opened_runs(runs)
    check_given(reprocess, locals())
    check_how(client, units_in_flight_per_worker)
    bound = algorithm.bind(parameters)
    common = common_results(runs, results)
    where = ledger_at(ledger, common)
    wanted = targets(runs, algorithm, bound, results=common, ledger=where)
    needed = needed_recalls(runs, wanted, ledger=where, force=force)
    for told in agreed_recalls(needed, recall):
        if on_event is not None:
            on_event(RunRecalled(told))
    costs: list[float] = []
    if recall is not None and needed:
        for run, target in zip(runs, wanted, strict=True):
            ask_first(run, target, recall, ledger=where, force=force, charge=costs.append)

    def find(name: str, version: str) -> Algorithm:  # noqa: ARG001 (there is but this one)
        return chosen

    with Database(where) as database:
        record, computed = carry_out(
            database,
            Submission(
                targets=wanted,
                lane=Lane.REPROCESS,
                force=force,
                recall_ahead=None if recall is None else recall.ahead_bytes,
                recall_most=None if recall is None else recall.limit,
                recall_cost=sum(costs),
                owner=owner,
            ),
            find,
            client=client,
            units_in_flight_per_worker=units_in_flight_per_worker,
            stop=stop or threading.Event(),
            on_event=on_event,
        )
        return Report(
            job=record.job,
            results=tuple(Path(each.folder) for each in wanted),
            computed=computed,
            progress=Jobs(database).progress(record.job),
            dead=tuple(DeadLetters(database).find(job=record.job)),
        )
