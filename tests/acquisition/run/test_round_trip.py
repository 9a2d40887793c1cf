"""What is written to a run is what is read from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorstore
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import (
    Extent,
    Frame,
    FrameFlag,
    Geometry,
    ImageMetadata,
    RunWriter,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import ExtentError
from forebay.acquisition.format.codec import CompressionName
from forebay.acquisition.run.blocks import BlockArray

COMPRESSIONS: list[CompressionName] = ["none", "blosc-lz4", "blosc-zstd", "zstd"]
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int64", "float32", "float64"]


def tensorstore_read(path: Path) -> npt.NDArray[Any]:
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return np.asarray(tensorstore.open(store, open=True, read=True).result().read().result())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_run_reads_back_as_it_was_written(
    data: st.DataObject, memory: Callable[[], Path]
) -> None:
    """Whatever the geometry, the block, the compression and the counters: nothing is changed."""
    shape = data.draw(
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 9)),
            st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
        ),
        label="shape",
    )
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES), label="dtype"))
    steps = data.draw(st.lists(st.integers(1, 4), max_size=12), label="counter steps")
    first = data.draw(st.integers(0, 2**63), label="first counter")
    frames_per_block = data.draw(st.integers(1, 5), label="frames per block")
    compression = data.draw(st.sampled_from(COMPRESSIONS), label="compression")
    pixels = np.random.default_rng(len(steps)).integers(0, 100, (len(steps), *shape)).astype(dtype)
    counters = [first + sum(steps[:index]) for index in range(len(steps))]
    path = memory() / "any"

    geometry = Geometry(("c", "y", "x")[-len(shape) :], shape, dtype)
    with RunWriter.create(
        path, geometry, frames_per_block=frames_per_block, compression=compression
    ) as writer:
        for counter, frame in zip(counters, pixels, strict=True):
            writer.append(Frame(counter, counter // 7, frame, FrameFlag.SATURATED))

    run = open_run(path)
    assert run.closed
    np.testing.assert_array_equal(run.frames.to_numpy(), pixels)
    np.testing.assert_array_equal(run.frames.frame_id, np.array(counters, "uint64"))
    assert run.frames.dtype == dtype
    assert all(run.frames.flags.to_numpy() == FrameFlag.SATURATED)
    dropped = sum(each.count for each in run.dropped)
    counted = counters[-1] - counters[0] + 1 if counters else 0
    assert run.history.frames + dropped == counted
    assert verify_run(run).ok
    if counters:
        np.testing.assert_array_equal(tensorstore_read(path / "frames"), pixels)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_stock_readers_see_whole_committed_frames_while_the_run_is_written(
    tmp_path: Path, compression: CompressionName
) -> None:
    """zarr-python, tensorstore and xarray read the same pixels after every frame, without a warning."""
    pixels = np.random.default_rng(1).integers(0, 60000, (11, 16, 20)).astype("uint16")
    geometry = Geometry(("y", "x"), (16, 20), np.dtype("uint16"))
    writer = RunWriter.create(
        tmp_path / "live", geometry, frames_per_block=4, compression=compression
    )
    for counter, frame in enumerate(pixels):
        writer.append(Frame(counter, counter, frame))
        committed = (counter + 1) // 4 * 4
        group = zarr.open_group(tmp_path / "live", mode="r")
        frames = group["frames"]
        assert isinstance(frames, zarr.Array)
        assert sorted(name for name, _ in group.members()) == [
            "flags",
            "frame_id",
            "frames",
            "timestamp",
        ]
        np.testing.assert_array_equal(np.asarray(frames[:]), pixels[:committed])
        if committed:
            np.testing.assert_array_equal(
                tensorstore_read(tmp_path / "live" / "frames"), pixels[:committed]
            )
        with xr.open_zarr(tmp_path / "live") as dataset:
            assert dataset.frames.sizes["t"] == dataset.timestamp.sizes["t"] == committed
    writer.close()
    np.testing.assert_array_equal(tensorstore_read(tmp_path / "live" / "frames"), pixels)


def test_an_ome_zarr_reader_finds_the_image(tmp_path: Path) -> None:
    """The group says, as OME-Zarr 0.5 asks, which array is the image and how large a pixel is."""
    geometry = Geometry(("c", "y", "x"), (2, 4, 5), np.dtype("uint8"))
    metadata = ImageMetadata(pixel_size=(0.2, 0.3), exposure=0.01, frame_rate=50.0)
    RunWriter.create(tmp_path / "ome", geometry, metadata=metadata).close()
    attributes = zarr.open_group(tmp_path / "ome", mode="r").attrs.asdict()
    ome: Any = attributes["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["t", "c", "y", "x"]
    assert [axis["type"] for axis in image["axes"]] == ["time", "channel", "space", "space"]
    (dataset,) = image["datasets"]
    assert dataset["path"] == "frames"
    assert dataset["coordinateTransformations"] == [
        {"type": "scale", "scale": [0.02, 1.0, 0.2, 0.3]}
    ]
    array = zarr.open_array(tmp_path / "ome" / "frames", mode="r")
    assert array.metadata.to_dict()["dimension_names"] == ("t", "c", "y", "x")


def test_the_instrument_is_kept(tmp_path: Path) -> None:
    """What is known of the instrument is read back with the run."""
    metadata = ImageMetadata(
        pixel_size=(0.351, 0.351),
        exposure=0.02,
        frame_rate=24.0,
        channels=("red", "green"),
        instrument={"camera": {"serial": "A-17"}, "gains": [1, 2.5]},
    )
    geometry = Geometry(("c", "y", "x"), (2, 3, 3), np.dtype("float32"))
    RunWriter.create(tmp_path / "kept", geometry, metadata=metadata).close()
    run = open_run(tmp_path / "kept")
    assert run.layout.metadata == metadata
    assert list(run.frames.c.to_numpy()) == ["red", "green"]
    assert run.frames.attrs["exposure_seconds"] == 0.02


@settings(max_examples=60, deadline=None)
@given(
    start=st.none() | st.integers(-12, 12),
    stop=st.none() | st.integers(-12, 12),
    step=st.none() | st.integers(-4, 4).filter(bool),
)
def test_slices_along_t_are_those_of_numpy(
    start: int | None, stop: int | None, step: int | None, sliced_run: tuple[Path, npt.NDArray[Any]]
) -> None:
    """Reading some frames gives the same as reading all and taking those."""
    path, pixels = sliced_run
    run = open_run(path)
    frames = BlockArray("frames", run.layout, run.blocks, run.objects)
    wanted = slice(start, stop, step)
    np.testing.assert_array_equal(frames[wanted], pixels[wanted])


@pytest.fixture(scope="module")
def sliced_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, npt.NDArray[Any]]:
    path = tmp_path_factory.mktemp("runs") / "sliced"
    pixels = np.random.default_rng(2).integers(0, 255, (10, 3, 4)).astype("uint8")
    geometry = Geometry(("y", "x"), (3, 4), np.dtype("uint8"))
    with RunWriter.create(path, geometry, frames_per_block=3) as writer:
        for counter, frame in enumerate(pixels):
            writer.append(Frame(counter, counter, frame))
    return path, pixels


def test_the_last_block_alone_is_read_whole(sliced_run: tuple[Path, npt.NDArray[Any]]) -> None:
    """A short last block, opened by itself, holds its own frames."""
    path, pixels = sliced_run
    run = open_run(path)
    last = run.frames_of(run.blocks[-1:])
    assert last.t.to_numpy().tolist() == [9]
    np.testing.assert_array_equal(last.to_numpy(), pixels[9:])


@pytest.mark.parametrize("extent", [Extent(2, 5), Extent(5, 10), Extent(6, 7), Extent(4, 4)])
def test_frames_are_read_at_once(sliced_run: tuple[Path, npt.NDArray[Any]], extent: Extent) -> None:
    """Of blocks that hold them, whichever frames those are."""
    path, pixels = sliced_run
    run = open_run(path)
    read = run.read(run.blocks, extent)
    np.testing.assert_array_equal(read, pixels[extent.start : extent.stop])
    assert read.t.to_numpy().tolist() == list(range(extent.start, extent.stop))


@pytest.mark.parametrize("extent", [Extent(0, 3), Extent(5, 11), Extent(8, 7)])
def test_frames_that_the_blocks_do_not_hold_are_not_read(
    sliced_run: tuple[Path, npt.NDArray[Any]], extent: Extent
) -> None:
    """Fewer than were asked for are not given in their place."""
    run = open_run(sliced_run[0])
    with pytest.raises(ExtentError, match="not among the frames 3 to 10 of the 3 blocks"):
        run.read(run.blocks[1:], extent)
    with pytest.raises(ExtentError, match="the 0 blocks given"):
        run.read((), extent)


def test_numbers_in_the_place_of_blocks_are_told(
    sliced_run: tuple[Path, npt.NDArray[Any]],
) -> None:
    """What was meant is named."""
    run = open_run(sliced_run[0])
    read: Callable[..., object] = run.read
    for wrong in [
        (0, 3),
        (run.blocks, (0, 3)),
        (run.blocks[0], Extent(0, 3)),
        ("ab", Extent(0, 1)),
    ]:
        with pytest.raises(ExtentError, match=r"run.read\(run.blocks, Extent\(0, 3\)\)"):
            read(*wrong)


def test_a_chunk_is_a_block(sliced_run: tuple[Path, npt.NDArray[Any]]) -> None:
    """The Dask chunks of the frames are the committed blocks."""
    run = open_run(sliced_run[0])
    assert run.frames.chunks == ((3, 3, 3, 1), (3,), (4,))
    assert [(extent.start, extent.stop) for extent in run.extents] == [
        (0, 3),
        (3, 6),
        (6, 9),
        (9, 10),
    ]
