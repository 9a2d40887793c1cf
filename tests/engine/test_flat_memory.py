"""Nothing is kept of a unit by what has computed or served it, and nothing done anew for each."""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.utils import key_split
from distributed import Client, LocalCluster
from distributed.protocol.pickle import dumps
from tests.engine.conftest import WriteRun

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run
from forebay.engine import Algorithm, Blockwise, process, submit
from forebay.engine.execution import scheduler_traces
from forebay.engine.execution.dask_names import MOST, forget_names
from forebay.engine.execution.dispatcher import Dispatcher
from forebay.engine.execution.executor import InProcessExecutor
from forebay.engine.execution.work import Order, compute_units
from forebay.engine.execution.workbench import Workbench
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Job, plan


def brightest(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t.to_numpy(), "most": frames.max(("y", "x")).to_numpy()})


ALGORITHM = Algorithm("brightest", "1.0.0", brightest, Blockwise(tile_pixels=2))


def orders(run: Run, staging: Path) -> list[Order]:
    """Return what a worker has to do for the units of a run."""
    staging.mkdir()
    found = plan(run, Job.of(run, ALGORITHM, {}))
    return [Order(unit, 1, ALGORITHM, {}, run, blocks, staging) for unit, blocks in found]


@pytest.fixture
def interned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the parts of paths that are interned, which CPython 3.12 keeps for ever."""
    names: list[str] = []

    def intern(name: str) -> str:
        names.append(name)
        return sys.intern(name)

    # Where `Path` is since Python 3.13.
    module: ModuleType = getattr(pathlib, "_local", pathlib)
    known = {name: getattr(sys, name) for name in dir(sys) if not name.startswith("__")}
    monkeypatch.setattr(module, "sys", SimpleNamespace(**{**known, "intern": intern}))
    # One that is interned, to see that it is noticed.
    assert str(Path("seen")) == "seen"
    assert "seen" in names
    return names


def test_no_name_that_is_used_once_is_kept_by_a_worker(
    write_run: WriteRun, tmp_path: Path, interned: list[str]
) -> None:
    """Neither that of a part nor that of the note that a unit is begun."""
    wanted = orders(write_run(frames=4, shape=(6, 8)), tmp_path / "staging")
    compute_units(wanted)
    staged = [each for each in (tmp_path / "staging").iterdir() if each.is_dir()]
    assert len(staged) == len(wanted)
    assert [name for name in interned if any(o.unit.identity[:12] in name for o in wanted)] == []


def test_no_name_of_a_part_is_kept_by_a_service(tmp_path: Path, interned: list[str]) -> None:
    """Neither when it is moved to its place nor when what is left behind is looked for."""
    folder = ResultFolder(tmp_path / "result")
    with folder.session() as staging:
        for name in ("1", "2", "3"):
            (staging / name).mkdir()
            (staging / name).rename(f"{staging}/part-{name}")
        assert folder.take_in(staging, ["part-1", "part-2", "missing"]) == {"part-1", "part-2"}
        folder.discard("part-2")
    folder.sweep(lambda: frozenset({"part-1"}))
    assert os.listdir(folder.parts) == ["part-1"]  # noqa: PTH208
    assert [name for name in interned if name.startswith("part-")] == []


def test_names_that_dask_keeps_are_forgotten_once_they_are_many() -> None:
    """A thousand of them stay, for they are what makes it quick."""
    key_split.cache_clear()
    for number in range(1001):
        key_split(("unit", number))
        forget_names()
    assert 0 < key_split.cache_info().currsize <= 1001
    forget_names()
    assert key_split.cache_info().currsize <= 1000


def test_names_that_a_scheduler_keeps_are_forgotten_too(
    tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may run in a process of its own, which only it can clear."""
    monkeypatch.setattr("forebay.engine.execution.scheduler_traces.MOST", 3)
    # The scheduler is in this process, which would else do it for itself.
    monkeypatch.setattr("forebay.engine.execution.executor.forget_names", lambda: None)
    monkeypatch.setattr("forebay.engine.execution.work.forget_names", lambda: None)
    monkeypatch.setattr("forebay.engine.execution.executor._SLOTS_SECONDS", 0.0)
    run = write_run(frames=8, frames_per_block=1, shape=(6, 8))
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    places = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    left: list[int] = []
    real = Client.run_on_scheduler

    async def ask(client: Client, function: Any) -> None:
        await real(client, function)  # type: ignore[no-untyped-call]
        left.append(key_split.cache_info().currsize)

    monkeypatch.setattr(Client, "run_on_scheduler", ask)
    with (
        LocalCluster(**options, **places) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        for number in range(2000):
            key_split(("unit", number))
        process(run, ALGORITHM, client=client, results=tmp_path / "results")
    assert left
    assert max(left) < 1000


def double(number: int) -> int:
    """Stand in for a unit."""
    return 2 * number


def test_a_scheduler_keeps_nothing_of_tasks_that_come_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither what each was made of nor a span for each; those of others are left alone."""
    monkeypatch.setattr(scheduler_traces, "_SECONDS", 0.0)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    places = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(**options, **places) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        groups = cluster.scheduler.task_groups
        spans = cluster.scheduler.extensions["spans"]

        def compute(word: str, number: int) -> None:
            key = (word, number)
            assert client.submit(double, number, key=key).result(timeout=60) == 2 * number
            wait_until(lambda: word not in groups)

        for number in range(5):
            compute("theirs", number)
            compute(scheduler_traces.GROUP, number)
        assert len(spans.spans) == 10
        (worker,) = cluster.scheduler.workers.values()
        # The first may have been on its way already.
        for _ in range(2):
            before = worker.last_seen
            wait_until(lambda before=before: worker.last_seen > before)  # type: ignore[misc]
        traces = scheduler_traces.SchedulerTraces(client)
        client.sync(traces.forget)
        for found in (
            spans.spans.values(),
            spans.root_spans,
            spans.spans_search_by_name["default",],
            spans.spans_search_by_tag["default"],
        ):
            assert [group.name for span in found for group in span.groups] == ["theirs"] * 5
        # Of tasks that come together, what they were made of is forgotten all the same.
        futures = [
            client.submit(double, number, key=(scheduler_traces.GROUP, number))
            for number in range(20)
        ]
        assert client.gather(futures) == [2 * number for number in range(20)]
        for _ in range(MOST + 1):
            traces.handed()
        client.sync(traces.forget)
        (last,) = [span for span in spans.spans.values() if not is_theirs(span)]
        assert last.metadata["collections"] == []
        # It goes on with the same span, and every worker is heard.
        more = client.submit(double, 21, key=(scheduler_traces.GROUP, 21))
        assert more.result(timeout=60) == 42
        assert last in spans.spans.values()
        assert cluster.scheduler.workers


def wait_until(there: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.01)


def is_theirs(span: Any) -> bool:
    """Tell whether a span is of somebody else's tasks."""
    return any(group.name == "theirs" for group in span.groups)


def test_what_a_scheduler_is_to_do_needs_nothing_of_ours() -> None:
    """It may be one that somebody else has started."""
    forget = scheduler_traces._forgetting("unit", 60.0)
    sent = dumps(forget)  # type: ignore[no-untyped-call]
    script = (
        "import sys, pickle, types; sys.modules['forebay'] = None; "
        "forget = pickle.loads(sys.stdin.buffer.read()); "
        "forget(types.SimpleNamespace(extensions={}))"
    )
    subprocess.run([sys.executable, "-c", script], input=sent, check=True, timeout=300)


def test_a_live_result_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open it reads the run's log and looks at all parts, which is no work for each block."""
    opened: list[Workbench] = []
    real = Workbench.__init__

    def count(bench: Workbench, *arguments: Any, **options: Any) -> None:
        opened.append(bench)
        real(bench, *arguments, **options)

    monkeypatch.setattr(Workbench, "__init__", count)
    monkeypatch.setattr("forebay.engine.execution.benches._IDLE_SECONDS", 0.0)
    monkeypatch.setattr("forebay.engine.execution.dispatcher._HOUSEKEEPING_SECONDS", 0.001)
    geometry = Geometry(("y", "x"), (2, 2), np.dtype("uint16"))
    ledger = tmp_path / "ledger.sqlite"
    with (
        Database(ledger) as database,
        RunWriter.create(tmp_path / "run", geometry, frames_per_block=1) as writer,
    ):
        service, executor = Service(database), InProcessExecutor()
        dispatcher = Dispatcher(database, service, executor, lambda *_: ALGORITHM)
        submit(open_run(tmp_path / "run"), ALGORITHM, ledger=ledger, lane="realtime", live=True)
        for number in range(3):
            writer.append(Frame(number, number, np.ones((2, 2), "uint16")))
            while dispatcher.published <= number or dispatcher.in_flight:
                dispatcher.turn(wait_seconds=0.05)
            # Nothing is in flight now, and the service keeps house.
            for _ in range(3):
                dispatcher.turn(wait_seconds=0.02)
        executor.close()
        dispatcher.close()
        service.end()
    assert len(opened) == 1
