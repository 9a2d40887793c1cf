"""Running an algorithm over a run, now: in batch, or live while the run grows."""

import dataclasses
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forebay.acquisition import Block, Run, durable
from forebay.acquisition.format.history import History
from forebay.engine.algorithm import Algorithm, WholeRun
from forebay.engine.errors import (
    JobInterruptedError,
    ResultNotFoundError,
    RunNotClosedError,
    UnitsFailedError,
)
from forebay.engine.execution.events import (
    Observer,
    RunGrown,
    UnitFailed,
    UnitPublished,
    UnitSkipped,
)
from forebay.engine.execution.executor import DaskExecutor, Executor, InProcessExecutor
from forebay.engine.execution.follower import RunFollower
from forebay.engine.execution.work import Computed, Failed, Order
from forebay.engine.ledger import Ledger
from forebay.engine.registry import REGISTRY
from forebay.engine.results.part import discard_part, publish_part
from forebay.engine.results.result import (
    PARTS,
    STAGING,
    Result,
    default_results,
    describe,
    load_result,
    open_ledger,
    result_folder,
)
from forebay.engine.unit import Job, Unit, plan

_log = logging.getLogger("forebay.engine")

_UNITS_PER_SLOT = 2
_WAKE_SECONDS = 0.2
_LIVE_PRIORITY = 10
_BATCH_PRIORITY = 0


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
        Ends the job when it is set; what is being computed then is still published.
    on_event
        Told of everything that happens, from the calling thread.
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
        raise RunNotClosedError(
            f"{algorithm.label} needs the whole run and {run.location} is still growing: wait "
            "until it is closed, or follow it (--follow)"
        )
    folder = Path(results) if results is not None else default_results(run.path)
    if folder is None:
        raise ResultNotFoundError(f"{run.location} is not on this machine: say where results go")
    job = Job.of(run, algorithm, bound)
    target = result_folder(folder, job).absolute()
    executor = InProcessExecutor() if client is None else DaskExecutor(client)
    try:
        describe(target, job)
        with open_ledger(folder) as ledger:
            execution = _Execution(
                job, algorithm, target, ledger, executor, stop or threading.Event(), on_event, force
            )
            if follow:
                execution.follow(run)
            else:
                execution.batch(run)
            result = load_result(target, ledger, job.identity, computed=execution.published)
    finally:
        executor.close()
    execution.raise_failures(result)
    return result


