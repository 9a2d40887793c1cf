"""The truth table says what is in the frames that were delivered."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from forebay.acquisition import ImageMetadata, acquire, open_run
from forebay.acquisition.errors import SourceError, StorageError
from forebay.acquisition.sources import Scene, SimulatedSource
from forebay.acquisition.sources.simulated.loss import Loss

MOVING = Scene(shape=(48, 64), emitters=6, drift=(0.5, 1.0), diffusion=0.1, seed=8)


def drained(source: SimulatedSource) -> list[int]:
    with source:
        return [frame.counter for frame in source.frames()]


def test_the_truth_grows_with_the_frames_that_are_delivered() -> None:
    """Before the first frame there is none; then there are rows up to the latest frame."""
    with SimulatedSource(MOVING) as source:
        assert source.truth().empty
        frames = source.frames()
        for expected in range(3):
            assert next(frames).counter == expected
            assert source.truth()["frame_id"].max() == expected


def test_the_columns_and_their_types_are_always_the_same() -> None:
    """An empty table has them, too."""
    types = {
        "frame_id": "int64", "particle": "int64", "y": "float64", "x": "float64",
        "photons": "float64",
    }  # fmt: skip
    full, empty = SimulatedSource(MOVING, frames=2), SimulatedSource(Scene(emitters=0), frames=2)
    drained(full)
    drained(empty)
    for table in (full.truth(), empty.truth(), SimulatedSource(MOVING).truth()):
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == types


@pytest.mark.parametrize("drift", [(0.5, 1.0), (-0.5, -1.0)])
def test_emitters_out_of_view_have_no_row(drift: tuple[float, float]) -> None:
    """Those have a row whose centre is on a pixel; as emitters drift away there are ever fewer."""
    scene = Scene(shape=(48, 64), emitters=30, drift=drift, diffusion=0.1, seed=8)
    source = SimulatedSource(scene, frames=150)
    drained(source)
    rows = source.truth()
    assert (rows["frame_id"] == 0).sum() == 30
    assert (rows["frame_id"] == 149).sum() == 0
    for frame_id in range(150):
        every = scene.emitters_at(frame_id)
        on_rows = (every.y >= -0.5) & (every.y < 47.5)
        on_columns = (every.x >= -0.5) & (every.x < 63.5)
        inside = on_rows & on_columns
        listed = rows[rows["frame_id"] == frame_id]
        assert listed["particle"].tolist() == every.particle[inside].tolist()
        assert listed["y"].tolist() == every.y[inside].tolist()
        assert listed["x"].tolist() == every.x[inside].tolist()


def test_the_truth_agrees_with_the_pixels() -> None:
    """The light around each true position has its centroid there and adds up to its photons."""
    scene = Scene(shape=(256, 256), emitters=8, photons=2e5, background=5.0, drift=(0.3, -0.2))
    with SimulatedSource(scene, frames=12) as source:
        images = {frame.counter: frame.data.astype(float) for frame in source.frames()}
    truth = source.truth()
    rows = truth[["frame_id", "y", "x", "photons"]].to_numpy()
    compared = 0
    for frame_id, y, x, photons in rows:
        near = np.hypot(rows[:, 1] - y, rows[:, 2] - x) < 25
        alone = (near & (rows[:, 0] == frame_id)).sum() == 1
        if not alone or not (10 < y < 245 and 10 < x < 245):
            continue
        top, left = round(y) - 8, round(x) - 8
        patch = images[int(frame_id)][top : top + 17, left : left + 17] - scene.offset - 5.0
        down, across = np.mgrid[top : top + 17, left : left + 17]
        total = patch.sum()
        assert total == pytest.approx(photons, abs=5 * np.sqrt(photons + 17**2 * 8))
        assert (down * patch).sum() / total == pytest.approx(y, abs=0.03)
        assert (across * patch).sum() / total == pytest.approx(x, abs=0.03)
        compared += 1
    assert compared > 20


def test_lost_counters_are_counted_and_not_delivered() -> None:
    """They leave gaps in the counters and have no rows; frames=N counts them."""
    source = SimulatedSource(MOVING, frames=10, lost_counters={0, 4, 5, 99})
    assert drained(source) == [1, 2, 3, 6, 7, 8, 9]
    assert set(source.truth()["frame_id"]) == {1, 2, 3, 6, 7, 8, 9}


def test_a_lost_fraction_is_the_same_each_time_and_about_as_large() -> None:
    """The seed decides which exposures are lost."""
    small = Scene(shape=(4, 4), emitters=0, seed=5)
    first = drained(SimulatedSource(small, frames=1000, lost_fraction=0.2))
    again = drained(SimulatedSource(small, frames=1000, lost_fraction=0.2))
    other = drained(SimulatedSource(Scene(shape=(4, 4), emitters=0, seed=6), frames=1000,
                                    lost_fraction=0.2))  # fmt: skip
    assert first == again != other
    assert 750 < len(first) < 850


def test_the_lost_counters_of_an_endless_camera_take_no_memory() -> None:
    """Those of one stretch are kept at a time, and are the same when asked for anew."""
    loss = Loss.of((), 0.3, seed=1)
    lost = [counter for counter in range(20_000) if loss.takes(counter)]
    assert len(loss._drawn) == 1
    assert [counter for counter in range(20_000) if loss.takes(counter)] == lost


def test_a_run_accounts_for_what_the_camera_lost(tmp_path: Path) -> None:
    """Committed and dropped add up to what lies between the first and the last frame."""
    lost = {2, 3, 7}
    with SimulatedSource(MOVING, frames=12, lost_counters=lost) as source:
        status = acquire(source, tmp_path / "run", frames_per_block=4)
    assert (status.counted, status.committed, status.dropped) == (12, 9, 3)
    assert open_run(tmp_path / "run").closed
    assert set(source.truth()["frame_id"]).isdisjoint(lost)


def test_the_written_truth_is_the_truth(tmp_path: Path) -> None:
    """Parquet, readable elsewhere; written over what was there; nothing lies about."""
    path = tmp_path / "truth.parquet"
    path.write_bytes(b"old")
    source = SimulatedSource(Scene(shape=(32, 32), emitters=3000, drift=(1, 0)), frames=50)
    drained(source)
    source.write_truth(path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), source.truth())
    assert pq.ParquetFile(path).num_row_groups > 1
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_truth_can_be_written(tmp_path: Path) -> None:
    """A source that delivered nothing gives a table without rows."""
    SimulatedSource(MOVING).write_truth(tmp_path / "none.parquet")
    assert pd.read_parquet(tmp_path / "none.parquet").empty


def test_a_truth_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """The error is one line, and neither a part nor a trace is left."""
    target = tmp_path / "truth.parquet"
    target.mkdir()
    with pytest.raises(StorageError, match=r"cannot write the truth to .*truth.parquet") as caught:
        SimulatedSource(MOVING).write_truth(target)
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="No such file or directory"):
        SimulatedSource(MOVING).write_truth(tmp_path / "nowhere" / "truth.parquet")
    assert list(tmp_path.iterdir()) == [target]


def test_the_metadata_tell_the_scene_and_give_way_to_the_user() -> None:
    """What the user says comes first; the parameters are there as JSON."""
    given = ImageMetadata(pixel_size=(0.1, 0.1), instrument={"operator": "me"})
    with SimulatedSource(MOVING, rate=25, metadata=given) as source:
        metadata = source.metadata
    assert (metadata.pixel_size, metadata.frame_rate) == ((0.1, 0.1), 25.0)
    assert metadata.instrument["operator"] == "me"
    simulated = json.loads(json.dumps(metadata.instrument["simulated"]))
    assert (simulated["seed"], simulated["shape"]) == (8, [48, 64])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frames": 0}, "frames cannot be 0; give a whole number from 1"),
        ({"frames": 2.0}, "frames cannot be 2.0; give a whole number"),
        ({"rate": 0}, "rate cannot be 0; give a number from 1e-06"),
        ({"rate": float("inf")}, "rate cannot be inf"),
        ({"lost_fraction": 1.0}, "lost_fraction cannot be 1.0; give a number from 0 to 0.999"),
        ({"lost_counters": [-1]}, "lost_counters cannot be -1"),
    ],
)
def test_a_parameter_of_the_camera_out_of_range_is_refused(
    wrong: dict[str, object], said: str
) -> None:
    """The message names it and what is allowed."""
    with pytest.raises(SourceError, match=said):
        SimulatedSource(MOVING, **wrong)  # type: ignore[arg-type]
