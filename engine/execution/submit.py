"""Submitting a job to whatever service works on a ledger, and looking after it."""

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.acquisition import Run
from forebay.engine.definition import Algorithm
from forebay.engine.errors import JobError, JobInterruptedError
from forebay.engine.execution.recalls import RecallAgreement, agreed_recalls, needed_recalls
from forebay.engine.execution.recalls_ahead import ask_first
from forebay.engine.execution.wanted import (
    algorithm_of,
    common_results,
    ledger_at,
    opened_runs,
    targets,
)
from forebay.engine.given import check_fields, check_given
from forebay.engine.queue.database import Database
from forebay.engine.queue.explain import Explanation, explain
from forebay.engine.queue.jobs import JobRecord, Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.progress import Progress
from forebay.engine.queue.recall_costs import charge
from forebay.engine.queue.submission import Submission

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job in a ledger.

    Each of its methods raises `LedgerError` if the ledger is gone or cannot be read, and
    `UnknownJobError` if it does not hold the job.

    Examples
    --------
    >>> import tempfile, forebay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with forebay.open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         _ = forebay.acquire(source, f"{folder}/run", frames_per_block=2)
    ...     run = forebay.open_run(f"{folder}/run")
    ...     job = forebay.submit(run, "find-particles")
    ...     before = job.record().state
    ...     job.cancel()
    ...     before, job.wait(timeout=60).state
    ('ready', 'cancelled')
    """

    ledger: Path | str
    """The ledger."""
    number: int
    """Number of the job."""
    new: bool = False
    """Whether it was submitted by the call that returned it, and not before."""
    recalled: tuple[str, ...] = ()
    """What that call has asked archives for, or will, and what it costs: a sentence for each run."""

    def __post_init__(self) -> None:
        """Refuse what names no job."""
        check_fields(self, JobError)

    def record(self) -> JobRecord:
        """Return how it stands: its state, lane, priority, parameters and times."""
        with Database(self.ledger, create=False) as database:
            return Jobs(database).get(self.number)

    def progress(self) -> Progress:
        """Return how many of its units stand how."""
        with Database(self.ledger, create=False) as database:
            return Jobs(database).progress(self.number)

    def explain(self) -> Explanation:
        """Return why it stands so, and when it should be done."""
        with Database(self.ledger, create=False) as database:
            return explain(database, self.number)

    def cancel(self) -> None:
        """Compute nothing more for it; what is published stays.

        Raises
        ------
        JobError
            If it has ended already.
        """
        with Database(self.ledger, create=False) as database:
            Jobs(database).cancel(self.number)

    def wait(
        self,
        *,
        timeout: float | None = None,
        stop: threading.Event | None = None,
        on_progress: Callable[[JobRecord, Progress], None] | None = None,
    ) -> JobRecord:
        """Wait until it has ended.

        Parameters
        ----------
        timeout
            Seconds to wait at the most; None for any.
        stop
            Ends the waiting, not the job, when it is set.
        on_progress
            Told from time to time how it stands.

        Raises
        ------
        JobInterruptedError
            If the waiting ended before the job did.
        """
        check_given(SubmittedJob.wait, locals())
        deadline = None if timeout is None else time.monotonic() + timeout
        stop = stop or threading.Event()
        with Database(self.ledger, create=False) as database:
            jobs = Jobs(database)
            while True:
                record = jobs.get(self.number)
                if on_progress is not None:
                    on_progress(record, jobs.progress(self.number))
                if record.ended:
                    return record
                late = deadline is not None and time.monotonic() > deadline
                if late or stop.wait(_LOOK_SECONDS):
                    raise JobInterruptedError(
                        f"job {self.number} {record.told} and is not waited for any longer; it "
                        "goes on all the same"
                    )


def submit(
    runs: Run | Iterable[Run],
    algorithm: Algorithm | str,
    /,
    *,
    ledger: Path | str | None = None,
    results: str | os.PathLike[str] | None = None,
    lane: str = "reprocess",
    priority: int = 0,
    labels: Mapping[str, str] | None = None,
    owner: str = "",
    deadline: int | None = None,
    live: bool = False,
    keep_up: int = 1,
    reduce_at: int | None = None,
    force: bool = False,
    after: Sequence[int] = (),
    failures_allowed: int | None = None,
    key: str | None = None,
    cluster: str | None = None,
    recall: RecallAgreement | None = None,
    **parameters: Any,
) -> SubmittedJob:
    """Submit a job for a service to work on (``forebay serve``).

    What can be known to be wrong is refused here; nothing is computed by this call.

    Parameters
    ----------
    runs
        One run or many, from `open_run`.
    algorithm
        The algorithm, or its name; the service has to know it by that name and version.
    ledger
        The ledger of the service, as a path or an SQLAlchemy URL; by default the one in the
        results' folder.
    results
        Folder for results; by default ``results`` in the folder that the first run is named from.
    lane
        ``realtime``, ``validation`` or ``reprocess``.
    priority
        Within the lane, higher first.
    labels, owner
        To find it by.
    deadline
        When it should be done, in nanoseconds since 1970-01-01 UTC.
    live
        Go on with each block as it is committed, until the run is closed.
    keep_up
        For a live job that is late: compute only every so-manieth block at once, and the others
        in the lane ``reprocess``, so that what is computed stays near the camera; 1 for all of
        them in their order.
    reduce_at
        For a live job, blocks that may wait before the acquisition, if it runs on the same
        machine, is asked to reduce its frames by the first of the steps that it has declared for
        times of overload; twice as many for the second, and so on. None asks for nothing.
    force
        Compute also what is done, and publish it in place of the earlier parts.
    after
        Numbers of jobs that must be done before.
    failures_allowed
        Dead letters after which the job is given up; None for any number.
    key
        Submitting the same with the key of a job that has not ended finds that job as it is, and
        submitting something else with it is refused; by default it is made of the results that are
        asked for, `live` and `force`, so that submitting the same twice is submitting it once.
    cluster
        Name of the only cluster that may compute it, as one with GPUs; None for any.
    recall
        What may be had recalled of what lies in an archive; the job waits for it. None for nothing:
        a job that needs it is refused, with what it would cost.
    **parameters
        The algorithm's parameters.

    Returns
    -------
    SubmittedJob
        The job.

    Raises
    ------
    JobError, ParameterError, UnknownAlgorithmError, RunNotClosedError, ResultLedgerError
        If it cannot be done as it is asked for.
    KeyTakenError
        If a job of that key has not ended, and is of something else.
    ArchivedError
        If it reads what lies in an archive, and what that costs was not agreed to.

    Examples
    --------
    >>> import tempfile, forebay
    >>> from forebay.acquisition.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_source("simulated:emitters=5,shape=64x64", frames=4) as source:
    ...         _ = forebay.acquire(source, f"{folder}/run")
    ...     run = forebay.open_run(f"{folder}/run")
    ...     job = forebay.submit(run, "find-particles", lane="validation")
    ...     again = forebay.submit(run, "find-particles", lane="validation")
    ...     job.new, again.new, job.number == again.number, job.record().state
    (True, False, True, 'ready')
    """
    algorithm = algorithm_of(algorithm)
    runs = opened_runs(runs)
    check_given(submit, locals(), error=JobError)
    bound = algorithm.bind(parameters)
    common = common_results(runs, results)
    where = ledger_at(ledger, common)
    wanted = targets(runs, algorithm, bound, results=common, ledger=where, live=live)
    needed = needed_recalls(runs, wanted, ledger=where, force=force)
    told = agreed_recalls(needed, recall)
    submission = Submission(
        targets=wanted,
        lane=Lane.of(lane),
        priority=priority,
        owner=owner,
        labels={} if labels is None else labels,
        deadline=deadline,
        live=live,
        keep_up=keep_up,
        reduce_at=reduce_at,
        recall_ahead=None if recall is None else recall.ahead_bytes,
        recall_most=None if recall is None else recall.limit,
        force=force,
        after=after,
        failures_allowed=failures_allowed,
        key=key,
        cluster=cluster,
    )
    with Database(where) as database:
        number, new = Jobs(database).submit(submission)
        if recall is not None and needed:
            # What is behind that, the service asks for as units are done.
            pay = functools.partial(charge, database, number)
            for run, target in zip(runs, wanted, strict=True):
                ask_first(run, target, recall, ledger=where, force=force, charge=pay)
    return SubmittedJob(where, number, new, told)
