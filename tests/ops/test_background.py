"""The still part of the frames: `background` and `subtract_background`."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay.ops import OperationError, background, subtract_background
from forebay.ops.correction.background import median_of_last

FINITE = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9), elements=FINITE
    ).filter(lambda values: values.size > 0)
)
def test_median_is_numpys_for_any_floats(values: np.ndarray[Any, Any]) -> None:
    """The median over the last axis is NumPy's, for odd and even counts."""
    np.testing.assert_allclose(
        median_of_last(values), np.median(values, axis=-1), rtol=1e-6, atol=1e-30
    )


@pytest.mark.parametrize("count", [1, 2, 5, 6])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_median_in_each_library(xp: Any, rng: np.random.Generator, count: int, dtype: str) -> None:
    """Strict arrays and CuPy give the median that NumPy gives, on their own device."""
    values = rng.integers(0, 250, (3, 4, count)).astype(dtype)

    median = xp.host(median_of_last(xp.array(values)))

    assert median.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_array_equal(median, np.median(values, axis=-1))


def test_nan_in_one_frame_is_nan_in_the_median(xp: Any) -> None:
    """A pixel that is NaN in any frame is NaN; infinite ones are not."""
    values = np.array(
        [[1, np.nan, 3], [1, 2, 3], [np.inf, np.inf, 3], [np.nan, np.nan, np.nan]], np.float32
    )

    median = xp.host(median_of_last(xp.array(values)))

    np.testing.assert_array_equal(median, np.array([np.nan, 2, np.inf, np.nan], np.float32))


def test_what_passes_by_is_not_in_the_median() -> None:
    """A bright spot that visits each pixel once leaves no trace in the median, and one in the mean.

    This is why the median is the default.
    """
    still = np.add.outer(np.arange(4), np.arange(5)).astype(np.uint16)
    moving = np.stack([still + 1000 * (np.arange(5) == t) for t in range(5)]).astype(np.uint16)
    frames = xr.DataArray(moving, dims=("t", "y", "x"))

    np.testing.assert_array_equal(background(frames), still)
    np.testing.assert_array_equal(background(frames, method="mean"), still + 200)


def test_mean_is_summed_in_float64() -> None:
    """The mean of many large values is right to float32, in which their sum would not be."""
    frames = xr.DataArray(np.full((20_000, 1, 3), 65_535, np.uint16), dims=("t", "y", "x"))

    for given_frames in (frames, frames.chunk({"t": 999})):
        np.testing.assert_array_equal(background(given_frames, method="mean"), [[65_535.0] * 3])


@pytest.mark.parametrize("method", ["median", "mean"])
def test_any_dimension_can_be_the_one_to_go(frames: xr.DataArray, method: Any) -> None:
    """The background along x is a median or mean along x, and the other dimensions stay."""
    result = background(frames, dim="x", method=method)

    assert result.dims == ("t", "y")
    assert list(result.coords) == ["t", "y", "frame_id", "exposure"]
    np.testing.assert_allclose(result, getattr(np, method)(frames.values, axis=2), rtol=1e-6)


@pytest.mark.parametrize(
    ("sample", "taken"), [(1, [0]), (3, [0, 3, 6]), (7, range(7)), (10**12, range(7))]
)
def test_sample_reads_evenly_spaced_frames(
    frames: xr.DataArray, sample: int, taken: list[int]
) -> None:
    """No more frames are read than `sample`, the first and the last among them."""
    result = background(frames, sample=sample)

    np.testing.assert_array_equal(result, np.median(frames.values[list(taken)], axis=0))


def test_the_lazy_median_never_needs_a_larger_chunk(frames: xr.DataArray) -> None:
    """The columns of pixels that the frames are cut into hold no more than a chunk did before."""
    chunked = frames.chunk({"t": 2, "y": -1, "x": -1})
    largest = 2 * 30 * 41

    columns = background(chunked)

    rows, widths = (max(lengths) for lengths in columns.chunks or ())
    assert 7 * rows * widths <= largest
    np.testing.assert_array_equal(columns, background(frames))


