"""What is recorded is read back the same by forebay, by zarr-python and by tensorstore."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import numpy.typing as npt
import pytest
import tensorstore
import zarr

from forebay.acquisition import acquire, open_run, verify_run
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.sources import open_source


class Recording(NamedTuple):
    """How a run is recorded."""

    shape: tuple[int, int]
    dtype: str
    frames_per_block: int
    compression: CompressionName


FRAMES = 4
RECORDINGS = [
    Recording((1, 1), "u1", 1, "none"),
    Recording((1, 1), "<u2", 3, "blosc-lz4"),
    Recording((1, 1), "<f4", 100, "blosc-zstd"),
    Recording((1, 1), ">u2", 3, "zstd"),
    Recording((7, 13), "u1", 3, "blosc-zstd"),
    Recording((7, 13), "<u2", 100, "zstd"),
    Recording((7, 13), "<f4", 1, "blosc-lz4"),
    Recording((7, 13), ">f4", 100, "none"),
    Recording((64, 64), "u1", 100, "blosc-lz4"),
    Recording((64, 64), "<u2", 1, "blosc-zstd"),
    Recording((64, 64), "<f4", 3, "none"),
    Recording((64, 64), ">u2", 1, "zstd"),
    Recording((256, 256), "u1", 1, "zstd"),
    Recording((256, 256), "<u2", 3, "none"),
    Recording((256, 256), "<f4", 100, "blosc-lz4"),
    Recording((256, 256), ">u2", 100, "blosc-zstd"),
    Recording((511, 513), "u1", 100, "none"),
    Recording((511, 513), "<u2", 1, "blosc-lz4"),
    Recording((511, 513), "<f4", 3, "zstd"),
    Recording((511, 513), ">f4", 3, "blosc-zstd"),
    Recording((2048, 2048), "u1", 3, "blosc-zstd"),
    Recording((2048, 2048), "<u2", 100, "none"),
    Recording((2048, 2048), "<f4", 1, "zstd"),
    Recording((2048, 2048), ">u2", 1, "blosc-lz4"),
]
"""Each two of a size, a dtype, a length of blocks and a compression come together somewhere."""


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, memory: Callable[[], Path]) -> Path:
    """A folder on the disk, and one in memory, which are written in other ways."""
    return tmp_path if request.param == "disk" else memory()


def frames_of(recording: Recording) -> npt.NDArray[Any]:
    """Return frames, one of them dark, and of floats one with what is no number."""
    generator = np.random.default_rng(5)
    frames = generator.integers(0, 250, (FRAMES, *recording.shape)).astype(recording.dtype)
    frames[1] = 0
    if frames.dtype.kind == "f":
        frames[2] = np.nan
        frames[3] = -0.0
    return frames


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_each_reader_gives_back_what_was_recorded(folder: Path, recording: Recording) -> None:
    """Bit for bit, whatever the frames are and however they are packed."""
    frames = frames_of(recording)
    np.save(folder / "frames.npy", frames)
    path = folder / "run"
    with open_source(str(folder / "frames.npy")) as source:
        status = acquire(
            source,
            path,
            frames_per_block=recording.frames_per_block,
            compression=recording.compression,
        )
    assert (status.committed, status.dropped, status.counted) == (FRAMES, 0, FRAMES)
    run = open_run(path)
    assert verify_run(run).problems == ()
    with dask.config.set(scheduler="sync"):
        by_forebay = run.frames.to_numpy()
    with zarr.config.set({"array.read_missing_chunks": False}):
        by_zarr = np.asarray(zarr.open_array(path / "frames", mode="r")[:])
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "frames")}}
    by_tensorstore = tensorstore.open(store, open=True, read=True).result().read().result()
    expected = frames.astype(frames.dtype.newbyteorder("<"))
    for seen in (by_forebay, by_zarr, by_tensorstore):
        assert (seen.shape, seen.dtype) == (expected.shape, expected.dtype)
        assert seen.tobytes() == expected.tobytes()
