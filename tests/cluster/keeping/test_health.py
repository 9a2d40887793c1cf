"""Whether workers are fit: by what they say of their machine, and by their versions."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import LocalCluster

from forebay.cluster.client import client_of
from forebay.cluster.keeping import scheduler_crew as crew_of
from forebay.cluster.keeping.health import LEAST_DISK, MOST_SKEW, complaint
from forebay.cluster.keeping.scheduler_crew import SchedulerCrew
from forebay.cluster.keeping.worker import Health, gpu_errors
from forebay.cluster.loop import sheltered_loop

WELL = {"disk_free": 2**40, "memory_free": 0.5, "gpu_errors": []}


@pytest.mark.parametrize(
    ("wrong", "skew", "said"),
    [
        ({"disk_free": LEAST_DISK - 1}, 0.0, "its disk is full"),
        ({"memory_free": 0.001}, 0.0, "its memory is full"),
        ({"gpu_errors": ["GPU 1: fell off the bus"]}, 0.0, "GPU 1: fell off the bus"),
        ({}, MOST_SKEW + 1, "its clock is off by 31 s"),
        ({}, -MOST_SKEW - 1, "its clock is off by -31 s"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], skew: float, said: str) -> None:
    assert complaint(WELL, skew=0.0) == ""
    assert complaint(WELL | wrong, skew=skew).startswith(said)


def test_a_worker_looks_at_its_machine_now_and_then() -> None:
    """Heartbeats are many, and looking takes time."""
    now = 100.0
    health = Health(clock=lambda: now)
    worker = SimpleNamespace(local_directory="/")
    first = health(worker)
    assert first["disk_free"] > 0
    assert 0 < first["memory_free"] <= 1
    now += 1
    assert health(worker) is first
    now += 10
    assert health(worker) is not first
    assert health(SimpleNamespace(local_directory="/no/such/folder")) is not first


def test_a_disk_that_is_gone_has_no_room() -> None:
    health = Health()(SimpleNamespace(local_directory="/no/such/folder"))
    assert complaint(health, skew=0.0).startswith("its disk is full")


def test_a_machine_without_a_gpu_has_no_gpu_errors() -> None:
    assert [each for each in gpu_errors() if "GPU" not in each] == []


@pytest.fixture
def scheduler() -> Iterator[Any]:
    """A scheduler in this process that lets in who fits, and none of the others."""
    with sheltered_loop() as loop:
        cluster: Any = LocalCluster(  # type: ignore[no-untyped-call]
            loop=loop,
            n_workers=0,
            processes=False,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        )
        try:
            yield cluster
        finally:
            cluster.close(timeout=10)


def test_a_worker_with_other_versions_is_given_nothing(
    scheduler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for a moment; what differs is said."""
    true = crew_of.get_versions()
    packages = {**true["packages"], "dask": "2020.1.0"}
    monkeypatch.setattr(crew_of, "get_versions", lambda: {**true, "packages": packages})
    crew = SchedulerCrew(scheduler.scheduler)
    with client_of(scheduler) as client:
        future = client.submit(sum, [1, 2])
        scheduler.scale(1)
        deadline = time.monotonic() + 30
        while not (found := crew.look()) and time.monotonic() < deadline:
            time.sleep(0.02)
        (member,) = found.values()
        dask = true["packages"]["dask"]
        assert member.unfit == f"its worker has dask {dask}, this side has 2020.1.0"
        assert not future.done()
        scheduler.sync(crew.send_home, member)
        assert crew.look() == {}


# A unit travels by its name: in this process it finds these again.
BEGAN, GO_ON = threading.Event(), threading.Event()
RUNS: list[int] = []


def unit() -> int:
    RUNS.append(1)
    BEGAN.set()
    GO_ON.wait(30)
    return 7


def test_who_computes_is_not_sent_home(scheduler: Any) -> None:
    """Nor given to others what it has begun: a worker that is held finishes it."""
    crew = SchedulerCrew(scheduler.scheduler)
    with client_of(scheduler) as client:
        scheduler.scale(1)
        client.wait_for_workers(1, timeout=30)
        future = client.submit(unit, pure=False)
        assert BEGAN.wait(30)
        (member,) = crew.look().values()
        assert not member.idle
        assert not scheduler.sync(crew.send_home, member)

        async def hold() -> None:
            crew.hold(member)

        scheduler.sync(hold)
        later = client.submit(sum, [1, 2])
        GO_ON.set()
        assert future.result(timeout=30) == 7
        assert not later.done()
        scheduler.sync(crew.send_home, member)
        scheduler.scale(0)
        scheduler.scale(1)
        assert later.result(timeout=30) == 3
    assert RUNS == [1]
