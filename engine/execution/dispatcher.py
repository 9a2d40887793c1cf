"""Handing out the units of a job, a few at a time, and publishing what comes back."""

import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from forebay.acquisition import Block, Run
from forebay.acquisition.format.history import History
from forebay.engine.algorithm import Algorithm
from forebay.engine.errors import (
    ClusterLostError,
    JobInterruptedError,
    JobTakenOverError,
    UnitsFailedError,
)
from forebay.engine.execution.events import (
    JobEvent,
    Observer,
    RunGrown,
    UnitFailed,
    UnitPublished,
    UnitSkipped,
)
from forebay.engine.execution.executor import Executor, GivenUp, Outcome
from forebay.engine.execution.follower import RunFollower
from forebay.engine.execution.work import Computed, Failed, Order
from forebay.engine.ledger import Ledger
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Job, Unit, plan, plannable

_log = logging.getLogger("forebay.engine")

_WAKE_SECONDS = 0.2
_STOP_SECONDS = 30.0
"""How long a job that was stopped waits for what is being computed."""
_LIVE_PRIORITY = 10
_BATCH_PRIORITY = 0


class Dispatcher:
    """Carries out one job, once.

    Everything but computing happens in the calling thread.  Two things wake it: a unit that came
    back, and a run that has grown.
    """

    def __init__(
        self,
        job: Job,
        algorithm: Algorithm,
        folder: ResultFolder,
        staging: Path,
        ledger: Ledger,
        executor: Executor,
        *,
        units_in_flight_per_worker: int,
        force: bool,
        stop: threading.Event,
        on_event: Observer | None,
    ) -> None:
        """Prepare to carry out `job` with `executor`; see `process` for the options."""
        self._job = job
        self._algorithm = algorithm
        self._arguments = algorithm.arguments(job.parameters)
        self._folder = folder
        self._staging = staging
        self._ledger = ledger
        self._executor = executor
        self._in_flight_per_slot = units_in_flight_per_worker
        self._stop = stop
        self._stopped_at: float | None = None
        self._observer = on_event
        self._priority = _BATCH_PRIORITY
        self._skip = frozenset() if force else ledger.done(job.identity)
        # Holds a message for each unit in flight, and not more for a run that has grown.
        self._messages: queue.SimpleQueue[tuple[Order, Outcome] | None] = queue.SimpleQueue()
        self._waiting: Iterator[Order] = iter(())
        self._exhausted = True
        self._planned_blocks = 0
        self._in_flight = 0
        self._given_up = 0
        self._units = 0
        self._failed = 0
        self._first_failure: tuple[Unit, str] | None = None
        self._refused: set[str] = set()
        self.published = 0

    def carry_out(self, run: Run, *, follow: bool) -> None:
        """Compute what the run holds, and with `follow` what comes to it until it is closed.

        Raises
        ------
        JobInterruptedError
            If the job was stopped before its end.
        ClusterLostError
            If the cluster went away.
        """
        self._priority = _LIVE_PRIORITY if follow else _BATCH_PRIORITY
        watched = RunFollower(run, wake=lambda: self._messages.put(None)) if follow else None
        with watched or contextlib.nullcontext():
            self._tell(RunGrown(run.history.frames, run.closed))
            while self._advance(run, final=run.closed or not follow):
                self._receive()
                grown = watched.latest() if watched else None
                if grown is not None and grown is not run:
                    run = grown
                    self._tell(RunGrown(run.history.frames, run.closed))

    def check(self) -> None:
        """Raise the error for what this job has left undone, if it has.

        Raises
        ------
        UnitsFailedError
            If units failed.
        JobTakenOverError
            If another process has begun units anew, and not published them yet.
        """
        if self._first_failure is not None:
            unit, error = self._first_failure
            extent = unit.core.t
            raise UnitsFailedError(
                f"{self._algorithm.label} failed on {self._failed} of {self._units} units, first "
                f"on the frames {extent.start} to {extent.stop - 1}: {error}; the others are "
                f"published in {self._folder.path}; mend the cause and run it again to complete "
                "them"
            )
        missing = self._refused - self._ledger.done(self._job.identity)
        if missing:
            raise JobTakenOverError(
                f"{self._algorithm.label}: another process computes {len(missing)} of the units "
                f"of {self._folder.path} too; wait for it to end, or stop it and run this again"
            )

    def _advance(self, run: Run, *, final: bool) -> bool:
        """Hand out what can be handed out; False when everything is done."""
        blocks = plannable(run, self._job.needs)
        if not self._stop.is_set():
            self._hand_out()
            if self._exhausted and blocks > self._planned_blocks:
                self._waiting = self._orders(run, self._planned_blocks)
                self._planned_blocks = blocks
                self._hand_out()
        planned = self._exhausted and blocks == self._planned_blocks
        if planned and final and not self._in_flight and not self._given_up:
            return False
        if self._stop.is_set():
            self._wind_down()
        return True

    def _wind_down(self) -> None:
        """Raise, once what is being computed is published, that the job was stopped."""
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
            self._executor.drop_waiting()
        if self._in_flight and now - self._stopped_at < _STOP_SECONDS:
            return
        left = f"; {self._in_flight} units were given up" if self._in_flight else ""
        raise JobInterruptedError(
            f"{self._algorithm.label} was stopped after {self.published} units{left}; they are "
            f"published in {self._folder.path}; run it again to go on"
        )

    def _orders(self, run: Run, first_block: int) -> Iterator[Order]:
        """Plan the blocks from the given one on, and begin each unit when it is asked for."""
        bare = dataclasses.replace(run, history=History())
        for unit, blocks in plan(run, self._job, first_block=first_block):
            self._units += 1
            if unit.identity in self._skip:
                self._tell(UnitSkipped(unit))
                continue
            yield self._order(unit, blocks, bare)

    def _order(self, unit: Unit, blocks: tuple[Block, ...], run: Run) -> Order:
        attempt = self._ledger.begin(unit)
        return Order(unit, attempt, self._algorithm, self._arguments, run, blocks, self._staging)

    def _hand_out(self) -> None:
        """Submit units as long as there is room."""
        room = self._in_flight_per_slot * self._executor.slots
        while self._in_flight < room:
            order = next(self._waiting, None)
            self._exhausted = order is None
            if order is None:
                return
            self._in_flight += 1
            self._executor.submit(
                order,
                lambda outcome, order=order: self._messages.put((order, outcome)),  # type: ignore[misc]
                priority=self._priority,
            )

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
            case GivenUp() if self._stopped_at is not None:
                self._given_up += 1
            case GivenUp():
                raise ClusterLostError(
                    f"the Dask cluster gave up the unit {order.unit.label} ({outcome.reason}); "
                    f"{self.published} units are published in {self._folder.path}: start the "
                    "cluster again and run it again to go on"
                )

    def _publish(self, order: Order, computed: Computed) -> None:
        unit, part = order.unit, computed.part
        if not self._folder.take_in(order.staging / part.name):
            gone = f"FileNotFoundError: the worker's part is not in {order.staging}; workers and "
            self._fail(order, Failed(f"{gone}this process must see the same folder", ""))
            return
        replaced = self._ledger.publish(unit, order.attempt, part)
        if replaced is None:
            self._folder.discard(part.name)
            self._refuse(order)
            return
        for name in replaced:
            self._folder.discard(name)
        self.published += 1
        latency = time.time() - unit.taken_at / 1e9
        _log.info("unit published", extra=self._fields(unit, seconds=computed.seconds))
        self._tell(UnitPublished(unit, part.rows, computed.seconds, latency))

    def _fail(self, order: Order, failed: Failed) -> None:
        unit = order.unit
        if not self._ledger.fail(unit, order.attempt, failed.error):
            self._refuse(order)
            return
        self._failed += 1
        self._first_failure = self._first_failure or (unit, failed.error)
        _log.info("unit failed", extra=self._fields(unit, error=failed.error))
        _log.debug("%s", failed.traceback)
        self._tell(UnitFailed(unit, failed.error, failed.traceback))

    def _refuse(self, order: Order) -> None:
        """Note that another process has begun the unit anew: what this one made counts nothing."""
        self._refused.add(order.unit.identity)
        _log.info("part refused: a later attempt has begun", extra=self._fields(order.unit))

    def _fields(self, unit: Unit, **more: object) -> dict[str, object]:
        job = f"{self._algorithm.label}-{self._job.identity[:8]}"
        return {"run": self._job.run_name, "job": job, "unit": unit.label, **more}

    def _tell(self, event: JobEvent) -> None:
        if self._observer is not None:
            self._observer(event)
