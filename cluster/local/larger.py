"""A worker with more memory on this machine, as long as a unit needs one."""

import logging
import time
from collections.abc import Callable
from typing import Any

from forebay.cluster.keeping.talk import KEY
from forebay.cluster.larger import CEILING, RESOURCE
from forebay.cluster.sizing import Demand, Limits, Size, next_size

_NAME = "larger"
_IDLE_SECONDS = 60.0

_log = logging.getLogger("forebay.cluster")


class LargerWorker:
    """Starts it when somebody says that units need it; for the thread of the event loop.

    Parameters
    ----------
    cluster
        A `distributed.LocalCluster`.
    memory
        Bytes of memory that it may use.
    idle_seconds
        Time without such a unit after which it ends.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        cluster: Any,
        memory: int,
        *,
        idle_seconds: float = _IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._memory = memory
        self._limits = Limits(0, 1, idle_seconds=idle_seconds)
        self._clock = clock
        self._size = Size(0)
        self._wanted: dict[str, int] = {}

    async def answer(self) -> None:
        """Let the scheduler of the cluster, which is in this process, pass on what is asked."""
        scheduler = self._cluster.scheduler
        scheduler.handlers["forebay_demand"] = self.demand
        scheduler.set_metadata(keys=[KEY], value=True)
        scheduler.set_metadata(keys=[CEILING], value=self._memory)

    def demand(self, who: str, **work: Any) -> dict[str, Any]:
        """Take in how much work somebody has, by the fields of `Demand`; return how it stands."""
        self._wanted[who] = Demand(**work).larger
        units = sum(self._wanted.values())
        before = self._size.workers
        now = self._clock()
        self._size = next_size(self._size, Demand(0.0, units), self._limits, now=now)
        if self._size.workers > before:
            _log.warning(
                "a worker with %.3g GiB of memory is started for %d units that need more than the "
                "others have",
                self._memory / 2**30,
                units,
            )
            usual = self._cluster.new_spec
            options = {
                "memory_limit": self._memory,
                "nthreads": 1,
                "resources": {RESOURCE: self._memory},
            }
            self._cluster.worker_spec[_NAME] = {
                **usual,
                "options": {**usual["options"], **options},
            }
        elif self._size.workers < before:
            del self._cluster.worker_spec[_NAME]
        if self._size.workers != before:
            self._cluster.scale(len(self._cluster.worker_spec))
        return {
            "stopped_because": "",
            "no_larger_because": "",
            "working": len(self._cluster.workers),
        }
