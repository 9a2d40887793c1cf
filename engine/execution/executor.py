"""Where units are computed: in this process, or on a Dask cluster."""

import asyncio
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, PriorityQueue
from typing import Any, Protocol

import cloudpickle  # type: ignore[import-untyped]

from forebay.cluster.keeping.time_left import TimeLeft, told_of
from forebay.cluster.larger import RESOURCE, memory_ceiling
from forebay.engine.errors import AlgorithmError, ClusterLostError
from forebay.engine.execution.dask_names import forget_names
from forebay.engine.execution.notes import Computed, Failed, NotBegun
from forebay.engine.execution.scheduler_traces import GROUP, SchedulerTraces
from forebay.engine.execution.work import Order, compute_packed, compute_units, error_line
from forebay.engine.queue.retry import Failure, FailureClass

_SLOTS_SECONDS = 1.0
"""How long the number of slots is believed: asking the scheduler takes milliseconds."""
_REMIND_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
"""How long a scheduler may take to answer."""

_log = logging.getLogger("forebay.engine")


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A unit was not computed: it was cancelled, or the cluster went away."""

    reason: str
    """What Dask says of it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A unit was not computed, since the worker that was to do so died."""

    reason: str
    """What Dask says of it."""


type Outcome = list[Computed | Failed | NotBegun] | GivenUp | Lost
"""What came of some units: an outcome for each, or one for all."""

type Done = Callable[[Outcome], None]
"""Called, from any thread, when units are computed, have failed, or were given up."""


class Executor(Protocol):
    """Computes units; how many at a time is for the caller to bound."""

    @property
    def slots(self) -> int:
        """How many units are computed at the same time."""

    def slots_for(self, seconds: float) -> int | None:
        """Return how many units of such a length may be computed at the same time.

        None where every worker has the time for them.
        """

    @property
    def memory(self) -> int | None:
        """Bytes of memory that the workers have together; None where nobody knows."""

    def submit(
        self,
        orders: Sequence[Order],
        done: Done,
        *,
        priority: int,
        urgent: bool = False,
        avoid: str | None = None,
        memory: int | None = None,
    ) -> None:
        """Have units computed one after the other; a higher priority goes first.

        What is `urgent` goes to a worker at once, and waits for no more than what that one is at.
        `avoid` names a worker that is to compute them only if there is no other; with `memory`,
        workers with no more than so many bytes are to do so only if none has more.
        """

    def exceeded_memory(self, worker: str | None) -> int | None:
        """Return a worker's bytes of memory if one with more is there, or can be; else None."""

    def most_memory(self) -> str:
        """Return a sentence about the largest worker that can be had, and what to do for more."""

    def refuse_larger(self, because: str) -> None:
        """Take in that no larger worker will come: what waits for one has failed."""

    def has_worker(self, worker: str | None) -> bool:
        """Tell whether a worker is there, as far as is known."""

    def stop_worker(self, worker: str | None) -> None:
        """End the process of a worker, which is at a unit that is not to go on."""

    def drop_waiting(self) -> None:
        """Give up the units that are known not to have begun."""

    def close(self) -> None:
        """Let go of what was taken; units that were not waited for are given up."""


