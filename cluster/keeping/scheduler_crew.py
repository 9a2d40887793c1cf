"""The workers of a Dask scheduler, and sending them home without losing work."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from distributed.versions import get_versions

from forebay.cluster.keeping.crew import Member
from forebay.cluster.keeping.health import complaint
from forebay.cluster.keeping.time_left import TimeLeft, tell
from forebay.cluster.versions import differences

_LEAST_LOOKS = 5
"""Looks at the least at which nothing was heard of a worker, before that is its own fault."""


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
        self._clock = clock
        self._heard: dict[str, _Heard] = {}

    def look(self) -> Mapping[str, Member]:
        """Return who is there; the workers of a job are called after it, with a number behind."""
        silences = self._listen()
        groups: dict[str, list[Any]] = {}
        for each in self._scheduler.workers.values():
            groups.setdefault(job_of(str(each.name)), []).append(each)
        return {
            name: Member(
                tuple(each.address for each in group),
                not any(each.processing for each in group),
                next(
                    filter(None, (_complaint(each, silences[each.address]) for each in group)), ""
                ),
                next(filter(None, map(self._unfit, group)), ""),
            )
            for name, group in groups.items()
        }

    def _listen(self) -> dict[str, float]:
        """Return for how long nothing was heard of each worker.

        It counts from look to look, for at least so many: after this process itself was stopped,
        or was busy, nothing was heard of anybody.
        """
        now = self._clock()
        heard = {}
        for address, worker in self._scheduler.workers.items():
            before = self._heard.get(address)
            if before is None or before.last_seen != worker.last_seen:
                heard[address] = _Heard(worker.last_seen, now)
            else:
                heard[address] = replace(before, looks=before.looks + 1)
        self._heard = heard
        return {
            address: now - each.since if each.looks >= _LEAST_LOOKS else 0.0
            for address, each in heard.items()
        }

    def _unfit(self, worker: Any) -> str:
        """Return why a worker cannot work for this scheduler; nothing if it can.

        It has looked itself before it came; this is for one that has not.
        """
        differing = differences(self._ours, worker.versions)
        theirs = (worker.metrics.get("forebay") or {}).get("forebay", version("forebay"))
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
            if worker is None:
                continue
            if worker.status.name != "running":
                self._relieve(worker)
                continue
            stimulus = f"forebay-hold-{time.time()}"
            # As the scheduler does itself at the beginning of retire_workers, which would give
            # what is being computed to others at once.
            self._scheduler.handle_worker_status_change("closing_gracefully", worker, stimulus)
            self._scheduler.stream_comms[address].send(
                {
                    "op": "worker-status-change",
                    "status": "closing_gracefully",
                    "stimulus_id": stimulus,
                }
            )

    def _relieve(self, worker: Any) -> None:
        """Let others have what waits at a worker that begins nothing more.

        Dask's own stealing leaves alone who has no more tasks than threads, whether they run or not.
        A worker gives away only what it has not begun.
        """
        for task in list(worker.processing):
            able = None if task.loose_restrictions else self._scheduler.valid_workers(task)
            others = {each for each in self._scheduler.running if able is None or each in able} - {
                worker
            }
            if others:
                thief = min(others, key=lambda each: each.occupancy)
                self._scheduler.extensions["stealing"].move_task_request(task, worker, thief)

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


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was heard of a worker."""

    last_seen: float
    """When the scheduler has heard of it last, by its own clock."""
    since: float
    """When that was seen first, by the crew's."""
    looks: int = 0
    """Looks since then that saw nothing newer."""


def _complaint(worker: Any, silence: float) -> str:
    said = worker.metrics.get("forebay") or {}
    return complaint(said, skew=worker.time_delay, silence=silence)


def job_of(worker: str) -> str:
    """Return the job that a worker belongs to; Dask numbers several workers of one job.

    Examples
    --------
    >>> job_of("gpu.7"), job_of("gpu.7-0")
    ('gpu.7', 'gpu.7')
    """
    name, dash, number = worker.rpartition("-")
    return name if dash and number.isdigit() and "." in name else worker
