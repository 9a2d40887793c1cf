"""What the engine leaves in a Dask cluster, and whose work goes first on it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import get_worker
from tests.engine.conftest import WriteRun

from forebay.acquisition import Geometry, RunWriter, open_run
from forebay.engine import Algorithm, SubmittedJob, process, submit
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.executor import DaskExecutor
from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane


def listing(version: str = "1.0.0", *, seconds: float = 0.0) -> Algorithm:
    """Return an algorithm that takes some time; workers get its function whole."""

    def listed(frames: xr.DataArray, *, seconds: float = seconds, until: str = "") -> pd.DataFrame:
        while until and not Path(until).exists():
            time.sleep(0.01)
        time.sleep(seconds)
        return pd.DataFrame({"t": frames.t})

    return Algorithm("listed", version, listed)


@contextmanager
def serving(
    ledger: Path, client: Any, algorithm: Algorithm, on_event: Callable[[JobEvent], None]
) -> Iterator[None]:
    """Work on the jobs of a ledger, on a cluster, within the block."""

    @contextmanager
    def connected() -> Iterator[Any]:
        yield client

    stop = threading.Event()
    with Database(ledger) as database:
        thread = threading.Thread(
            target=serve,
            args=(database, connected, lambda *_: algorithm),
            kwargs={"options": ServiceOptions(), "stop": stop, "on_event": on_event},
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def test_the_scheduler_keeps_nothing_of_what_is_done(write_run: WriteRun, client: Any) -> None:
    """One prefix for all units, whatever they are called; no task and no future stays."""

    def kept(dask_scheduler: Any = None) -> tuple[list[str], int]:
        return [*dask_scheduler.task_prefixes], len(dask_scheduler.tasks)

    run = write_run(frames=24, frames_per_block=1)
    before = {*client.run_on_scheduler(kept)[0], "forebay-unit"}
    for version in ("1.0.0", "1.0.1"):
        result = process(run, listing(version), client=client)
        assert len(result.done) == 24
    deadline = time.monotonic() + 60
    while (state := client.run_on_scheduler(kept))[1] and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert "forebay-unit" in state[0]
    assert set(state[0]) == before
    assert state[1] == 0
    assert client.futures == {}


def test_many_small_units_go_into_few_tasks(
    write_run: WriteRun, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of Dask's costs as much as a small unit: they are handed out together."""
    tasks: list[int] = []
    submitted = DaskExecutor.submit

    def counted(self: DaskExecutor, orders: Any, done: Any, **how: Any) -> None:
        tasks.append(len(orders))
        submitted(self, orders, done, **how)

    monkeypatch.setattr(DaskExecutor, "submit", counted)
    # However slow the machine is just now.
    monkeypatch.setattr("forebay.engine.execution.dispatcher._TASK_SECONDS", 60.0)
    run = write_run(frames=48, frames_per_block=1)
    result = process(run, listing(), client=client)
    assert len(result.done) == 48 == sum(tasks)
    assert max(tasks) > 1


