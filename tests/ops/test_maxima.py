"""Maxima of a given height: `h_maxima`."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.ndimage
import skimage.morphology
import xarray as xr

from forebay.ops import OperationError, h_maxima
from forebay.ops.detection.maxima import reconstructed, reconstructed_by_steps

marked: Any = skimage.morphology.h_maxima


@pytest.fixture
def hills(rng: np.random.Generator) -> xr.DataArray:
    """Give two frames of smooth hills."""
    smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(2, 40, 50)), (0, 2, 2))
    return xr.DataArray(1000 * smooth, dims=("t", "y", "x"), attrs={"units": "counts"})


@pytest.mark.parametrize("dtype", ["int16", "int32", "float64"])
def test_the_maxima_are_scikit_images(hills: xr.DataArray, dtype: str) -> None:
    """The same pixels are marked, in integers and in floats."""
    frames = hills.astype(dtype)

    found = h_maxima(frames, h=20)

    expected = [marked(frame, 20) for frame in frames.values]
    np.testing.assert_array_equal(found, expected)
    assert 4 < found.sum() < 100


def test_a_maximum_is_one_from_which_all_ways_up_go_down_first() -> None:
    """Heights are counted from the best saddle, and one of exactly h is enough."""
    line = xr.DataArray(np.array([[0.0, 0.5, 0.2, 0.9, 0.6, 0.8, 0.0]]), dims=("y", "x"))

    assert h_maxima(line, h=0.3).values.tolist() == [[0, 1, 0, 1, 0, 0, 0]]
    assert h_maxima(line, h=0.2).values.tolist() == [[0, 1, 0, 1, 0, 1, 0]]
    assert h_maxima(line, h=0.31).values.tolist() == [[0, 0, 0, 1, 0, 0, 0]]


def test_plateaus_are_marked_whole(frames: xr.DataArray) -> None:
    """All pixels of a flat top are marked; a flat frame is one maximum, a single pixel too."""
    flat = xr.zeros_like(frames)
    flat[0, 3:5, 6:9] = 40

    found = h_maxima(flat, h=30)

    assert found.dtype == np.uint8
    assert found[0].sum() == 6
    assert found[1].all()
    assert h_maxima(flat[:1, :1, :1], h=1).values.tolist() == [[[1]]]


def test_gaps_are_no_maxima(hills: xr.DataArray) -> None:
    """A NaN or infinite pixel is the lowest of all, and a frame of NaN has no maximum."""
    gap = hills.copy()
    top = np.unravel_index(hills[0].values.argmax(), hills.shape[1:])
    gap[0, top[0], top[1]] = np.inf
    gap[1] = np.nan
    low = hills.copy()
    low[0, top[0], top[1]] = -1e9

    found = h_maxima(gap, h=20)

    np.testing.assert_array_equal(found[0], h_maxima(low, h=20)[0])
    assert not found[1].any()


def test_it_is_lazy_and_of_the_chunks_library(hills: xr.DataArray) -> None:
    """Frames cut through give the maxima of whole ones, when asked for."""
    found = h_maxima(hills.chunk({"t": 1, "y": 11, "x": 12}), h=20)

    assert isinstance(found.data, da.Array)
    assert found.attrs == {}
    xr.testing.assert_identical(found.compute(), h_maxima(hills, h=20))
    turned = h_maxima(hills.transpose("x", "t", "y"), h=20)
    xr.testing.assert_identical(turned.transpose("t", "y", "x"), h_maxima(hills, h=20))


def test_steps_reconstruct_what_scikit_image_does(chunk_library: Any, hills: xr.DataArray) -> None:
    """The way without scikit-image, for a GPU, gives the same surface, bit for bit."""
    frame = hills.values[0]

    found = reconstructed_by_steps(chunk_library.array(frame - 30.0), chunk_library.array(frame))

    np.testing.assert_array_equal(chunk_library.host(found), reconstructed(frame - 30.0, frame))


@pytest.mark.parametrize("h", [0, -1, np.inf])
def test_a_height_is_above_zero(hills: xr.DataArray, h: float) -> None:
    """Another is refused."""
    with pytest.raises(OperationError, match=r"h is .* but must be a finite number and above 0"):
        h_maxima(hills, h=h)
