"""Jobs on a real Dask cluster: live, with workers that die, and with code of one's own."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay import ops
from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.engine import REGISTRY, Algorithm, Blockwise, Result, process
from forebay.engine.errors import AlgorithmError, ClusterLostError, UnitsFailedError
from forebay.engine.results.folder import ResultFolder


def bright(*, needs: Blockwise | None = None) -> Algorithm:
    """Return an algorithm whose function travels whole: workers do not have this module."""

    def function(frames: xr.DataArray, *, above: int = 150) -> pd.DataFrame:
        t, y, x = np.nonzero(frames.to_numpy() > above)
        return pd.DataFrame({"t": frames.t.to_numpy()[t], "y": y, "x": x})

    return Algorithm("bright", "1.0.0", function, needs or Blockwise())


def nothing_left(result: Result) -> bool:
    """Tell whether a result's folder holds published parts and nothing else."""
    folder = ResultFolder(result.path)
    parts = {path.name for path in folder.parts.iterdir()}
    return not list(folder.staging.iterdir()) and parts == {unit.part for unit in result.done}


@pytest.mark.parametrize("needs", [Blockwise(), Blockwise(halo_frames=3)])
def test_a_run_is_followed_on_a_cluster(tmp_path: Path, client: Any, needs: Blockwise) -> None:
    """While a thread writes the run, two workers process it; the result is that of a batch."""
    geometry = Geometry(("y", "x"), (20, 30), np.dtype("uint16"))
    writer = RunWriter.create(tmp_path / "run", geometry, frames_per_block=4)
    pixels = np.random.default_rng(3).integers(0, 200, (30, 20, 30)).astype("uint16")

    def write() -> None:
        for counter, frame in enumerate(pixels):
            writer.append(Frame(counter, time.time_ns(), frame))
            time.sleep(0.01)
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    run = open_run(tmp_path / "run")
    live = process(run, bright(needs=needs), client=client, follow=True)
    thread.join()
    run = run.refresh()
    batch = process(run, bright(needs=needs), results=tmp_path / "batch")
    pd.testing.assert_frame_equal(live.table(), batch.table())
    assert live.frames == 30
    assert all(0 < (unit.latency or 0) < 60 for unit in live.done)
    assert nothing_left(live)


def test_a_file_of_ones_own_runs_on_workers(
    write_run: WriteRun, tmp_path: Path, client: Any
) -> None:
    """Its functions, and those that they call, are sent along: no worker has the file."""
    path = tmp_path / "analysis.py"
    path.write_text(
        "import xarray as xr\n"
        "import forebay\n\n"
        "@forebay.algorithm('own-scaled', version='1.0.0')\n"
        "def own(frames: xr.DataArray, *, gain: float = 3.0) -> xr.DataArray:\n"
        "    return scaled(frames, gain)\n\n"
        "def scaled(frames, gain):\n"
        "    return frames * gain\n"
    )
    REGISTRY.load([str(path)])
    path.unlink()
    run = write_run()
    arrays = process(run, "own-scaled", client=client).arrays()
    xr.testing.assert_allclose(arrays, (run.frames * 3.0).to_dataset())


def test_what_cannot_be_sent_is_refused(write_run: WriteRun, client: Any) -> None:
    """A function that holds a lock cannot travel, and the message says so."""
    lock = threading.Lock()

    def locked(frames: xr.DataArray) -> xr.DataArray:
        with lock:
            return frames

    with pytest.raises(AlgorithmError, match=r"locked-1\.0\.0 cannot be sent to the workers"):
        process(write_run(), Algorithm("locked", "1.0.0", locked), client=client)


def test_workers_that_are_killed_cost_nothing_but_time(
    write_run: WriteRun, tmp_path: Path, client: Any
) -> None:
    """Workers die of SIGKILL, computing and staging: the units are computed again, counted once."""

    def deadly(frames: xr.DataArray) -> pd.DataFrame:
        from forebay.acquisition import durable

        def die_once(moment: str) -> None:
            try:
                (tmp_path / moment).touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

        write = durable.write_aside

        def write_and_die(*arguments: Any) -> tuple[int, str]:
            written = write(*arguments)
            die_once("staging")
            return written

        if frames.t[0] == 4:
            die_once("computing")
        if frames.t[0] == 12 and not (tmp_path / "staging").exists():
            durable.write_aside = write_and_die  # type: ignore[assignment]
        return pd.DataFrame({"t": frames.t})

    result = process(write_run(frames=24), Algorithm("deadly", "1.0.0", deadly), client=client)
    assert (tmp_path / "computing").exists()
    assert (tmp_path / "staging").exists()
    assert result.table()["t"].tolist() == list(range(24))
    assert nothing_left(result)


def test_a_unit_that_kills_its_workers_fails_alone(
    write_run: WriteRun, client: Any, tmp_path: Path
) -> None:
    """It takes two workers, never a third; what was with it on a worker is done."""
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def murderous(frames: xr.DataArray) -> xr.DataArray:
        if frames.t[0] == 4:
            (deaths / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return frames

    with pytest.raises(UnitsFailedError) as failed:
        process(write_run(frames=24), Algorithm("murderous", "1.0.0", murderous), client=client)
    expected = "on 1 of 6 units, first on the frames 4 to 7: the worker died while it was at this"
    assert expected in str(failed.value)
    assert len(list(deaths.iterdir())) == 2


def test_a_cluster_that_goes_away_leaves_what_is_published(write_run: WriteRun) -> None:
    """The job ends with one line; on another cluster, or on none, it is completed."""
    from forebay.cluster import LocalClusterSpecification, connect

    def slow(frames: xr.DataArray) -> pd.DataFrame:
        time.sleep(0.2)
        return pd.DataFrame({"t": frames.t})

    run, algorithm = write_run(frames=24), Algorithm("slow", "1.0.0", slow)
    with connect(LocalClusterSpecification(workers=1, processes=False)) as passing:
        published = 0

        def close(event: object) -> None:
            nonlocal published
            published += type(event).__name__ == "UnitPublished"
            if published == 2:
                passing.close()  # type: ignore[no-untyped-call]

        with pytest.raises(ClusterLostError, match="run it again to go on"):
            process(run, algorithm, client=passing, on_event=close)
    assert published == 2
    result = process(run, algorithm)
    assert result.computed == 4
    assert result.table()["t"].tolist() == list(range(24))
    assert nothing_left(result)


def test_a_chain_of_operations_is_a_task_a_block(write_run: WriteRun, client: Any) -> None:
    """Five operations on five blocks are five tasks for Dask's scheduler, not twenty-five."""

    def chained(frames: xr.DataArray) -> xr.DataArray:
        frames = ops.median_filter(ops.gaussian_filter(frames, sigma=0.5), size=3)
        frames = ops.bandpass(frames, background_sigma=1, noise_sigma=0.5, truncate=2)
        return ops.erosion(ops.running_mean(frames, window=3), size=3)

    def seen(dask_scheduler: Any) -> int:
        return int(sum(x.state_counts["processing"] for x in dask_scheduler.task_prefixes.values()))

    run = write_run(frames=10, frames_per_block=2, shape=(12, 14))
    algorithm = Algorithm("chained", "1.0.0", chained, Blockwise(halo_frames=1))
    before = client.run_on_scheduler(seen)
    result = process(run, algorithm, client=client)
    assert len(result.done) == 5
    assert client.run_on_scheduler(seen) - before == 5