class _Execution:
    """One call of `process`: hands units out, a few at a time, and publishes what comes back.

    Everything but computing happens in the calling thread.  Two things wake it: a unit that came
    back, and a run that has grown.
    """

    def __init__(
        self,
        job: Job,
        algorithm: Algorithm,
        folder: Path,
        ledger: Ledger,
        executor: Executor,
        stop: threading.Event,
        on_event: Observer | None,
        force: bool,
    ) -> None:
        self._job = job
        self._algorithm = algorithm
        self._folder = folder
        self._ledger = ledger
        self._executor = executor
        self._stop = stop
        self._tell = on_event or (lambda _: None)
        ledger.add_job(job)
        self._skip = frozenset() if force else frozenset(ledger.done(job.identity))
        # Holds at most one message for each unit in flight and one for the run.
        self._messages: queue.SimpleQueue[tuple[Order, Computed | Failed] | None] = (
            queue.SimpleQueue()
        )
        self._in_flight = 0
        self._priority = _BATCH_PRIORITY
        self._failures: list[tuple[Unit, str]] = []
        self.published = 0

    def batch(self, run: Run) -> None:
        """Compute what the run holds now."""
        self._tell(RunGrown(run.history.frames, run.closed))
        waiting = self._orders(run, first_block=0)
        while True:
            exhausted = self._hand_out(waiting)
            if self._in_flight == 0 and (exhausted or self._stop.is_set()):
                break
            self._receive()
        self._check_stopped(finished=exhausted)

    def follow(self, run: Run) -> None:
        """Compute each block as it is committed, until the run is closed."""
        self._priority = _LIVE_PRIORITY
        follower = RunFollower(run, wake=lambda: self._messages.put(None))
        waiting: Iterator[Order] = iter(())
        planned = 0
        exhausted = True
        seen: Run | None = None
        with follower:
            while True:
                latest = follower.latest()
                if latest is not None:
                    seen = latest
                    self._tell(RunGrown(latest.history.frames, latest.closed))
                if exhausted and seen is not None and self._plannable(seen, planned):
                    waiting, exhausted = self._orders(seen, first_block=planned), False
                    planned = self._planned(seen)
                exhausted = self._hand_out(waiting)
                over = self._stop.is_set() or (
                    seen is not None
                    and seen.closed
                    and exhausted
                    and not self._plannable(seen, planned)
                )
                if self._in_flight == 0 and over:
                    break
                self._receive()
        self._check_stopped(finished=seen is not None and seen.closed and exhausted)

    def raise_failures(self, result: Result) -> None:
        """Tell of the units that failed, once the others are published."""
        if not self._failures:
            return
        unit, error = self._failures[0]
        extent = unit.core.t
        raise UnitsFailedError(
            f"{self._algorithm.label} failed on {len(self._failures)} of "
            f"{len(self._failures) + len(result.done)} units, first on the frames "
            f"{extent.start} to {extent.stop - 1}: {error}; the others are published in "
            f"{result.path}; mend the cause and run it again to complete them"
        )

    def _plannable(self, run: Run, planned: int) -> bool:
        return self._planned(run) > planned

    def _planned(self, run: Run) -> int:
        """Return how many blocks can be planned with the run as it is."""
        if isinstance(self._algorithm.needs, WholeRun):
            return len(run.blocks) if run.closed else 0
        if run.closed or not run.blocks:
            return len(run.blocks)
        whole = run.extents[-1].stop - self._algorithm.needs.halo_frames
        return sum(extent.stop <= whole for extent in run.extents)

    def _orders(self, run: Run, *, first_block: int) -> Iterator[Order]:
        """Plan the blocks from the given one on, and begin each unit when it is asked for."""
        bare = dataclasses.replace(run, history=History())
        for unit, blocks in plan(run, self._algorithm, self._job, first_block=first_block):
            if unit.identity in self._skip:
                self._tell(UnitSkipped(unit))
                continue
            yield self._order(unit, blocks, bare)

    def _order(self, unit: Unit, blocks: tuple[Block, ...], run: Run) -> Order:
        attempt = self._ledger.begin(unit)
        return Order(unit, attempt, self._algorithm, run, blocks, self._folder / STAGING)

    def _hand_out(self, waiting: Iterator[Order]) -> bool:
        """Submit units as long as there is room; True when none are waiting."""
        room = _UNITS_PER_SLOT * self._executor.slots
        while self._in_flight < room and not self._stop.is_set():
            order = next(waiting, None)
            if order is None:
                return True
            self._in_flight += 1
            self._executor.submit(
                order,
                lambda outcome, order=order: self._messages.put((order, outcome)),  # type: ignore[misc]
                priority=self._priority,
            )
        return False

    def _receive(self) -> None:
        """Wait for something to happen, and take in what came back."""
        try:
            message = self._messages.get(timeout=_WAKE_SECONDS)
        except queue.Empty:
            return
        if message is None:
            return
        self._in_flight -= 1
        order, outcome = message
        match outcome:
            case Computed():
                self._publish(order, outcome)
            case Failed():
                self._fail(order, outcome)

    def _publish(self, order: Order, computed: Computed) -> None:
        unit, part = order.unit, computed.part
        staged = order.staging / part.name
        with durable.storage_errors(f"a part of {self._folder}"):
            publish_part(staged, self._folder / PARTS / part.name)
        whole = isinstance(self._algorithm.needs, WholeRun)
        replaced = self._ledger.publish(unit, order.attempt, part, supersede=whole)
        if replaced is None:
            _log.info("part refused: a later attempt has begun", extra={"unit": unit.label})
            discard_part(self._folder / PARTS / part.name)
            return
        for name in replaced:
            discard_part(self._folder / PARTS / name)
        self.published += 1
        latency = time.time() - unit.taken_at / 1e9
        _log.info(
            "unit published",
            extra={"run": self._job.run_name, "unit": unit.label, "seconds": computed.seconds},
        )
        self._tell(UnitPublished(unit, part.rows, computed.seconds, latency))

    def _fail(self, order: Order, failed: Failed) -> None:
        self._ledger.fail(order.unit, order.attempt, failed.error)
        self._failures.append((order.unit, failed.error))
        _log.warning(
            "unit failed", extra={"unit": order.unit.label, "error": failed.error}
        )
        _log.debug("%s", failed.traceback)
        self._tell(UnitFailed(order.unit, failed.error, failed.traceback))

    def _check_stopped(self, *, finished: bool) -> None:
        if self._stop.is_set() and not finished:
            raise JobInterruptedError(
                f"{self._algorithm.label} was stopped after {self.published} units; they are "
                f"published in {self._folder}; run it again to go on"
            )
