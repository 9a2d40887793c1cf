"""The workers of a Dask scheduler, and sending them home without losing work."""

import time
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from typing import Any

from distributed.versions import get_versions

from forebay.cluster.health.complaint import complaint
from forebay.cluster.health.holding import keep_from
from forebay.cluster.health.machine import METRIC
from forebay.cluster.health.silence import Silences
from forebay.cluster.health.skew import Skews
from forebay.cluster.keeping.crew import Member
from forebay.cluster.keeping.time_left import TimeLeft, tell
from forebay.cluster.versions import differences


class SchedulerCrew:
    """The workers of a scheduler in this process; for the thread of its event loop.

    Parameters
    ----------
    scheduler
        The `distributed.Scheduler`.
    clock
        Seconds of a clock that only goes forward.
    """

    def __init__(self, scheduler: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._scheduler = scheduler
        self._ours = get_versions()
        self._silences = Silences(clock=clock)
        self._skews = Skews()

    def look(self) -> Mapping[str, Member]:
        """Return who is there; the workers of a job are called after it, with a number behind."""
        workers = self._scheduler.workers
        silences = self._silences.of({each: of.last_seen for each, of in workers.items()})
        skews = self._skews.of(
            {each: (of.last_seen, of.time_delay) for each, of in workers.items()}
        )
        groups: dict[str, list[Any]] = {}
        for each in workers.values():
            groups.setdefault(job_of(str(each.name)), []).append(each)
        return {
            name: Member(
                tuple(each.address for each in group),
                not any(each.processing for each in group),
                next(
                    filter(
                        None,
                        (
                            complaint(
                                each.metrics.get(METRIC) or {},
                                skew=skews[each.address],
                                silence=silences[each.address],
                            )
                            for each in group
                        ),
                    ),
                    "",
                ),
                next(filter(None, map(self._unfit, group)), ""),
            )
            for name, group in groups.items()
        }

    def _unfit(self, worker: Any) -> str:
        """Return why a worker cannot work for this scheduler; nothing if it can.

        It has looked itself before it came; this is for one that has not.
        """
        differing = differences(self._ours, worker.versions)
        theirs = (worker.metrics.get(METRIC) or {}).get("forebay", version("forebay"))
        if theirs != version("forebay"):
            differing.append(f"forebay {theirs}, this side has {version('forebay')}")
        return f"its worker has {', '.join(differing)}" if differing else ""

    def hold(self, member: Member) -> None:
        """Let the scheduler choose others from now on."""
        self.hold_addresses(member.addresses)

    def hold_addresses(self, addresses: Collection[str]) -> None:
        """Let the scheduler choose others than these workers."""
        for address in addresses:
            worker = self._scheduler.workers.get(address)
            if worker is not None:
                keep_from(self._scheduler, worker)

    def tell(self, member: Member, left: TimeLeft) -> None:
        """Tell workers, and those who ask the scheduler for them."""
        for address in member.addresses:
            tell(self._scheduler, address, left)

    async def send_home(self, member: Member) -> bool:
        """End the processes of workers that are idle still."""
        if self._busy(member.addresses):
            return False
        # Nothing is handed out between that look and the workers' being taken out: there is no
        # pause of this thread in between.
        await self._scheduler.retire_workers(
            workers=list(member.addresses), close_workers=True, remove=True
        )
        # One that alone holds a result which somebody keeps is not let go.
        return not any(each in self._scheduler.workers for each in member.addresses)

    def _busy(self, addresses: Collection[str]) -> bool:
        workers = (self._scheduler.workers.get(each) for each in addresses)
        return any(each is not None and each.processing for each in workers)


def job_of(worker: str) -> str:
    """Return the job that a worker belongs to; Dask numbers several workers of one job.

    Examples
    --------
    >>> job_of("gpu.7"), job_of("gpu.7-0")
    ('gpu.7', 'gpu.7')
    """
    name, dash, number = worker.rpartition("-")
    return name if dash and number.isdigit() and "." in name else worker