def test_tasks_become_no_smaller_as_they_come_back(
    write_run: WriteRun, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is room for when one comes back is one task again, until there are no more units."""
    tasks: list[int] = []
    submitted = DaskExecutor.submit

    def counted(self: DaskExecutor, orders: Any, done: Any, **how: Any) -> None:
        tasks.append(len(orders))
        submitted(self, orders, done, **how)

    monkeypatch.setattr(DaskExecutor, "submit", counted)
    # However slow the machine is just now.
    monkeypatch.setattr("forebay.engine.execution.dispatcher._TASK_SECONDS", 600.0)
    monkeypatch.setattr("forebay.engine.execution.dispatcher._MOST_IN_TASK", 4)
    run = write_run(frames=72, frames_per_block=1)
    assert len(process(run, listing(), client=client).done) == 72 == sum(tasks)
    # The first ones tell how long a unit takes.
    singly = tasks.index(4)
    assert tasks[:singly] == [1] * singly
    assert tasks[singly : singly + 12] == [4] * 12


def test_tasks_are_short_while_an_instrument_is_followed(
    write_run: WriteRun, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is urgent waits for the end of a task, so that nothing more than a unit is in one."""
    tasks: list[int] = []
    submitted = DaskExecutor.submit

    def counted(self: DaskExecutor, orders: Any, done: Any, **how: Any) -> None:
        tasks.append(len(orders))
        submitted(self, orders, done, **how)

    monkeypatch.setattr(DaskExecutor, "submit", counted)
    monkeypatch.setattr("forebay.engine.execution.dispatcher._TASK_SECONDS", 60.0)
    monkeypatch.setattr("forebay.engine.execution.dispatcher._TASK_SECONDS_BESIDE_LIVE", 0.0)
    old, new = write_run("old", frames=48, frames_per_block=1), write_run("new", frames=4)
    ledger = tmp_path / "ledger.sqlite"
    with serving(ledger, client, listing(), lambda event: None):
        submit(new, listing(), ledger=ledger, lane="realtime").wait(timeout=60)
        assert submit(old, listing(), ledger=ledger).wait(timeout=60).state == "done"
    assert set(tasks) == {1}


def test_tasks_are_short_before_the_first_frame_of_a_run_that_is_followed(
    write_run: WriteRun, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as urgent as those after it, and may come at any time."""
    tasks: list[int] = []
    submitted = DaskExecutor.submit

    def counted(self: DaskExecutor, orders: Any, done: Any, **how: Any) -> None:
        tasks.append(len(orders))
        submitted(self, orders, done, **how)

    monkeypatch.setattr(DaskExecutor, "submit", counted)
    monkeypatch.setattr("forebay.engine.execution.dispatcher._TASK_SECONDS", 600.0)
    monkeypatch.setattr("forebay.engine.execution.dispatcher._TASK_SECONDS_BESIDE_LIVE", 0.0)
    old = write_run("old", frames=48, frames_per_block=1)
    geometry = Geometry(("y", "x"), (16, 16), np.dtype("uint16"))
    ledger = tmp_path / "ledger.sqlite"
    with RunWriter.create(tmp_path / "new", geometry, frames_per_block=1):
        new = open_run(tmp_path / "new")
        following = submit(new, listing(), ledger=ledger, lane="realtime", live=True)
        batch = submit(old, listing(), ledger=ledger)
        with serving(ledger, client, listing(), lambda event: None):
            assert batch.wait(timeout=60).state == "done"
            following.cancel()
    assert tasks == [1] * 48


def test_work_that_follows_an_instrument_passes_what_waits(
    write_run: WriteRun, client: Any, tmp_path: Path
) -> None:
    """With every worker busy and many units waiting, it begins when the next unit ends."""
    ledger = tmp_path / "ledger.sqlite"
    algorithm = listing(seconds=0.3)
    old, new = write_run("old", frames=40, frames_per_block=1), write_run("new", frames=4)
    order: list[str] = []
    urgent = threading.Event()

    def observe(event: JobEvent) -> None:
        if isinstance(event, UnitPublished):
            order.append(event.unit.job.run_name)
            if event.unit.job.run_name == "new":
                urgent.set()

    with serving(ledger, client, algorithm, observe):
        batch = submit(old, algorithm, ledger=ledger, until=str(tmp_path / "go on"))
        wait_for(lambda: len(list(tmp_path.glob("results/old/*/staging/*/*.begun"))) == 2)
        job = submit(new, algorithm, ledger=ledger, lane="realtime", seconds=0.0)
        wait_for(lambda: job.progress().units.get("running") == 1)
        (tmp_path / "go on").touch()
        assert urgent.wait(60)
        passed = order.index("new")
        assert job.wait(timeout=60).state == "done"
        assert batch.record().state == "ready"
        batch.cancel()
    # Those that were being computed, and no more than one that each worker had just begun.
    assert passed <= 4
    assert job.record().lane == Lane.REALTIME


@pytest.mark.parametrize("avoid", [None, "tcp://127.0.0.1:1"], ids=["anywhere", "restricted"])
def test_urgent_work_waits_for_the_end_of_one_unit_alone(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, avoid: str | None
) -> None:
    """It lies at a worker before what waits there, and not in the scheduler's own queue.

    What is not for any worker does not wait in that queue, but all of it at the workers.
    """
    begun = tmp_path / "begun"

    def gated(packed: bytes, number: int) -> list[Any]:
        name = cloudpickle.loads(packed)[0].attempt
        with begun.open("a") as file:
            file.write(f"{name}\n")
        while not (tmp_path / name).exists():
            time.sleep(0.005)
        return [None] * number

    def at_workers(dask_worker: Any = None) -> list[str]:
        return [str(key) for key in dask_worker.state.tasks]

    def given(name: str) -> Any:
        unit, algorithm = SimpleNamespace(identity="unit"), SimpleNamespace(label="gated-1")
        order = SimpleNamespace(unit=unit, attempt=name, algorithm=algorithm, seconds=None)
        return [order]

    def names() -> list[str]:
        return begun.read_text().split() if begun.exists() else []

    monkeypatch.setattr("forebay.engine.execution.executor.compute_packed", gated)
    came: SimpleQueue[object] = SimpleQueue()
    executor = DaskExecutor(client)
    assert executor.slots == 2
    olds, later = ([f"{when}-{number}" for number in range(8)] for when in ("old", "later"))
    try:
        for each in olds:
            executor.submit(given(each), came.put, priority=0, avoid=avoid)
        wait_for(lambda: len(names()) == 2)
        executor.submit(given("urgent"), came.put, priority=10, urgent=True)
        # Of one priority, Dask may begin with what came first or with what came last.
        for each in later:
            executor.submit(given(each), came.put, priority=0, avoid=avoid)
        there = ["urgent", *olds, *later] if avoid else ["urgent"]
        wait_for(lambda: all(each in str(client.run(at_workers)) for each in there))
        for each in names():
            (tmp_path / each).touch()
        wait_for(lambda: len(names()) == 4)
        assert "urgent" in names()
    finally:
        for each in (*olds, "urgent", *later):
            (tmp_path / each).touch()
    assert [came.get(timeout=30) for _ in range(17)] == [[None]] * 17
    executor.close()


def test_stealing_leaves_urgent_work_where_it_is_next(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that runs dry takes from another what it will, and what is urgent waits no longer."""
    begun = tmp_path / "begun"

    def gated(packed: bytes, number: int) -> list[Any]:
        name = cloudpickle.loads(packed)[0].attempt
        with begun.open("a") as file:
            file.write(f"{name} {get_worker().address}\n")
        while not (tmp_path / name).exists():
            time.sleep(0.005)
        return [None] * number

    def at_worker(dask_worker: Any) -> list[str]:
        return [str(key) for key in dask_worker.state.tasks]

    def given(name: str) -> Any:
        unit, algorithm = SimpleNamespace(identity="unit"), SimpleNamespace(label="gated-1")
        return [SimpleNamespace(unit=unit, attempt=name, algorithm=algorithm, seconds=None)]

    def begun_by(worker: str) -> list[str]:
        lines = begun.read_text().splitlines() if begun.exists() else []
        return [name for name, at in map(str.split, lines) if at == worker]

    def begun_in_all() -> int:
        return sum(len(begun_by(each)) for each in workers)

    def runs_dry() -> bool:
        for each in begun_by(thief):
            (tmp_path / each).touch()
        return len(begun_by(thief)) > own or "urgent" in begun_by(thief)

    monkeypatch.setattr("forebay.engine.execution.executor.compute_packed", gated)
    came: SimpleQueue[object] = SimpleQueue()
    executor = DaskExecutor(client)
    assert executor.slots == 2
    workers = list(client.scheduler_info()["workers"])
    olds = [f"old-{number}" for number in range(16)]
    try:
        for each in olds:
            executor.submit(given(each), came.put, priority=0, avoid="tcp://127.0.0.1:1")
        wait_for(lambda: begun_in_all() == 2)
        executor.submit(given("urgent"), came.put, priority=10, urgent=True)
        wait_for(lambda: "urgent" in str(client.run(at_worker)))
        lying = {worker: str(keys) for worker, keys in client.run(at_worker).items()}
        victim = next(worker for worker in workers if "urgent" in lying[worker])
        thief = next(worker for worker in workers if worker != victim)
        own = sum(f"unit-{each}'" in lying[thief] for each in olds)
        wait_for(runs_dry)
        (tmp_path / begun_by(victim)[0]).touch()
        wait_for(lambda: "urgent" in begun_by(thief) or len(begun_by(victim)) > 1)
        assert "urgent" in (*begun_by(victim)[:2], *begun_by(thief))
    finally:
        for each in (*olds, "urgent"):
            (tmp_path / each).touch()
    assert [came.get(timeout=30) for _ in range(17)] == [[None]] * 17
    executor.close()


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_what_is_cancelled_while_it_runs_is_not_published(
    write_run: WriteRun, client: Any, tmp_path: Path
) -> None:
    """The workers may go on with it; what comes of that counts nothing."""
    ledger = tmp_path / "ledger.sqlite"
    algorithm = listing(seconds=0.3)
    run = write_run(frames=6, frames_per_block=1)
    with serving(ledger, client, algorithm, lambda event: None):
        go_on = tmp_path / "go on"
        job: SubmittedJob = submit(run, algorithm, ledger=ledger, until=str(go_on))
        wait_for(lambda: job.progress().units.get("running", 0) > 0)
        job.cancel()
        assert job.record().state == "cancelled"
        go_on.touch()
    assert job.progress().units == {"cancelled": 6}
    assert list(tmp_path.glob("results/*/*/parts/*")) == []


def test_what_never_ends_and_is_cancelled_keeps_no_worker(
    write_run: WriteRun, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask stops no task that has begun: its worker is, and what waits behind it is computed."""
    monkeypatch.setattr("forebay.engine.execution.stopping._PATIENCE_SECONDS", 0.0)
    ledger = tmp_path / "ledger.sqlite"
    run = write_run(frames=6, frames_per_block=1)
    with serving(ledger, client, listing(), lambda event: None):
        endless = submit(run, listing(), ledger=ledger, seconds=1e5)
        wait_for(lambda: len(list(tmp_path.glob("results/*/*/staging/*/*.begun"))) == 2)
        endless.cancel()
        other = submit(run, listing(), ledger=ledger, seconds=0.0)
        assert other.wait(timeout=120).state == "done"
    assert endless.progress().units == {"cancelled": 6}
    assert other.progress().units == {"done": 6}
