"""The same function gives the same values eagerly, in batch and live, however a run is cut."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import ndimage
from tests.engine.conftest import WriteRun

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run
from forebay.engine import Algorithm, Blockwise, Result, WholeRun, process
from forebay.engine.execution.events import JobEvent, UnitPublished


def smooth(frames: xr.DataArray, *, sizes: tuple[int, int, int] = (3, 1, 1)) -> xr.DataArray:
    """Average each pixel with its neighbours, as far as there are any."""
    values = frames.astype("float64").to_numpy()
    here = np.ones_like(values)
    total = ndimage.uniform_filter(values, sizes, mode="constant")
    return frames.copy(data=total / ndimage.uniform_filter(here, sizes, mode="constant"))


def spots(frames: xr.DataArray, *, threshold: int = 190) -> pd.DataFrame:
    """List the bright pixels."""
    t, y, x = np.nonzero(frames.to_numpy() > threshold)
    rows = {name: frames[name].to_numpy()[at] if name in frames.coords else at
            for name, at in (("t", t), ("y", y), ("x", x))}  # fmt: skip
    return pd.DataFrame({**rows, "brightness": frames.to_numpy()[t, y, x]})


def darkest(frames: xr.DataArray) -> xr.Dataset:
    """Return the darkest value that each pixel ever has, and how it spreads."""
    still = frames.min("t")
    return xr.Dataset({"still": still, "spread": (frames - still).std("t")})


SMOOTH_IN_TIME = Algorithm("smooth", "1.0.0", smooth, Blockwise(halo_frames=1))
SMOOTH_FAR = Algorithm("smooth", "1.1.0", smooth, Blockwise(halo_frames=5))
SMOOTH_TILES = Algorithm("smooth", "1.2.0", smooth, Blockwise(tile_pixels=5, halo_pixels=1))
SPOTS = Algorithm("spots", "1.0.0", spots)
SPOTS_HALO = Algorithm("spots", "1.1.0", spots, Blockwise(halo_frames=2))
SPOTS_TILES = Algorithm("spots", "1.2.0", spots, Blockwise(tile_pixels=5, halo_pixels=2))
SMOOTH_EAGER = Algorithm("smooth", "1.3.0", smooth, Blockwise(halo_frames=1), eager=True)
SPOTS_EAGER = Algorithm(
    "spots", "1.3.0", spots, Blockwise(tile_pixels=5, halo_pixels=2), eager=True
)
DARKEST = Algorithm("darkest", "1.0.0", darkest, WholeRun())

ARRAYS: list[tuple[Algorithm, dict[str, Any]]] = [
    (SMOOTH_IN_TIME, {"sizes": (3, 1, 1)}),
    (SMOOTH_EAGER, {"sizes": (3, 1, 1)}),
    (SMOOTH_FAR, {"sizes": (11, 1, 1)}),
    (SMOOTH_TILES, {"sizes": (1, 3, 3)}),
    (DARKEST, {}),
]
TABLES = [SPOTS, SPOTS_HALO, SPOTS_TILES, SPOTS_EAGER]
FRAMES, PER_BLOCK, SHAPE = 11, 4, (6, 9)


@contextmanager
def being_written(path: Path, *, end: threading.Event | None = None) -> Iterator[Run]:
    """Let a thread write a run, frame by frame, with a writer that dies once; `end` ends it."""
    geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
    writer = RunWriter.create(path, geometry, frames_per_block=PER_BLOCK)
    pixels = np.random.default_rng(7).integers(0, 200, (FRAMES, *SHAPE)).astype("uint16")

    def write() -> None:
        nonlocal writer
        for counter, frame in enumerate(pixels):
            writer.append(Frame(counter, 1_000_000_000 * (counter + 1), frame))
            if counter == PER_BLOCK - 1:
                writer.abandon()
                writer = RunWriter.resume(path)
            time.sleep(0.02)
        if end:
            end.wait(30)
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield open_run(path)
    finally:
        thread.join()


def same_rows(one: pd.DataFrame, other: pd.DataFrame) -> None:
    order = ["t", "y", "x"]
    pd.testing.assert_frame_equal(
        one.sort_values(order, ignore_index=True), other.sort_values(order, ignore_index=True)
    )


def same_arrays(result: Result, expected: xr.DataArray | xr.Dataset) -> None:
    """Compare values, and coordinates as far as the algorithm has kept them."""
    wanted = expected.to_dataset() if isinstance(expected, xr.DataArray) else expected
    found = result.arrays().drop_vars(("y", "x"), errors="ignore")
    xr.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize(("algorithm", "given"), ARRAYS)
def test_arrays_are_those_of_the_function_itself(
    write_run: WriteRun, algorithm: Algorithm, given: dict[str, Any]
) -> None:
    """Blocks with halo frames, tiles with halo pixels and whole runs all agree with one call."""
    run = write_run(frames=FRAMES, frames_per_block=PER_BLOCK, shape=SHAPE)
    same_arrays(process(run, algorithm, **given), algorithm(run.frames, **given))


@pytest.mark.parametrize("algorithm", TABLES)
def test_tables_are_those_of_the_function_itself(write_run: WriteRun, algorithm: Algorithm) -> None:
    """No row of a halo is counted, and none of a core is lost."""
    run = write_run(frames=FRAMES, frames_per_block=PER_BLOCK, shape=SHAPE)
    expected = algorithm(run.frames)
    assert len(expected) > 10
    same_rows(process(run, algorithm).table(), expected)


@pytest.mark.parametrize(("algorithm", "given"), ARRAYS)
def test_arrays_are_the_same_live(
    tmp_path: Path, algorithm: Algorithm, given: dict[str, Any]
) -> None:
    """A job that follows a run gives what a batch job gives, though the writer died once."""
    with being_written(tmp_path / "run") as run:
        live = process(run, algorithm, follow=True, **given)
    same_arrays(live, algorithm(run.refresh().frames, **given))
    again = process(run.refresh(), algorithm, **given)
    assert again.computed == 0


@pytest.mark.parametrize("algorithm", TABLES)
def test_tables_are_the_same_live(tmp_path: Path, algorithm: Algorithm) -> None:
    """The units that are planned live are those that are planned afterwards."""
    with being_written(tmp_path / "run") as run:
        live = process(run, algorithm, follow=True)
    same_rows(live.table(), algorithm(run.refresh().frames))
    assert process(run.refresh(), algorithm).computed == 0


def test_a_live_job_publishes_before_the_run_ends(tmp_path: Path) -> None:
    """A block is published while later ones are still being taken, the short last one too."""
    published, closed = threading.Event(), []

    def observe(event: JobEvent) -> None:
        if isinstance(event, UnitPublished):
            closed.append(open_run(tmp_path / "run").closed)
            published.set()

    with being_written(tmp_path / "run", end=published) as run:
        result = process(run, SPOTS, follow=True, on_event=observe)
    assert (closed[0], closed[-1]) == (False, True)
    assert [(unit.start, unit.stop) for unit in result.done] == [(0, 4), (4, 8), (8, 11)]


def test_an_open_run_is_computed_as_far_as_it_goes(write_run: WriteRun) -> None:
    """Without following, a job does what it can now; later calls add what has come."""
    run = write_run(frames=8, close=False)
    assert [unit.stop for unit in process(run, SPOTS).done] == [4, 8]
    assert [unit.stop for unit in process(run, SPOTS_HALO).done] == [4]
    RunWriter.resume(run.location).close()
    later = process(run.refresh(), SPOTS_HALO)
    assert ([unit.stop for unit in later.done], later.computed) == ([4, 8], 1)


def test_a_run_without_frames_gives_an_empty_result(write_run: WriteRun) -> None:
    """There is nothing to do, and nothing goes wrong."""
    result = process(write_run(frames=0), SPOTS)
    assert (result.done, result.frames, len(result.table())) == ((), 0, 0)
    assert process(write_run("other", frames=0), DARKEST).arrays().sizes == {}
