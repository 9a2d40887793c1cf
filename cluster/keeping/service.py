"""A cluster that is kept: its loop, and what others may ask of it through its scheduler.

The questions go over Dask's own connections, which TLS protects: whoever has the cluster's
certificate may submit work, and so may size it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

from forebay.cluster.decisions import DecisionLog
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.talk import KEY
from forebay.cluster.sizing import Demand, Limits, Size, next_size

DEMAND_SECONDS = 30.0
"""For how long is believed what somebody has said of the work that it has, at the least."""
_DEMAND_LOOKS = 3
"""It is believed for so many looks, too: what is said elsewhere is fetched at each."""

_log = logging.getLogger("forebay.cluster")


class KeptCluster:
    """The size of a cluster, by what is asked of it; for the thread of its event loop.

    Parameters
    ----------
    keeper
        What keeps the jobs.
    limits
        Between what the number of workers may be.
    workers_per_job
        Workers that come and go together.
    look_seconds
        Time between two looks.
    stop
        Called when it is asked to end; None if it ends with the command that uses it.
    name
        What the cluster is called, where decisions are written down.
    decisions
        Where they are; nowhere if not given.
    larger
        The workers that have more memory, for units that need it; None where there are none.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        keeper: Keeper,
        limits: Limits,
        *,
        workers_per_job: int = 1,
        look_seconds: float = 5.0,
        stop: Callable[[], None] | None = None,
        name: str = "",
        decisions: DecisionLog | None = None,
        larger: "KeptCluster | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keeper = keeper
        self._limits = limits
        self._per_job = workers_per_job
        self._look_seconds = look_seconds
        self._belief_seconds = max(DEMAND_SECONDS, _DEMAND_LOOKS * look_seconds)
        self._stop = stop
        self._name = name
        self._decisions = decisions
        self._larger = larger
        self._clock = clock
        self._size = Size(limits.minimum)
        self._demands: dict[str, tuple[Demand, float]] = {}
        self._fixed: int | None = None
        self._wake = asyncio.Event()

    def answer_for(self, scheduler: Any) -> None:
        """Let a scheduler pass on what is asked of this cluster."""
        scheduler.handlers["forebay_demand"] = self.demand
        scheduler.handlers["forebay_scale"] = self.scale
        scheduler.handlers["forebay_standing"] = self.standing
        scheduler.handlers["forebay_stop"] = self.stop
        scheduler.set_metadata(keys=[KEY], value=True)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the cluster for the length of a block, and cancel its jobs after it."""
        loop = asyncio.create_task(self._keep())
        try:
            async with contextlib.nullcontext() if self._larger is None else self._larger.kept():
                yield
        finally:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop
            await self._keeper.end()

    async def _keep(self) -> None:
        failed = ""
        while True:
            self._wake.clear()
            try:
                await self.learn()
                self._keeper.wanted = self._jobs()
                self._keeper.unit_seconds = self._demand().unit_seconds
                await self._keeper.turn()
            except Exception as error:  # noqa: BLE001 (a cluster that nobody keeps costs more)
                if failed != (failed := repr(error)):
                    _log.exception("a look at the cluster failed; it is looked at again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._wake.wait()

    async def learn(self) -> None:
        """Learn what the size depends on, beside the demand; called before each look."""

    def _jobs(self) -> int:
        """Return how many jobs there should be."""
        now = self._clock()
        self._demands = {who: each for who, each in self._demands.items() if each[1] > now}
        if self._fixed is not None:
            return -(-self._fixed // self._per_job)
        return -(-self._sized(now) // self._per_job)

    def _sized(self, now: float) -> int:
        """Return how many workers the work needs, and write down a change."""
        self._resize(next_size(self._size, self._demand(), self._limits, now=now))
        return self._size.workers

    def _demand(self) -> Demand:
        return sum((each for each, _ in self._demands.values()), Demand())

    def _resize(self, size: Size) -> None:
        change = size.workers - self._size.workers
        self._size = size
        if change and self._decisions is not None:
            demand = self._demand()
            self._decisions.take(
                "size",
                self._name,
                workers=size.workers,
                change=change,
                reason=f"{demand.seconds:.0f} s of work wait in {demand.units} units",
                figures={
                    "seconds": demand.seconds,
                    "units": demand.units,
                    "work_seconds": self._limits.work_seconds,
                    "threads_per_worker": self._limits.threads_per_worker,
                    "minimum": self._limits.minimum,
                    "maximum": self._limits.maximum,
                },
            )

    # What others ask.

    def demand(self, who: str, **work: Any) -> dict[str, Any]:
        """Take in how much work somebody has, by the fields of `Demand`; return how it stands."""
        return self.take_demand(who, Demand(**work))

    def take_demand(self, who: str, demand: Demand) -> dict[str, Any]:
        """Take in how much work somebody has; return how the cluster stands."""
        before = self._demands.get(who)
        self._demands[who] = (demand, self._clock() + self._belief_seconds)
        if before is None or before[0] != demand:
            self._wake.set()
        if self._larger is not None:
            self._larger.take_demand(who, Demand(units=demand.larger))
        return self.standing()

    def scale(self, workers: int | None) -> dict[str, Any]:
        """Keep so many workers, or, for None, as many as the work needs; try again what failed."""
        if workers is not None and not 0 <= workers <= self._limits.maximum:
            return {
                "refused": f"{workers} workers: this cluster has from 0 to {self._limits.maximum}"
            }
        self._fixed = workers
        self._keeper.go_on()
        if self._larger is not None:
            self._larger.go_on()
        self._wake.set()
        return self.standing()

    def standing(self) -> dict[str, Any]:
        """Return how the cluster stands."""
        return {
            **asdict(self._keeper.standing),
            "fixed": self._fixed,
            "standing": self._stop is not None,
            "no_larger_because": self._larger.stopped_because if self._larger is not None else "",
        }

    def go_on(self) -> None:
        """Ask for workers again after starts have failed."""
        self._keeper.go_on()
        self._wake.set()

    @property
    def stopped_because(self) -> str:
        """Why no more workers are asked for; empty while they are."""
        return self._keeper.standing.stopped_because

    def stop(self) -> dict[str, Any]:
        """End the cluster."""
        if self._stop is None:
            return {"refused": "it belongs to a command that uses it: stop that command"}
        self._stop()
        return self.standing()
