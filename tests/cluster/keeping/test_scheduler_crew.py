"""The workers of a real scheduler: told, held, relieved and sent home."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import distributed

from forebay.cluster.keeping import time_left
from forebay.cluster.keeping.crew import Member
from forebay.cluster.keeping.scheduler_crew import SchedulerCrew
from forebay.cluster.keeping.time_left import TimeLeft, told_of

# It has types for some of it.
dask: Any = distributed
PATIENCE = 20.0
BEGUN, MAY_END = threading.Event(), threading.Event()


def long() -> str:
    """Be at it until it may end."""
    BEGUN.set()
    assert MAY_END.wait(PATIENCE)
    return "done"


@dataclass
class Crewed:
    """A scheduler with two workers of a thread each, in this process."""

    scheduler: Any
    workers: tuple[Any, Any]
    client: Any
    crew: SchedulerCrew

    def member(self, number: int) -> Member:
        return Member((self.workers[number].address,), idle=False)


@asynccontextmanager
async def crewed() -> AsyncIterator[Crewed]:
    silent: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    async with dask.Scheduler(protocol="inproc://", port=0, **silent) as scheduler:
        address = scheduler.address
        async with (
            dask.Worker(address, nthreads=1, name="a.1", dashboard=False) as one,
            dask.Worker(address, nthreads=1, name="a.2", dashboard=False) as two,
            dask.Client(address, asynchronous=True, set_as_default=False) as client,
        ):
            for each in (one, two):
                time_left.listen(each)
            yield Crewed(scheduler, (one, two), client, SchedulerCrew(scheduler))


async def until(happens: Callable[[], Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        while not (value := happens()):
            await asyncio.sleep(0.01)
    return value


def run(what: Callable[[Crewed], Awaitable[None]]) -> None:
    async def with_one() -> None:
        async with crewed() as it:
            await what(it)

    asyncio.run(with_one())


def test_what_waits_at_a_worker_that_is_held_goes_to_another() -> None:
    """What it is at stays there, and it goes home once that is done."""
    BEGUN.clear()
    MAY_END.clear()

    async def held(it: Crewed) -> None:
        held, other = (it.scheduler.workers[each.address] for each in it.workers)
        await it.scheduler.extensions["stealing"].stop()
        at = {"workers": [held.address], "allow_other_workers": True, "pure": False}
        first = it.client.submit(long, **at)
        await until(BEGUN.is_set)
        waiting = it.client.submit(time.time, **at)
        await until(lambda: len(held.processing) == 2)
        it.crew.hold(it.member(0))
        it.crew.hold(it.member(0))
        await asyncio.wait_for(waiting, PATIENCE)
        assert it.scheduler.tasks[waiting.key].who_has == {other}
        assert not await it.crew.send_home(it.member(0))
        assert first.status == "pending"
        MAY_END.set()
        assert await first == "done"
        await until(lambda: it.crew.look()["a.1"].idle)
        assert await it.crew.send_home(it.member(0))

    run(held)


def test_a_worker_knows_how_much_time_it_has() -> None:
    """What runs there, and whoever asks the scheduler, knows it too; the other one has no end."""

    async def told(it: Crewed) -> None:
        one, other = it.workers
        it.crew.tell(it.member(0), TimeLeft(100.0, life=3600.0))
        await until(lambda: one.extensions[time_left.KEY].left)
        there = await it.client.submit(time_left.time_left, workers=[one.address], pure=False)
        assert 90 < there.seconds <= 100
        assert there.life == 3600.0
        assert await it.client.submit(time_left.time_left, workers=[other.address]) is None
        known = (await it.client.scheduler.identity(n_workers=-1))["workers"]
        assert told_of(known[one.address]) == TimeLeft(100.0, 3600.0)
        assert told_of(known[other.address]) is None
        it.crew.tell(it.member(0), TimeLeft(5.0, life=3600.0))
        await until(lambda: one.extensions[time_left.KEY].left.seconds < 6)
        # One that has gone meanwhile is told nothing.
        it.crew.tell(Member(("inproc://nobody",), idle=True), TimeLeft(5.0, life=3600.0))

    run(told)
