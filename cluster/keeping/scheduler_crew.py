"""The workers of a Dask scheduler, and sending them home without losing work."""

import time
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

from distributed.versions import get_versions

from forebay.cluster.keeping.crew import Member
from forebay.cluster.keeping.health import complaint
from forebay.cluster.keeping.time_left import TimeLeft, tell
from forebay.cluster.versions import differences


class SchedulerCrew:
    """The workers of a scheduler in this process; for the thread of its event loop.

    Parameters
    ----------
    scheduler
        The `distributed.Scheduler`.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._ours = get_versions()

    def look(self) -> Mapping[str, Member]:
        """Return who is there; the workers of a job are called after it, with a number behind."""
        groups: dict[str, list[Any]] = {}
        for each in self._scheduler.workers.values():
            groups.setdefault(job_of(str(each.name)), []).append(each)
        return {
            name: Member(
                tuple(each.address for each in group),
                not any(each.processing for each in group),
                next(filter(None, map(_complaint, group)), ""),
                next(filter(None, map(self._unfit, group)), ""),
            )
            for name, group in groups.items()
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


def _complaint(worker: Any) -> str:
    return complaint(worker.metrics.get("forebay") or {}, skew=worker.time_delay)


def job_of(worker: str) -> str:
    """Return the job that a worker belongs to; Dask numbers several workers of one job.

    Examples
    --------
    >>> job_of("gpu.7"), job_of("gpu.7-0")
    ('gpu.7', 'gpu.7')
    """
    name, dash, number = worker.rpartition("-")
    return name if dash and number.isdigit() and "." in name else worker