class InProcessExecutor:
    """Computes in this process, one unit at a time, on Dask's threads."""

    slots = 1
    memory = None

    def __init__(self) -> None:
        """Start the thread."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="forebay-unit")
        self._waiting: PriorityQueue[tuple[int, int, Sequence[Order], Done]] = PriorityQueue()
        self._number = itertools.count()

    def submit(
        self,
        orders: Sequence[Order],
        done: Done,
        *,
        priority: int,
        urgent: bool = False,  # noqa: ARG002 (its priority is the highest)
        avoid: str | None = None,  # noqa: ARG002
        memory: int | None = None,  # noqa: ARG002
    ) -> None:
        """Have units computed: of those that wait, the first of the highest priority."""
        self._waiting.put((-priority, next(self._number), orders, done))
        self._pool.submit(self._compute_next)

    def _compute_next(self) -> None:
        """Compute what has become the most urgent meanwhile."""
        try:
            _, _, orders, done = self._waiting.get_nowait()
        except Empty:
            return
        future: Future[list[Computed | Failed | NotBegun]] = Future()
        try:
            future.set_result(compute_units(orders))
        except BaseException as error:  # noqa: BLE001 (what it is, `done` is told)
            future.set_exception(error)
        done(_outcome(future))

    def slots_for(self, seconds: float) -> int | None:  # noqa: ARG002
        """Say that there is time."""
        return None

    def exceeded_memory(self, worker: str | None) -> int | None:  # noqa: ARG002
        """Say that there is no other one."""
        return None

    def most_memory(self) -> str:
        """Say that this is the only process."""
        return "this process computes alone: use a cluster with workers that have more memory"

    def refuse_larger(self, because: str) -> None:
        """Do nothing: nothing waits for one."""

    def has_worker(self, worker: str | None) -> bool:  # noqa: ARG002
        """Say yes: there is but this process."""
        return True

    def stop_worker(self, worker: str | None) -> None:  # noqa: ARG002
        """Say that it cannot be done: a thread cannot be ended from outside."""
        _log.warning("a unit goes on although it is to end: this process computes it")

    def drop_waiting(self) -> None:
        """Give up the units behind the one that is being computed."""
        while True:
            try:
                _, _, _, done = self._waiting.get_nowait()
            except Empty:
                return
            done(GivenUp("it was not begun"))

    def close(self) -> None:
        """End the thread, once the unit that it is at is done."""
        self.drop_waiting()
        self._pool.shutdown(cancel_futures=True)


class DaskExecutor:
    """Computes on the workers of a Dask cluster."""

    def __init__(self, client: Any) -> None:
        """Use a `distributed.Client`; it stays its owner's."""
        self._client = client
        self._futures: set[Any] = set()
        self._slots = 1
        self._workers: dict[str, int] = {}
        self._memory: int | None = None
        self._threads: dict[str, int] = {}
        self._left: dict[str, TimeLeft] = {}
        self._ceiling: int | None = None
        self._ceiling_known = False
        self._no_larger_because = ""
        self._for_larger: dict[Any, tuple[Sequence[Order], Done]] = {}
        self._traces = SchedulerTraces(client)
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
        self._ask()
        return self._slots

    def slots_for(self, seconds: float) -> int | None:
        """Return the threads of the workers whose jobs last so long; None if all do."""
        self._ask()
        fit = self._lasting(seconds)
        if len(fit) == len(self._workers):
            return None
        return sum(self._threads[name] for name in fit)

    @property
    def memory(self) -> int | None:
        """Bytes of memory of all workers."""
        self._ask()
        return self._memory

    def submit(
        self,
        orders: Sequence[Order],
        done: Done,
        *,
        priority: int,
        urgent: bool = False,
        avoid: str | None = None,
        memory: int | None = None,
    ) -> None:
        """Have units computed as one task.

        Raises
        ------
        AlgorithmError
            If their algorithm cannot be sent to another process.
        ClusterLostError
            If the client is closed.
        """
        first = orders[0]
        if urgent:
            self._ask()
        # The prefix is the same for all: Dask keeps statistics for every prefix, for ever.
        key = (GROUP, f"{first.unit.identity}-{first.attempt}")
        try:
            # Dask would send the function of a loaded file by its name, which no worker knows; and
            # a worker that cannot read what it is sent never answers.
            packed = cloudpickle.dumps(list(orders))
            # What may go to any worker the scheduler may keep back until one of them has room;
            # meanwhile what waits there already is begun.
            anywhere = sorted(self._workers) if urgent else []
            others = self._others(avoid, memory, first.seconds) or anywhere
            start_larger = memory is not None and self._has_to_start(memory)
            future = self._client.submit(
                compute_packed,
                packed,
                len(orders),
                key=key,
                pure=False,
                retries=0,
                priority=priority,
                workers=None if start_larger else others or None,
                allow_other_workers=bool(others) and not start_larger,
                # It waits at the scheduler for a worker that offers as much.
                resources={RESOURCE: memory + 1} if memory and start_larger else None,
            )
        except Exception as error:
            if self._client.status != "running":
                raise _lost(error) from error
            raise AlgorithmError(
                f"{first.algorithm.label} cannot be sent to the workers ({error_line(error)}); "
                "let its function make what it needs itself"
            ) from error
        self._futures.add(future)
        self._traces.handed()
        if start_larger:
            self._for_larger[future] = (orders, done)
        # The scheduler of a local cluster runs in this process too.
        forget_names()

        def finished(each: Any) -> None:
            self._futures.discard(each)
            self._for_larger.pop(each, None)
            outcome = _outcome(each)
            each.release()
            done(outcome)

        future.add_done_callback(finished)

    def exceeded_memory(self, worker: str | None) -> int | None:
        """Compare the limits that the scheduler knows, and that of one that may be started."""
        self._ask()
        if worker and worker not in self._workers:
            # It has come since then, and run out of memory at once.
            self._ask(again=True)
        own = self._workers.get(worker or "", 0)
        return own if own and max(self._largest, *self._workers.values()) > own else None

    def most_memory(self) -> str:
        """Tell of the workers that are there, and of the one that may be started."""
        self._ask()
        most = max(self._workers.values(), default=0)
        if self._no_larger_because:
            return (
                f"no worker has more than {_gib(most)}, and a larger one does not start: "
                f"{self._no_larger_because}"
            )
        if self._largest > most:
            return f"a worker of up to {_gib(self._largest)} is started where one is needed"
        raised = "raise its memory_ceiling" if self._largest else "give it a memory_ceiling"
        return (
            f"no worker of this cluster has, or can have, more than {_gib(most)}: {raised}, or "
            "larger workers"
        )

    def refuse_larger(self, because: str) -> None:
        """Fail what waits for such a worker: what becomes of it, the rules for retries say."""
        self._no_larger_because = because
        if not because:
            return
        waiting, self._for_larger = self._for_larger, {}
        for future, (orders, done) in waiting.items():
            self._futures.discard(future)
            future.release()
            line = f"MemoryError: it waited for a worker with more memory, and none came: {because}"
            done([Failed(Failure(FailureClass.OUT_OF_MEMORY, line))] * len(orders))

    def has_worker(self, worker: str | None) -> bool:
        """Tell whether the scheduler knew a worker when it was last asked."""
        self._ask()
        return worker in self._workers

    def stop_worker(self, worker: str | None) -> None:
        """Let a worker's nanny start another process in its place."""
        if worker is not None:
            _log.warning("the worker %s is at a unit that is not to go on: it is stopped", worker)

            async def kill() -> None:
                # Restarting it in order may take its nanny away for good.
                await self._client.run(_kill_process, workers=[worker], nanny=True)

            try:
                self._client.sync(kill, callback_timeout=_ANSWER_SECONDS)
            except Exception as error:  # noqa: BLE001 (it may have gone by itself)
                _log.warning("the worker %s cannot be stopped: %s", worker, error_line(error))

    def drop_waiting(self) -> None:
        """Do nothing: what has not begun is not known on this side of the scheduler."""

    def close(self) -> None:
        """Give up what was not waited for."""
        futures, self._futures = list(self._futures), set()
        for future in futures:
            # Releasing is a message without an answer: it works whether the cluster lives or not.
            future.release()

    @property
    def _largest(self) -> int:
        """Bytes of memory of a worker that may be started; 0 for none."""
        if not self._ceiling_known:
            try:
                self._ceiling = memory_ceiling(self._client)
            except Exception as error:
                raise _lost(error) from error
            self._ceiling_known = True
        return 0 if self._no_larger_because else self._ceiling or 0

    def _has_to_start(self, memory: int) -> bool:
        """Tell whether a worker with more memory is not there, and can be started."""
        return max(self._workers.values(), default=0) <= memory < self._largest

    def _others(self, avoid: str | None, memory: int | None, seconds: float | None) -> list[str]:
        """Return the workers that are to compute; none where it may be any."""
        lasting = self._lasting(seconds or 0.0)
        if avoid is None and memory is None and len(lasting) == len(self._workers):
            return []
        large = {name for name, limit in self._workers.items() if limit > (memory or 0)}
        if memory is not None and not large and not self._has_to_start(memory):
            _log.warning("no worker has more than %.3g GiB of memory any more", memory / 2**30)
        # Dask takes any worker where none of these is left.
        chosen = (large or self._workers.keys()) - {avoid}
        return sorted(chosen & lasting or chosen)

    def _lasting(self, seconds: float) -> set[str]:
        """Return the workers whose jobs last so long."""
        return {
            name
            for name in self._workers
            if (left := self._left.get(name)) is None or left.is_enough(seconds)
        }

    async def _identity(self) -> Any:
        await self._traces.forget()
        return await self._client.scheduler.identity(n_workers=-1)

    def _ask(self, *, again: bool = False) -> None:
        """Ask the scheduler for its workers, if it was not asked just now, or is asked again."""
        now = time.monotonic()
        if not again and now - self._asked_at < _SLOTS_SECONDS:
            return
        try:
            known = self._client.sync(self._identity, callback_timeout=_ANSWER_SECONDS)
        except Exception as error:
            raise _lost(error) from error
        workers = known["workers"]
        threads = sum(each["nthreads"] for each in workers.values())
        if threads or now - self._reminded_at >= _REMIND_SECONDS:
            self._reminded_at = now
            if not threads:
                _log.warning("units wait: the Dask cluster has no workers")
        limits = [each.get("memory_limit") or 0 for each in workers.values()]
        self._workers = dict(zip(workers, limits, strict=True))
        self._threads = {name: each["nthreads"] for name, each in workers.items()}
        self._left = {
            name: left for name, each in workers.items() if (left := told_of(each)) is not None
        }
        self._memory = sum(limits) if limits and all(limits) else None
        self._slots, self._asked_at = max(1, threads), now


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB of memory"


def _kill_process(dask_worker: Any) -> None:
    """Kill the process that a nanny watches; it starts another one in its place."""
    os.kill(dask_worker.process.pid, signal.SIGKILL)


def _lost(error: BaseException) -> ClusterLostError:
    return ClusterLostError(
        f"the Dask scheduler does not answer ({error_line(error)}); what is published stays: "
        "start the cluster again and run it again to go on"
    )


def _outcome(future: Any) -> Outcome:
    """Return what a future holds; a task whose workers died was lost."""
    try:
        outcomes: list[Computed | Failed | NotBegun] = future.result()
    except (CancelledError, asyncio.CancelledError) as error:
        return GivenUp(error_line(error))
    except BaseException as error:  # noqa: BLE001 (whatever ended the task, the units are not done)
        return Lost(error_line(error))
    return outcomes
