"""The flow of units: bounded while it runs, soon over when it is stopped."""

import dataclasses
import gc
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.engine import Algorithm, WholeRun, open_result, process
from forebay.engine.errors import (
    ClusterLostError,
    JobInterruptedError,
    ParameterError,
    RunNotClosedError,
)
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.executor import GivenUp, InProcessExecutor
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Job


def doubled(frames: xr.DataArray) -> xr.DataArray:
    return frames * 2


def own_threads() -> list[str]:
    """Return the names of the engine's threads; Dask and Zarr keep some of theirs."""
    return [each.name for each in threading.enumerate() if each.name.startswith("forebay")]


def test_only_so_many_units_are_in_flight(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a run is, the window of units bounds what is handed out."""
    most = 0
    out = 0
    submit = InProcessExecutor.submit

    def counted(self: InProcessExecutor, order: Any, done: Callable[..., None], **k: Any) -> None:
        nonlocal most, out
        out += 1
        most = max(most, out)

        def back(outcome: Any) -> None:
            nonlocal out
            out -= 1
            done(outcome)

        submit(self, order, back, **k)

    monkeypatch.setattr(InProcessExecutor, "submit", counted)
    run = write_run(frames=6, frames_per_block=1)
    for window in (1, 4):
        most = 0
        algorithm = Algorithm("doubled", f"1.0.{window}", doubled)
        result = process(run, algorithm, units_in_flight_per_worker=window)
        assert (most, len(result.done)) == (window, 6)


def test_a_stop_ends_a_batch_job_soon(write_run: WriteRun) -> None:
    """The unit that is being computed is published, the others wait for the next call."""
    stop, begun = threading.Event(), []

    def slow(frames: xr.DataArray) -> xr.DataArray:
        begun.append(int(frames.t[0]))
        stop.set()
        time.sleep(0.3)
        return frames

    run, algorithm = write_run(frames=6, frames_per_block=1), Algorithm("slow", "1.0.0", slow)
    with pytest.raises(JobInterruptedError, match="was stopped after 1 units; they are published"):
        process(run, algorithm, stop=stop, units_in_flight_per_worker=8)
    assert begun == [0]
    result = process(run, algorithm)
    assert (result.computed, result.frames) == (5, 6)
    assert list(ResultFolder(result.path).staging.iterdir()) == []


def test_a_stop_after_the_end_changes_nothing(write_run: WriteRun) -> None:
    """A job whose last unit is published is done, and is not called interrupted."""
    stop, seen = threading.Event(), []

    def observe(event: JobEvent) -> None:
        seen.append(event)
        if sum(isinstance(each, UnitPublished) for each in seen) == 3:
            stop.set()

    result = process(
        write_run(), Algorithm("doubled", "1.0.0", doubled), stop=stop, on_event=observe
    )
    assert result.computed == 3


def test_a_stop_ends_a_job_that_follows_a_quiet_run(write_run: WriteRun) -> None:
    """Nobody writes the run; the job waits for it until it is told to stop, and no thread stays."""
    run, stop = write_run(frames=8, close=False), threading.Event()
    timer = threading.Timer(0.5, stop.set)
    published: list[float] = []

    def observe(event: JobEvent) -> None:
        if isinstance(event, UnitPublished):
            published.append(time.monotonic())
            if len(published) == 2:
                timer.start()

    with pytest.raises(JobInterruptedError, match="was stopped after 2 units"):
        process(
            run, Algorithm("doubled", "1.0.0", doubled), follow=True, stop=stop, on_event=observe
        )
    assert 0.5 <= time.monotonic() - published[1] < 30
    timer.join()
    assert own_threads() == []


def test_a_whole_run_that_is_followed_waits_for_the_end(tmp_path: Path) -> None:
    """Nothing is computed before the run is closed, and then all of it, once."""
    calls: list[int] = []

    def total(frames: xr.DataArray) -> xr.DataArray:
        calls.append(frames.sizes["t"])
        return frames.sum("t")

    geometry = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
    writer = RunWriter.create(tmp_path / "run", geometry, frames_per_block=2)

    def write() -> None:
        for counter in range(5):
            writer.append(Frame(counter, counter + 1, np.full((2, 3), counter, "uint16")))
            time.sleep(0.02)
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    algorithm = Algorithm("total", "1.0.0", total, WholeRun())
    result = process(open_run(tmp_path / "run"), algorithm, follow=True)
    thread.join()
    assert calls == [5]
    assert (result.arrays()["frames"].to_numpy() == 10).all()


def test_a_whole_run_that_grows_is_refused_in_batch(write_run: WriteRun) -> None:
    """The message says how to wait for it."""
    algorithm = Algorithm("total", "1.0.0", lambda frames: frames.sum("t"), WholeRun())
    with pytest.raises(RunNotClosedError, match="end it first \\('forebay runs close'\\)"):
        process(write_run(close=False), algorithm)


def test_a_run_elsewhere_needs_a_place_for_its_results(write_run: WriteRun) -> None:
    """A run that does not lie on this machine has no folder beside it."""
    from zarr.storage import MemoryStore

    run = write_run()
    remote = dataclasses.replace(
        run, objects=dataclasses.replace(run.objects, store=MemoryStore()), location="s3://a/run"
    )
    with pytest.raises(ParameterError, match="s3://a/run is not on this machine: say where"):
        process(remote, Algorithm("doubled", "1.0.0", doubled))


def test_a_run_that_is_damaged_while_it_is_followed_ends_the_job(write_run: WriteRun) -> None:
    """The follower's error comes out of the job, and its thread ends."""
    from forebay.acquisition.errors import RunDamagedError

    run = write_run(frames=8, close=False)

    def spoil(event: JobEvent) -> None:
        log = Path(run.location) / "_forebay" / "log" / "00000001.log"
        # Two units may be published before the follower has seen it.
        if isinstance(event, UnitPublished) and log.exists():
            log.rename(log.with_name("00000007.log"))

    algorithm = Algorithm("doubled", "1.0.0", doubled)
    with pytest.raises(RunDamagedError):
        process(run, algorithm, follow=True, on_event=spoil, stop=stopping_after(20))


def stopping_after(seconds: float) -> threading.Event:
    """Return an event that a test's hanging would wait for."""
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    return stop


def test_a_unit_that_was_given_up_ends_the_job(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that goes away is no failure of the algorithm: the units are tried again."""
    run, algorithm = write_run(), Algorithm("doubled", "1.0.0", doubled)
    with monkeypatch.context() as patched:
        patched.setattr(
            InProcessExecutor,
            "submit",
            lambda self, order, done, **_: done(GivenUp("the scheduler is gone")),
        )
        with pytest.raises(ClusterLostError, match=r"\(the scheduler is gone\); 0 units are"):
            process(run, algorithm)
    folder = ResultFolder.of(run.path.parent / "results", Job.of(run, algorithm, {}))  # type: ignore[union-attr]
    assert open_result(folder.path).failed == ()
    assert process(run, algorithm).computed == 3


def test_nothing_is_left_open(write_run: WriteRun) -> None:
    """Databases, files and threads of a job are closed when it returns."""
    algorithm = Algorithm("doubled", "1.0.0", doubled)
    process(write_run(), algorithm)
    run = write_run("second")
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(3):
            process(run, algorithm, force=True)
        gc.collect()
    assert own_threads() == []


def test_what_is_urgent_is_computed_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process too, it passes all that was handed out and is not begun."""
    order: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()

    def compute(orders: Any) -> list[Any]:
        begun.set()
        go_on.wait(30)
        order.extend(orders)
        return list(orders)

    monkeypatch.setattr("forebay.engine.execution.executor.compute_units", compute)
    executor = InProcessExecutor()
    came: list[Any] = []
    first: Any
    for first in ("old 1", "old 2", "old 3"):
        executor.submit([first], came.append, priority=1)
        assert begun.wait(30)
    for first in ("urgent 1", "urgent 2"):
        executor.submit([first], came.append, priority=3, urgent=True)
    go_on.set()
    while len(order) < 3:
        threading.Event().wait(0.005)
    executor.close()
    assert order[:3] == ["old 1", "urgent 1", "urgent 2"]
    # Each is told of once, whether it was computed or given up.
    assert len(came) == 5
