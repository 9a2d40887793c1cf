"""Whether workers are fit: by what they say of their machine, and by their versions."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import LocalCluster
from distributed.versions import get_versions
from tests.slurm import until

from forebay.cluster.client import client_of
from forebay.cluster.health.complaint import LEAST_DISK, MOST_SKEW, complaint
from forebay.cluster.health.gpu import GpuErrors
from forebay.cluster.health.machine import Health
from forebay.cluster.keeping import scheduler_crew as crew_of
from forebay.cluster.keeping.scheduler_crew import SchedulerCrew
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
    assert [each for each in GpuErrors().look() if "GPU" not in each] == []


class NvmlError(Exception):
    """An error as NVIDIA's library has them."""

    def __init__(self, value: int = 0) -> None:
        super().__init__(value)
        self.value = value


def nvml(
    uncorrected: list[int], happened: list[tuple[int, int]], *, events: bool = True
) -> SimpleNamespace:
    """NVIDIA's library with two GPUs; the second one counts no errors of its memory."""
    unsupported = 3

    def register(handle: int, kind: int, into: object) -> None:
        if not events:
            raise NvmlError(unsupported)

    def wait(of: object, milliseconds: int) -> SimpleNamespace:
        assert milliseconds == 0, "a heartbeat waits for nobody"
        if not happened:
            raise NvmlError
        device, xid = happened.pop(0)
        return SimpleNamespace(device=device, eventData=xid)

    def count(handle: int, kind: int, counter: int) -> int:
        if handle:
            raise NvmlError(unsupported)
        return sum(uncorrected)

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_ERROR_NOT_SUPPORTED=unsupported,
        NVML_MEMORY_ERROR_TYPE_UNCORRECTED=1,
        NVML_VOLATILE_ECC=0,
        nvmlEventTypeXidCriticalError=8,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetIndex=lambda handle: handle,
        nvmlEventSetCreate=object,
        nvmlDeviceRegisterEvents=register,
        nvmlEventSetWait_v2=wait,
        nvmlDeviceGetTotalEccErrors=count,
    )


def test_errors_of_a_gpu_are_told_for_good_and_those_of_programs_are_not() -> None:
    """A program that reads where it may not (XID 31) leaves the GPU well."""
    uncorrected: list[int] = []
    happened: list[tuple[int, int]] = []
    errors = GpuErrors(nvml(uncorrected, happened))
    assert errors.look() == []
    happened += [(0, 31), (1, 94), (1, 94)]
    hardware = "GPU 1: error of its hardware (XID 94)"
    assert errors.look() == [hardware]
    uncorrected.append(3)
    memory = "GPU 0: 3 memory errors that could not be corrected"
    assert errors.look() == [memory, hardware]
    # Those that tell of no events still count the errors of their memory.
    assert GpuErrors(nvml([3], [(1, 94)], events=False)).look() == [memory]


def test_a_worker_that_falls_silent_is_told_of() -> None:
    """While others speak, and it was looked for: not when this process itself had stopped."""
    now = 0.0
    worker = {
        name: SimpleNamespace(
            address=name,
            name=name,
            last_seen=0.0,
            time_delay=0.0,
            processing={},
            metrics={"forebay": WELL},
            versions=get_versions(),
        )
        for name in ("one", "two")
    }
    crew = SchedulerCrew(SimpleNamespace(workers=worker), clock=lambda: now)

    def looks(number: int, *speaking: str, every: float = 10.0) -> dict[str, str]:
        nonlocal now
        for _ in range(number):
            now += every
            for name in speaking:
                worker[name].last_seen = now
            found = {name: each.complaint for name, each in crew.look().items()}
        return found

    assert looks(1, "one", "two") == {"one": "", "two": ""}
    assert looks(6, "one") == {"one": "", "two": ""}
    assert looks(1, "one") == {"one": "", "two": "nothing was heard of it for 70 s"}
    assert looks(1, "one", "two") == {"one": "", "two": ""}
    # The scheduler's machine was asleep for an hour.
    assert looks(1, every=3600.0) == {"one": "", "two": ""}
    assert looks(1, "one", "two") == {"one": "", "two": ""}


def test_a_clock_is_wrong_if_several_messages_say_so() -> None:
    """One that is old was kept by a scheduler that was stopped itself: no worker is drained."""
    worker = SimpleNamespace(
        address="one",
        name="one",
        last_seen=0.0,
        time_delay=0.0,
        processing={},
        metrics={"forebay": WELL},
        versions=get_versions(),
    )
    crew = SchedulerCrew(SimpleNamespace(workers={"one": worker}))

    def looks(*skews: float) -> list[str]:
        found = []
        for each in skews:
            worker.last_seen, worker.time_delay = worker.last_seen + 1.0, each
            # Looked at more often than it speaks.
            crew.look()
            found.append(crew.look()["one"].complaint)
        return found

    assert looks(0.01, 500.0, 0.01, 0.01) == [""] * 4
    assert looks(40.0, 41.0, 40.0) == ["", "", "its clock is off by 40 s: let it be set by NTP"]
    assert looks(0.01) == [""]


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


def test_a_worker_with_other_versions_is_unfit(
    scheduler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs is said, as its scheduler knows it."""
    true: dict[str, Any] = get_versions()
    packages = {**true["packages"], "dask": "2020.1.0"}
    monkeypatch.setattr(crew_of, "get_versions", lambda: {**true, "packages": packages})
    crew = SchedulerCrew(scheduler.scheduler)
    with client_of(scheduler) as client:
        scheduler.scale(1)
        client.wait_for_workers(1, timeout=30)
        (member,) = crew.look().values()
        dask = true["packages"]["dask"]
        assert member.unfit == f"its worker has dask {dask}, this side has 2020.1.0"
        assert scheduler.sync(crew.send_home, member)
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
        future: Any = client.submit(unit, pure=False)
        assert BEGAN.wait(30)
        (member,) = crew.look().values()
        assert not member.idle
        assert not scheduler.sync(crew.send_home, member)

        async def hold() -> None:
            crew.hold(member)

        scheduler.sync(hold)
        later: Any = client.submit(sum, [1, 2])
        GO_ON.set()
        assert future.result(timeout=30) == 7
        assert not later.done()
        # It alone holds a result that somebody wants, and so stays until nobody does.
        assert not scheduler.sync(crew.send_home, member)
        future.release()
        until(lambda: scheduler.sync(crew.send_home, member), "that it goes")
    assert RUNS == [1]
