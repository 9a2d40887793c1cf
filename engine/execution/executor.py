"""Where units are computed: in this process, or on a Dask cluster."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from forebay.engine.errors import AlgorithmError, ClusterLostError
from forebay.engine.execution.work import Computed, Failed, Order, compute_unit, error_line

_SLOTS_SECONDS = 1.0
"""How long the number of slots is believed: asking the scheduler takes milliseconds."""
_REMIND_SECONDS = 60.0

_log = logging.getLogger("forebay.engine")


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A unit was not computed: it was cancelled, or the cluster went away."""

    reason: str
    """What Dask says of it."""


type Outcome = Computed | Failed | GivenUp

type Done = Callable[[Outcome], None]
"""Called, from any thread, when a unit is computed, has failed, or was given up."""


class Executor(Protocol):
    """Computes units; how many at a time is for the caller to bound."""

    @property
    def slots(self) -> int:
        """How many units are computed at the same time."""

    def submit(self, order: Order, done: Done, *, priority: int) -> None:
        """Have a unit computed; a higher priority goes first."""

    def drop_waiting(self) -> None:
        """Give up the units that are known not to have begun."""

    def close(self) -> None:
        """Let go of what was taken; units that were not waited for are given up."""


class InProcessExecutor:
    """Computes in this process, one unit at a time, on Dask's threads."""

    slots = 1

    def __init__(self) -> None:
        """Start the thread."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="forebay-unit")
        self._futures: set[Future[Computed | Failed]] = set()

    def submit(self, order: Order, done: Done, *, priority: int) -> None:  # noqa: ARG002
        """Have a unit computed, in the order of submission."""

        def finished(each: Future[Computed | Failed]) -> None:
            self._futures.discard(each)
            done(_outcome(each))

        future = self._pool.submit(compute_unit, order)
        self._futures.add(future)
        future.add_done_callback(finished)

    def drop_waiting(self) -> None:
        """Give up the units behind the one that is being computed."""
        for future in list(self._futures):
            future.cancel()

    def close(self) -> None:
        """End the thread, once the unit that it is at is done."""
        self._pool.shutdown(cancel_futures=True)


class DaskExecutor:
    """Computes on the workers of a Dask cluster."""

    def __init__(self, client: Any) -> None:
        """Use a `distributed.Client`; it stays its owner's."""
        self._client = client
        self._futures: set[Any] = set()
        self._slots = 1
        self._asked_at = -_SLOTS_SECONDS
        self._reminded_at = time.monotonic()

    @property
    def slots(self) -> int:
        """Threads of all workers; at least one, since workers may still be coming.

        Raises
        ------
        ClusterLostError
            If the scheduler does not answer.
        """
        now = time.monotonic()
        if now - self._asked_at >= _SLOTS_SECONDS:
            threads = self._threads()
            if threads or now - self._reminded_at >= _REMIND_SECONDS:
                self._reminded_at = now
                if not threads:
                    _log.warning("units wait: the Dask cluster has no workers")
            self._slots, self._asked_at = max(1, threads), now
        return self._slots

    def submit(self, order: Order, done: Done, *, priority: int) -> None:
        """Have a unit computed as one task.

        Raises
        ------
        AlgorithmError
            If its algorithm cannot be sent to another process.
        ClusterLostError
            If the client is closed.
        """
        # The prefix is the same for all: Dask keeps statistics for every prefix, for ever.
        key = ("forebay-unit", f"{order.unit.identity}-{order.attempt}")
        try:
            future = self._client.submit(
                compute_unit, order, key=key, pure=False, retries=0, priority=priority
            )
        except Exception as error:
            if self._client.status != "running":
                raise _lost(error) from error
            raise AlgorithmError(
                f"{order.algorithm.label} cannot be sent to the workers ({error_line(error)}); "
                "let its function make what it needs itself"
            ) from error
        self._futures.add(future)

        def finished(each: Any) -> None:
            self._futures.discard(each)
            outcome = _outcome(each)
            each.release()
            done(outcome)

        future.add_done_callback(finished)

    def drop_waiting(self) -> None:
        """Do nothing: what has not begun is not known on this side of the scheduler."""

    def close(self) -> None:
        """Give up what was not waited for."""
        futures, self._futures = list(self._futures), set()
        for future in futures:
            # Releasing is a message without an answer: it works whether the cluster lives or not.
            future.release()

    def _threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception as error:
            raise _lost(error) from error


def _lost(error: BaseException) -> ClusterLostError:
    return ClusterLostError(
        f"the Dask scheduler does not answer ({error_line(error)}); what is published stays: "
        "start the cluster again and run it again to go on"
    )


def _outcome(future: Any) -> Outcome:
    """Return what a future holds; a task that killed its workers has failed too."""
    try:
        outcome: Outcome = future.result()
    except (CancelledError, asyncio.CancelledError) as error:
        return GivenUp(error_line(error))
    except BaseException as error:  # noqa: BLE001 (whatever ended the task is the unit's failure)
        return Failed(error_line(error), "the task itself was lost")
    return outcome
