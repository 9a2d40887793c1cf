"""Workers of a cluster that nobody keeps, on this machine or elsewhere: the sick ones get no work."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.test_address import running
from tests.slurm import until

from forebay.cluster import AddressSpecification, LocalClusterSpecification, connect
from forebay.cluster.client import known_workers
from forebay.cluster.health import complaint, watch

LOCAL = LocalClusterSpecification(workers=2)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)


@contextmanager
def an_address(warmed: Path, folder: Path) -> Iterator[Any]:
    """Join a scheduler of somebody else's, with two workers."""
    with (
        running(warmed, folder, workers=2) as address,
        connect(AddressSpecification(address=address, timeout=60), name="theirs") as client,
    ):
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture(scope="module", params=["local", "address"])
def client(
    request: pytest.FixtureRequest, warmed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A client of two workers."""
    if request.param == "local":
        with connect(LOCAL, name="mine") as client:
            yield client
    else:
        with an_address(warmed, tmp_path_factory.mktemp("watched")) as client:
            yield client


def states(client: Any) -> dict[str, str]:
    """Return the state of each worker, as the scheduler knows it."""
    info = known_workers(client)
    return {address: each["status"] for address, each in info.items()}


def held(client: Any) -> list[str]:
    return [each for each, state in states(client).items() if state == "closing_gracefully"]


def tell(client: Any, worker: str, **said: Any) -> None:
    """Let a worker say other things of its machine than are true."""

    def say(said: dict[str, Any], dask_worker: Any = None) -> None:
        was = dask_worker.metrics["forebay"]
        dask_worker.metrics["forebay"] = lambda worker: {**was(worker), **said}
        dask_worker.metrics["true"] = was

    client.run(say, said, workers=[worker])


def tell_the_truth(client: Any, worker: str) -> None:
    def say(dask_worker: Any) -> None:
        dask_worker.metrics["forebay"] = dask_worker.metrics.pop("true")

    client.run(say, workers=[worker])


def computing(client: Any, tasks: int = 12) -> set[str]:
    """Return the workers that compute when there is much to do."""

    def where(number: int) -> str:
        from distributed import get_worker

        return str(get_worker().address)

    return set(client.gather(client.map(where, range(tasks), pure=False)))


def all_tell(client: Any) -> bool:
    info = known_workers(client).values()
    return all(each["metrics"].get("forebay") for each in info)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"disk_free": 2**20}, "its disk is full: 1 MiB are free in /"),
        ({"memory_free": 0.001}, "its memory is full: 0.1% are free"),
        ({"gpu_errors": ["GPU 0: error of its hardware (XID 79)"]}, "GPU 0: error of its hardware"),
    ],
)
def test_a_sick_worker_gets_no_work_until_it_is_well(
    client: Any, said: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    until(lambda: all_tell(client), "that all workers tell of themselves")
    sick, well = sorted(states(client))
    tell(client, sick, **said)
    until(lambda: held(client) == [sick], "that it is held")
    assert computing(client) == {well}
    (warned,) = [each.getMessage() for each in caplog.records if "no more work" in each.message]
    assert sick in warned
    assert f"takes no more work: {why}" in warned
    tell_the_truth(client, sick)
    until(lambda: not held(client), "that it is let work again")
    until(lambda: computing(client) == {sick, well}, "that it works again")
    events = [event for _, event in client.get_events("forebay-health")][-2:]
    assert [each["action"] for each in events] == ["held", "released"]
    assert {each["worker"] for each in events} == {sick}


def test_a_worker_whose_clock_is_off_gets_no_work(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is off by what a message takes, and nothing is allowed."""
    monkeypatch.setattr(complaint, "MOST_SKEW", -1.0)
    until(lambda: len(held(client)) == 2, "that both are held")
    monkeypatch.undo()
    until(lambda: not held(client), "that they are let work again")


def test_nobody_left_is_said_once_and_work_waits(
    client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as full:
        full.setattr(complaint, "LEAST_DISK", 2**62)
        until(lambda: len(held(client)) == 2, "that both are held")
        future = client.submit(sum, [1, 2], pure=False)
        until(
            lambda: [each for each in caplog.records if each.levelno == logging.ERROR],
            "that it is said",
        )
        assert not future.done()
    assert future.result(timeout=60) == 3
    (error,) = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert error.endswith("is fit: work waits until one is")


def test_a_worker_that_is_not_heard_of_gets_no_work(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaint, "MOST_SILENCE", 2.0)
    silent, well = sorted(states(client))
    (process,) = client.run(os.getpid, workers=[silent]).values()
    os.kill(process, signal.SIGSTOP)
    try:
        until(lambda: held(client) == [silent], "that it is held")
        assert computing(client) == {well}
    finally:
        os.kill(process, signal.SIGCONT)
    until(lambda: not held(client), "that it is let work again")


def test_what_waits_at_a_sick_worker_goes_to_others(client: Any, tmp_path: Path) -> None:
    """What it has begun it finishes; nothing is begun twice."""
    until(lambda: all_tell(client), "that all workers tell of themselves")
    sick, well = sorted(states(client))
    gate, begun = tmp_path / "gate", tmp_path / "begun"

    def unit(number: int, gate: Path, begun: Path) -> str:
        import time

        from distributed import get_worker

        with begun.open("a") as file:
            file.write(f"{number}\n")
        while not gate.exists():
            time.sleep(0.01)
        return str(get_worker().address)

    futures = client.map(
        unit,
        range(2),
        gate=gate,
        begun=begun,
        workers=[sick],
        allow_other_workers=True,
        pure=False,
    )
    until(begun.exists, "that one of them is begun")
    tell(client, sick, disk_free=0)
    until(lambda: held(client) == [sick], "that it is held")
    until(lambda: len(begun.read_text().split()) == 2, "that the other one begins elsewhere")
    gate.touch()
    assert set(client.gather(futures)) == {sick, well}
    assert sorted(begun.read_text().split()) == ["0", "1"]
    tell_the_truth(client, sick)
    until(lambda: not held(client), "that it is let work again")


def test_whoever_looks_next_lets_work_who_is_well(warmed: Path, tmp_path: Path) -> None:
    """Also where the one that held it was killed: which workers are held the scheduler knows."""
    with running(warmed, tmp_path, workers=2) as address:
        theirs = AddressSpecification(address=address, timeout=60)
        with connect(theirs) as client:
            client.wait_for_workers(2, timeout=60)
            until(lambda: all_tell(client), "that all workers tell of themselves")
            sick, _ = sorted(states(client))
            tell(client, sick, disk_free=0)
            until(lambda: held(client) == [sick], "that it is held")
        with distributed_client(address) as client:
            tell_the_truth(client, sick)
            assert held(client) == [sick]
        with connect(theirs) as client:
            until(lambda: not held(client), "that it is let work again")


@contextmanager
def distributed_client(address: str) -> Iterator[Any]:
    """Connect as somebody who knows nothing of forebay."""
    from forebay.cluster.client import client_of

    with client_of(address) as client:
        yield client


def test_a_scheduler_that_runs_nothing_for_others_is_told_once(
    client: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is used all the same."""
    looks = 0

    async def refused(*_: object, **__: object) -> Any:
        nonlocal looks
        looks += 1
        raise ValueError("it may not")

    # Not what the cluster's own watch calls it, which is refused as well.
    one: Any = watch.Watch(client, "another")
    monkeypatch.setattr(watch, "at_scheduler", refused)

    async def some(go_on: Callable[[], Any]) -> None:
        task = asyncio.create_task(go_on())
        try:
            async with asyncio.timeout(60):
                while looks < 3:
                    await asyncio.sleep(0.01)
        finally:
            # Whatever happens, it does not go on in the test after this one.
            task.cancel()

    client.sync(some, one.go_on)
    told = [each.getMessage() for each in caplog.records if "another" in each.getMessage()]
    assert told == ["the workers of the cluster another cannot be watched: it may not"]
