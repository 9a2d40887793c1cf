"""A run that is packed anew: other objects, the same pixels, counters, losses and notes."""

from pathlib import Path

import numpy as np
import pytest

from forebay.acquisition import Frame, FrameFlag, Geometry, ImageMetadata, RunWriter, open_run
from forebay.acquisition.errors import AcquisitionError, RunDamagedError, RunNotFoundError
from forebay.acquisition.run import recompress as recompressing
from forebay.acquisition.run.recompress import PROVENANCE, pixels_digest, recompress


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A run with losses at its beginning, within and at its end, and with notes."""
    path = tmp_path / "water"
    writer = RunWriter.create(
        path,
        Geometry(("c", "y", "x"), (2, 16, 24), np.dtype("uint16")),
        metadata=ImageMetadata(channels=("a", "b"), exposure=0.02, instrument={"camera": "A-17"}),
        provenance={"reduction": "bin 2"},
        frames_per_block=3,
    )
    writer.note("event", "before the first frame")
    writer.drop(4, 5, reason="it was late")
    for counter in (6, 7, 10, 11, 12, 14, 15):
        if counter == 12:
            writer.note("annotation", "the shutter")
        pixels = np.full((2, 16, 24), counter, "uint16")
        writer.append(Frame(counter, counter * 10**9, pixels, FrameFlag(counter % 4)))
    writer.drop(16, 18, reason="the disk was full")
    writer.close(reason="that was all")
    return path


@pytest.mark.parametrize("compression", ["zstd", "blosc-lz4"])
def test_everything_but_the_packing_stays(original: Path, compression: str) -> None:
    run = open_run(original)
    made = recompress(run, original.with_name("packed"), compression)  # type: ignore[arg-type]
    assert made.verify().ok
    assert made.layout.compression.name == compression
    np.testing.assert_array_equal(made.frames.to_numpy(), run.frames.to_numpy())
    for name in ("timestamp", "frame_id", "flags"):
        np.testing.assert_array_equal(made.frames[name], run.frames[name])
    assert pixels_digest(made) == pixels_digest(run)
    assert made.dropped == run.dropped
    assert made.notes[:-1] == run.notes
    assert pixels_digest(run) in made.notes[-1].text
    assert made.layout.metadata == run.layout.metadata
    assert made.layout.created == run.layout.created
    assert made.history.closed is not None
    assert run.history.closed is not None
    assert (made.history.closed.reason, made.history.closed.at) == (
        run.history.closed.reason,
        run.history.closed.at,
    )
    assert [each.dropped for each in made.blocks] == [each.dropped for each in run.blocks]
    said = made.layout.provenance
    assert said["reduction"] == "bin 2"
    assert said[PROVENANCE]["run_id"] == run.run_id != made.run_id
    stored = [sum(each.objects[-1].bytes for each in every.blocks) for every in (run, made)]
    assert stored[1] < stored[0]


def test_what_is_not_whole_is_not_packed_anew(tmp_path: Path, original: Path) -> None:
    geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    RunWriter.create(tmp_path / "open", geometry).abandon()
    with pytest.raises(RunNotFoundError, match="is not closed"):
        recompress(open_run(tmp_path / "open"), tmp_path / "packed", "zstd")
    shard = next((original / "frames").glob("c.1.*"))
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(AcquisitionError, match="has changed since it was committed"):
        recompress(open_run(original), tmp_path / "packed", "zstd")
    assert not open_run(tmp_path / "packed").closed


def test_pixels_that_are_not_given_back_are_an_error(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is read once more before anybody relies on it."""
    monkeypatch.setattr(recompressing, "pixels_digest", lambda run: "of other pixels")
    with pytest.raises(RunDamagedError, match="packed does not give back the pixels of"):
        recompress(open_run(original), original.with_name("packed"), "zstd")
