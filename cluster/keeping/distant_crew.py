"""The workers of a scheduler on another machine, and what is asked of their cluster there.

The keeper runs in the process that started the cluster, for it alone may ask for machines.
Others speak to the scheduler, so what they ask lies there until the keeper fetches it.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.cluster.keeping.crew import Member
from forebay.cluster.keeping.pool import Pool, PoolSilentError, Seen
from forebay.cluster.keeping.scheduler_crew import SchedulerCrew
from forebay.cluster.keeping.service import DEMAND_SECONDS, KeptCluster
from forebay.cluster.keeping.talk import KEY
from forebay.cluster.keeping.time_left import TimeLeft
from forebay.cluster.larger import CEILING
from forebay.cluster.sizing import Demand

_AT_SCHEDULER = "forebay-desk"


@dataclass(slots=True)
class Asked:
    """What was asked of a cluster since it was fetched last."""

    demands: dict[str, Demand] = field(default_factory=dict)
    """The work, by who has it."""
    scaled: bool = False
    """Whether a size was asked for."""
    workers: int | None = None
    """The size: a number of workers, or None for as many as the work needs."""
    stop: bool = False
    """Whether it is to end."""


class Desk:
    """Takes what is asked of a cluster, on the machine of its scheduler.

    Parameters
    ----------
    scheduler
        The `distributed.Scheduler`.
    maximum
        Workers that there are at the most.
    ceiling
        Bytes of memory of a worker that can be asked for, for what needs it; None for none.
    """

    def __init__(self, scheduler: Any, maximum: int, *, ceiling: int | None = None) -> None:
        self._maximum = maximum
        self._asked = Asked()
        self._standing: dict[str, Any] = {}
        self._fetched_at = time.monotonic()
        self.crew = SchedulerCrew(scheduler)
        scheduler.extensions[_AT_SCHEDULER] = self
        scheduler.handlers["forebay_demand"] = self.demand
        scheduler.handlers["forebay_scale"] = self.scale
        scheduler.handlers["forebay_standing"] = self.standing
        scheduler.handlers["forebay_stop"] = self.stop
        scheduler.set_metadata(keys=[KEY], value=True)
        if ceiling is not None:
            scheduler.set_metadata(keys=[CEILING], value=ceiling)

    def demand(self, who: str, **work: Any) -> dict[str, Any]:
        """Take in how much work somebody has; return how the cluster stands."""
        self._asked.demands[who] = Demand(**work)
        return self.standing()

    def scale(self, workers: int | None) -> dict[str, Any]:
        """Take in that so many workers are to be kept."""
        if workers is not None and not 0 <= workers <= self._maximum:
            return {"refused": f"{workers} workers: this cluster has from 0 to {self._maximum}"}
        self._asked.scaled, self._asked.workers = True, workers
        return self.standing()

    def standing(self) -> dict[str, Any]:
        """Return how the cluster stood when its keeper was heard of last."""
        silent = time.monotonic() - self._fetched_at
        if silent < DEMAND_SECONDS or not self._standing:
            return self._standing
        note = f"its keeper has not been heard of for {silent:.0f} s"
        return {**self._standing, "notes": (*self._standing["notes"], note)}

    def stop(self) -> dict[str, Any]:
        """Take in that the cluster is to end."""
        if not self._standing.get("standing"):
            return {"refused": "it belongs to a command that uses it: stop that command"}
        self._asked.stop = True
        return self.standing()

    def fetched(self, standing: dict[str, Any]) -> Asked:
        """Return what was asked, and learn how the cluster stands."""
        asked, self._asked = self._asked, Asked()
        self._standing, self._fetched_at = standing, time.monotonic()
        return asked


class DistantCrew:
    """The workers of a scheduler that is asked over its own protocol.

    Parameters
    ----------
    scheduler
        The `distributed.core.rpc` of the scheduler, in whose event loop all of this is called.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._members: Mapping[str, Member] = {}
        self._held: list[Member] = []
        self._told: list[tuple[Member, TimeLeft]] = []

    async def exchange(self, kept: KeptCluster) -> None:
        """Tell the scheduler what was decided, and learn who is there and what was asked."""
        held, self._held = self._held, []
        told, self._told = self._told, []
        self._members, asked = await self._on_scheduler(
            _exchange, held=held, told=told, standing=kept.standing()
        )
        for who, demand in asked.demands.items():
            kept.take_demand(who, demand)
        if asked.scaled:
            kept.scale(asked.workers)
        if asked.stop:
            kept.stop()

    def look(self) -> Mapping[str, Member]:
        """Return who was there at the last exchange."""
        return self._members

    def hold(self, member: Member) -> None:
        """Give workers nothing more to do, from the next exchange on."""
        self._held.append(member)

    def tell(self, member: Member, left: TimeLeft) -> None:
        """Tell workers how much time they have, at the next exchange."""
        self._told.append((member, left))

    async def send_home(self, member: Member) -> bool:
        """End workers, if they have nothing to do; tell whether they had nothing."""
        return bool(await self._on_scheduler(_send_home, member=member))

    async def _on_scheduler(self, function: Any, **fields: Any) -> Any:
        from distributed.protocol import pickle

        dumps: Any = pickle.dumps

        try:
            answer = await self._scheduler.run_function(
                function=dumps(function), args=dumps(()), kwargs=dumps(fields), wait=True
            )
        except OSError as error:
            raise PoolSilentError(f"the scheduler does not answer ({error})") from error
        if answer["status"] == "error":
            raise answer["exception"]
        return answer["result"]


class WatchedPool:
    """A pool that is looked at together with its crew and with what is asked of the cluster.

    Parameters
    ----------
    pool
        Where the workers come from.
    crew
        The workers.
    """

    def __init__(self, pool: Pool, crew: DistantCrew) -> None:
        self._pool = pool
        self._crew = crew
        self.kept: KeptCluster | None = None
        """The cluster that it is for; None before it begins, and as it ends."""

    async def ask(self, name: str, *, without: Collection[str]) -> str:
        """Ask for a worker, as `Pool` does."""
        return await self._pool.ask(name, without=without)

    async def look(self) -> Mapping[str, Seen]:
        """Exchange what is known with the scheduler, and look at the pool."""
        if self.kept is not None:
            await self._crew.exchange(self.kept)
        return await self._pool.look()

    async def give_up(self, jobs: Collection[str]) -> None:
        """End workers, as `Pool` does."""
        await self._pool.give_up(jobs)

    async def story(self, job: str, name: str) -> str:
        """Return what a worker has said last, as `Pool` does."""
        return await self._pool.story(job, name)


def _exchange(
    dask_scheduler: Any,
    held: list[Member],
    told: list[tuple[Member, TimeLeft]],
    standing: dict[str, Any],
) -> tuple[dict[str, Member], Asked]:
    desk: Desk = dask_scheduler.extensions[_AT_SCHEDULER]
    for member in held:
        desk.crew.hold(member)
    for member, left in told:
        desk.crew.tell(member, left)
    return dict(desk.crew.look()), desk.fetched(standing)


async def _send_home(dask_scheduler: Any, member: Member) -> bool:
    desk: Desk = dask_scheduler.extensions[_AT_SCHEDULER]
    return await desk.crew.send_home(member)
