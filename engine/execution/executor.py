"""Where units are computed: in this process, or on a Dask cluster."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from forebay.engine.execution.work import Computed, Failed, Order, compute_unit

type Done = Callable[[Computed | Failed], None]
"""Called, from any thread, when a unit is computed or has failed."""


class Executor(Protocol):
    """Computes units; how many at a time is for the caller to bound."""

    @property
    def slots(self) -> int:
        """How many units are computed at the same time."""

    def submit(self, order: Order, done: Done, *, priority: int) -> None:
        """Have a unit computed; a higher priority goes first."""

    def close(self) -> None:
        """Let go of what was taken; units that were not waited for are given up."""


class InProcessExecutor:
    """Computes in this process, one unit at a time, on Dask's threads."""

    slots = 1

    def __init__(self) -> None:
        """Start the thread."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="forebay-unit")

    def submit(self, order: Order, done: Done, *, priority: int) -> None:  # noqa: ARG002
        """Have a unit computed, in the order of submission."""
        self._pool.submit(compute_unit, order).add_done_callback(lambda each: done(_outcome(each)))

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)


class DaskExecutor:
    """Computes on the workers of a Dask cluster."""

    def __init__(self, client: Any) -> None:
        """Use a `distributed.Client`; it stays its owner's."""
        self._client = client
        self._futures: set[Any] = set()

    @property
    def slots(self) -> int:
        """Threads of all workers; at least one, since workers may still be coming."""
        return max(1, sum(self._client.nthreads().values()))

    def submit(self, order: Order, done: Done, *, priority: int) -> None:
        """Have a unit computed as one task."""
        # The prefix is the same for all: Dask keeps statistics for every prefix, for ever.
        key = ("forebay-unit", f"{order.unit.identity}-{order.attempt}")
        future = self._client.submit(
            compute_unit, order, key=key, pure=False, retries=0, priority=priority
        )
        self._futures.add(future)

        def finished(each: Any) -> None:
            self._futures.discard(each)
            outcome = _outcome(each)
            each.release()
            done(outcome)

        future.add_done_callback(finished)

    def close(self) -> None:
        """Give up what was not waited for."""
        self._client.cancel(list(self._futures))
        self._futures.clear()


def _outcome(future: Future[Computed | Failed]) -> Computed | Failed:
    """Return what a future holds; a lost worker or cluster is a failure too."""
    try:
        return future.result()
    except BaseException as error:  # noqa: BLE001 (whatever ended the task is the unit's failure)
        line = " ".join(str(error).split())
        return Failed(f"{type(error).__name__}: {line}", "the task itself was lost")
