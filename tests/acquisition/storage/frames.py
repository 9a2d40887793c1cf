"""Small runs in a bucket, and what must be true of them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from obstore.store import ObjectStore as Bucket
from zarr.storage import ObjectStore

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run

GEOMETRY = Geometry(("y", "x"), (5, 6), np.dtype("uint16"))
PER_BLOCK = 2


def frame(counter: int) -> Frame:
    """Return a frame whose every pixel follows from its counter."""
    pixels = np.arange(30, dtype="uint16").reshape(5, 6) + 100 * counter
    return Frame(counter, counter * 1000, pixels.astype("uint16"))


def store_of(bucket: Bucket) -> ObjectStore[Bucket]:
    """Return the Zarr store that a writer is given."""
    return ObjectStore(bucket)


def create(bucket: Bucket) -> RunWriter:
    """Make a run and become its writer."""
    return RunWriter.create_in(store_of(bucket), "sample", GEOMETRY, frames_per_block=PER_BLOCK)


def take_over(bucket: Bucket) -> RunWriter:
    """Become the writer of the run that is there."""
    return RunWriter.take_over(store_of(bucket))


def append(writer: RunWriter, counters: range) -> None:
    """Give a writer frames."""
    for counter in counters:
        writer.append(frame(counter))


def read(bucket: Bucket) -> Run:
    """Open the run for reading."""
    return open_run(ObjectStore(bucket, read_only=True))


def counters_of(run: Run) -> list[int]:
    """Return the counters of a run's frames, whose pixels must be those of their counters."""
    counters: list[int] = run.frames.frame_id.to_numpy().tolist()
    expected = [frame(counter).data for counter in counters]
    np.testing.assert_array_equal(
        run.frames.to_numpy(), np.asarray(expected, "uint16").reshape(-1, 5, 6)
    )
    return counters


def stock_frames(bucket: Bucket) -> npt.NDArray[Any]:
    """Return the frames as a program reads them that knows only Zarr."""
    group = zarr.open_group(ObjectStore(bucket, read_only=True), mode="r")
    array = group["frames"]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[:])


def check_whole(bucket: Bucket) -> list[int]:
    """Check every promise that a closed run makes; return the counters of its frames."""
    run = read(bucket)
    assert run.closed
    assert run.verify().problems == ()
    counters = counters_of(run)
    np.testing.assert_array_equal(stock_frames(bucket), run.frames.to_numpy())
    closed = run.history.closed
    assert closed is not None
    assert closed.counted == len(counters) + sum(each.count for each in run.dropped)
    return counters
