"""Stopping the workers that are at what is not to go on."""

import time
from collections.abc import Callable

from forebay.engine.execution.executor import Executor
from forebay.engine.execution.flights import Flights, InFlight
from forebay.engine.execution.recording import Recording
from forebay.engine.queue.leases import Service
from forebay.engine.queue.retry import Failure, FailureClass

_PATIENCE_SECONDS = 10.0
"""How long a worker may be at a unit that nobody wants any more: most end by themselves sooner."""


class Stopping:
    """Ends what takes longer than it may, and what is computed although it was cancelled.

    Nobody can take from a worker what it is at: Dask stops no task that has begun.  A unit that never
    ends would keep its thread, and whatever waits behind it, for ever.  So the worker's process is
    ended, and another one takes its place.

    Parameters
    ----------
    service
        In whose name units are held.
    executor
        What computes.
    flights
        The units that were handed out.
    recording
        Records what has failed.
    unit_seconds
        Longest time that a worker may be at a unit; None for any.
    monotonic
        Source of durations, in seconds.
    """

    def __init__(
        self,
        service: Service,
        executor: Executor,
        flights: Flights,
        recording: Recording,
        *,
        unit_seconds: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._executor = executor
        self._flights = flights
        self._recording = recording
        self._unit_seconds = unit_seconds
        self._monotonic = monotonic
        self._unwanted: list[tuple[float, InFlight]] = []

    def withdraw(self, each: InFlight) -> None:
        """Let go of a unit that is not held any more: nobody is to begin it, or to stay at it."""
        self._flights.forget(each)
        each.order.notes.withdraw()
        if each.order.notes.worker() is not None:
            # Its notes are there as long as something of its result flies.
            each.bench.in_flight += 1
            self._unwanted.append((self._monotonic(), each))

    def look(self) -> None:
        """Stop the workers that have been at something for too long."""
        if self._unit_seconds is not None:
            self._stop_slow(self._unit_seconds)
        if self._unwanted:
            self._stop_unwanted()

    def _stop_slow(self, longest: float) -> None:
        for each in self._flights:
            took = each.order.notes.seconds()
            if took is None:
                continue
            worker = each.order.notes.worker()
            # Of one that has died the note stays: that comes back by itself, for what it is.
            if took > longest and self._executor.has_worker(worker):
                failure = Failure(
                    FailureClass.TIMED_OUT, f"it took longer than {longest:g} s", worker=worker
                )
                # It may have been given back, for another one at the same worker.
                if self._flights.forget(each):
                    self._recording.fail([(each, failure)])
                    self._stop(worker or "")

    def _stop_unwanted(self) -> None:
        now, workers = self._monotonic(), set()
        watched, self._unwanted = self._unwanted, []
        for since, each in watched:
            worker = each.order.notes.worker()
            if worker is not None and now - since < _PATIENCE_SECONDS:
                self._unwanted.append((since, each))
                continue
            each.bench.in_flight -= 1
            if worker is not None and self._executor.has_worker(worker):
                workers.add(worker)
        for worker in workers:
            self._stop(worker)

    def _stop(self, worker: str) -> None:
        """End the process of a worker; what else it is at costs no retry."""
        beside = [each for each in self._flights if each.order.notes.worker() == worker]
        for each in beside:
            self._flights.forget(each)
            each.order.notes.withdraw()
        self._service.hand_back([each.claim for each in beside])
        self._executor.stop_worker(worker or None)
