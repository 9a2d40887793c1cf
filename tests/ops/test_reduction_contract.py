"""What holds for every operation that makes frames smaller."""

from collections.abc import Callable
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from forebay.ops import (
    Companding,
    OperationError,
    bin_frames,
    bin_pixels,
    compand,
    crop,
    drop_low_bits,
    expand,
    mask_outside,
    mean_change,
    pixel_variance,
    quantise_to_noise,
    saturated_fraction,
    select_frames,
    sharpness,
    sparsify,
    to_integers,
)

type Operation = Callable[[xr.DataArray], xr.DataArray]

CAMERA = Companding(gain=0.5, read_noise=1.5, maximum=4095)
BOUNDS = {"y": (3, 17), "x": (0, 40)}
SAME_PIXELS: dict[str, Operation] = {
    "drop_low_bits": lambda frames: drop_low_bits(frames, count=4),
    "sparsify": lambda frames: sparsify(frames, threshold=700, background=100),
    "to_integers": lambda frames: to_integers(frames, dtype="uint8"),
    "compand": lambda frames: compand(frames, CAMERA),
    "expand": lambda frames: expand(frames, CAMERA),
    "quantise_to_noise": lambda frames: quantise_to_noise(frames, CAMERA),
    "mask_outside": lambda frames: mask_outside(frames, bounds=BOUNDS, fill=7),
}
OTHER_PIXELS: dict[str, Operation] = {
    "bin_pixels": lambda frames: bin_pixels(frames, factor=(2, 1)),
    "bin_frames": lambda frames: bin_frames(frames, factor=len(frames)),
    "sharpness": sharpness,
    "saturated_fraction": lambda frames: saturated_fraction(frames, level=3900),
    "select_frames": lambda frames: select_frames(
        frames, xr.DataArray([True] * len(frames), dims="t")
    ),
    "crop": lambda frames: crop(frames, bounds=BOUNDS),
    "mean_change": lambda frames: mean_change(frames, frames[2].drop_vars(["t", "frame_id"])),
    "pixel_variance": pixel_variance,
}
ALL = SAME_PIXELS | OTHER_PIXELS
CHUNKS: dict[str, Any] = {"t": 3, "y": (13, 17), "x": (20, 5, 16)}

each = pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())


class Tagged(np.ndarray[Any, Any]):
    """A NumPy array that a result must be of as well: the stand-in for CuPy chunks."""


def no_scheduler(*_: Any, **__: Any) -> None:
    """Stand in for a Dask scheduler where nothing may be computed."""
    raise AssertionError("something was computed while the graph was built")


@pytest.mark.parametrize("operation", SAME_PIXELS.values(), ids=SAME_PIXELS.keys())
def test_what_describes_the_frames_stays(operation: Operation, frames: xr.DataArray) -> None:
    """Dimensions in their order, all coordinates, name and attributes are those of the frames."""
    for given in (frames, frames.transpose("x", "t", "y")):
        result = operation(given)

        xr.testing.assert_identical(result, given.copy(data=result.data))


@each
def test_name_and_attributes_stay_and_encoding_goes(
    operation: Operation, frames: xr.DataArray
) -> None:
    """A result has the frames' name and attributes, but would be written in its own dtype."""
    result = operation(frames)

    assert result.name == "intensity"
    assert result.attrs == {"camera": "A7"}
    assert result.encoding == {}


@each
def test_frames_are_left_as_they_were(operation: Operation, frames: xr.DataArray) -> None:
    """No operation writes into its input, nor gives a view of it that writing would go through."""
    before = frames.copy(deep=True)

    operation(frames)

    xr.testing.assert_identical(frames, before)


@each
def test_lazy_is_eager(operation: Operation, frames: xr.DataArray) -> None:
    """Nothing is computed while the graph is built, and then it is what NumPy gives."""
    eager = operation(frames)
    with dask.config.set(scheduler=no_scheduler):
        lazy = operation(frames.chunk(CHUNKS))

    assert isinstance(lazy.data, da.Array)
    assert lazy.dtype == eager.dtype
    assert set(lazy.chunksizes) == set(lazy.dims)  # raises where coordinates are cut otherwise
    computed = lazy.compute()
    assert computed.dtype == eager.dtype
    np.testing.assert_allclose(computed, eager, rtol=1e-12)
    xr.testing.assert_identical(computed, eager.copy(data=computed.data))


@each
def test_the_graph_knows_the_library_of_its_chunks_and_holds_no_pixels(
    operation: Operation, frames: xr.DataArray
) -> None:
    """The meta of a lazy result is of the library of the input's chunks; the graph is small."""
    tagged = frames.values.view(Tagged)
    data = da.from_array(tagged, (3, 30, 41), asarray=False)  # type: ignore[no-untyped-call]

    assert isinstance(operation(frames.copy(data=data)).data._meta, Tagged)

    zeros = da.zeros((4, 1024, 1024), chunks=(1, -1, -1), dtype="uint16")
    empty = xr.DataArray(
        zeros, dims=("t", "y", "x"), coords={"t": range(4), "frame_id": ("t", range(4))}
    )
    assert len(cloudpickle.dumps(dict(operation(empty).data.dask))) < 200_000


@each
def test_frames_on_the_gpu_stay_there(
    chunk_library: Any, operation: Operation, frames: xr.DataArray
) -> None:
    """Chunks of any library come out in that library."""
    on_device = frames.copy(data=chunk_library.array(frames.values))

    result = operation(on_device)

    np.testing.assert_allclose(chunk_library.host(result.data), operation(frames).values)


@each
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames > 5, "is of dtype bool"),
        (lambda frames: frames.astype("complex64"), "is of dtype complex64"),
        (lambda frames: frames[:, :0], "is empty"),
    ],
)
def test_frames_that_cannot_be_worked_on_are_refused(
    operation: Operation, frames: xr.DataArray, change: Any, message: str
) -> None:
    """What is no stack of real frames is refused, with the reason."""
    with pytest.raises(OperationError, match=message):
        operation(change(frames))