def test_subtraction_is_signed_and_exact(frames: xr.DataArray) -> None:
    """Unsigned frames minus a brighter image are negative, not wrapped around."""
    image = xr.full_like(frames[0], 5000).drop_vars(["t", "frame_id"])

    result = subtract_background(frames, image)

    np.testing.assert_array_equal(result, frames.values.astype(float) - 5000)


def test_the_image_lends_nothing_but_its_values(frames: xr.DataArray) -> None:
    """Attributes, names and coordinates of the background do not get into the result."""
    image = background(frames).assign_coords(exposure=9.0, gain=2).assign_attrs(camera="B", x=1)

    result = subtract_background(frames, image.rename("dark"))

    xr.testing.assert_identical(result, frames.copy(data=result.data))


@pytest.mark.parametrize("lazy", [(True, False), (False, True), (True, True)])
def test_eager_and_lazy_images_mix(frames: xr.DataArray, lazy: tuple[bool, bool]) -> None:
    """Frames or background may be Dask-backed without the other; the result then is, too."""
    image = background(frames)
    left = frames.chunk({"t": 3, "y": 7}) if lazy[0] else frames
    right = image.chunk({"x": 9}) if lazy[1] else image

    result = subtract_background(left, right)

    assert result.chunks is not None
    np.testing.assert_array_equal(result, subtract_background(frames, image))


def test_a_nan_on_either_side_is_nan(frames: xr.DataArray) -> None:
    """A NaN pixel in the frames or in the background is NaN in the result, and no other."""
    noisy = frames.astype("float32")
    noisy[1, 2, 3] = np.nan
    image = background(frames)
    image[4, 5] = np.nan

    result = np.isnan(subtract_background(noisy, image))

    assert bool(result[1, 2, 3])
    assert bool(result[:, 4, 5].all())
    assert int(result.sum()) == 8


class OnDevice(np.ndarray[Any, Any]):
    """An array of another library than NumPy, as CuPy's are."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image.rename(x="u"), "has the dimension 'u'"),
        (lambda image: image[1:], "does not lie on the pixels of frames"),
        (lambda image: image.drop_vars(["y", "x"])[1:], "its sizes are"),
        (lambda image: image.assign_coords(x=image.x + 0.5), "does not lie on the pixels"),
        (lambda image: image.astype(complex), "background is of dtype complex128"),
        (lambda image: image.values, "background is a ndarray"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    frames: xr.DataArray, change: Any, message: str
) -> None:
    """Where xarray would crop, broadcast or convert without a word, there is an error."""
    with pytest.raises(OperationError, match=message):
        subtract_background(frames, change(background(frames)))


@pytest.mark.parametrize("chunks", [None, {"x": 20}])
def test_host_and_device_are_not_mixed(frames: xr.DataArray, chunks: dict[str, int] | None) -> None:
    """An image in another library than the frames is refused, as nothing is copied on its own."""
    import dask.array as da

    image = background(frames)
    elsewhere = image.copy(
        data=da.from_array(  # type: ignore[no-untyped-call]
            image.values.view(OnDevice), chunks=(30, 20), asarray=False
        )
    )
    given_frames = frames if chunks is None else frames.chunk(chunks)

    with pytest.raises(OperationError, match="nothing is copied between host and device"):
        subtract_background(given_frames, elsewhere)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dim": "z"}, "'z' is needed"),
        ({"method": "mode"}, "method is 'mode', but must be one of 'median', 'mean'"),
        ({"sample": 0}, "sample is 0"),
        ({"sample": 2.5}, "sample is 2.5"),
        ({"sample": True}, "sample is True"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value."""
    with pytest.raises(OperationError, match=message):
        background(frames, **parameters)
