"""Even illumination and response: `flat_field`."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from forebay.ops import OperationError, flat_field


@pytest.fixture
def scene(rng: np.random.Generator) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Give what the sensor should have seen, its gain per pixel, and its offset per pixel."""
    dims = ("y", "x")
    truth = xr.DataArray(rng.uniform(100, 900, (4, 8, 9)), dims=("t", *dims))
    gain = xr.DataArray(rng.uniform(0.5, 1.5, (8, 9)), dims=dims)
    offset = xr.DataArray(rng.uniform(10, 20, (8, 9)), dims=dims)
    return truth, gain, offset


def test_gain_and_offset_of_each_pixel_are_undone(
    scene: tuple[xr.DataArray, xr.DataArray, xr.DataArray],
) -> None:
    """A camera with known gain and offset gives back the true light, but for the mean gain."""
    truth, gain, offset = scene
    frames, flat = truth * gain + offset, 5000 * gain + offset

    corrected = flat_field(frames, flat=flat, dark=offset)

    np.testing.assert_allclose(corrected, truth * gain.mean(), rtol=1e-12)


def test_the_flat_itself_comes_out_flat(frames: xr.DataArray) -> None:
    """Correcting the flat by itself gives its mean everywhere."""
    flat = frames[0].drop_vars(["t", "frame_id"]) + 1.0

    np.testing.assert_allclose(flat_field(flat, flat=flat), float(flat.mean()), rtol=1e-6)


def test_dead_pixels_are_nan_and_do_not_count() -> None:
    """Where the gain is zero, negative or NaN the result is NaN, and the level ignores it."""
    flat = xr.DataArray([[2.0, 4.0, 0.0, -1.0, np.nan]], dims=("y", "x"))
    frames = xr.ones_like(flat).expand_dims(t=2)

    np.testing.assert_allclose(
        flat_field(frames, flat=flat)[1], [[1.5, 0.75, np.nan, np.nan, np.nan]]
    )


def test_each_channel_has_its_own_level() -> None:
    """Dimensions that are not averaged over keep the brightness of their own flat."""
    flat = xr.DataArray([[[1.0, 3.0]], [[10.0, 30.0]]], dims=("c", "y", "x"))
    frames = xr.ones_like(flat).expand_dims(t=2)

    np.testing.assert_allclose(
        flat_field(frames, flat=flat)[0], [[[2, 2 / 3]], [[2, 2 / 3]]], rtol=1e-6
    )
    np.testing.assert_allclose(
        flat_field(frames, flat=flat, dims=("c", "y", "x"))[0],
        [[[11, 11 / 3]], [[1.1, 11 / 30]]],
        rtol=1e-6,
    )


def test_dims_may_name_what_the_flat_has_not(frames: xr.DataArray) -> None:
    """A flat along x alone, the gain of columns, is spread over the others."""
    flat = xr.DataArray(np.linspace(1, 2, 41), dims="x")

    result = flat_field(frames, flat=flat, dims=("y", "x"))

    np.testing.assert_allclose(result, frames.values / flat.values * 1.5, rtol=1e-5)


def test_float64_in_any_of_them_is_float64(frames: xr.DataArray) -> None:
    """One float64 image among float32 ones makes the result float64."""
    flat = xr.DataArray(np.ones((30, 41), np.float32), dims=("y", "x"))

    assert flat_field(frames, flat=flat, dark=0 * flat).dtype == np.float32
    assert flat_field(frames, flat=flat.astype("f8")).dtype == np.float64
    assert flat_field(frames, flat=flat, dark=0 * flat.astype("f8")).dtype == np.float64


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"flat": np.ones((30, 41))}, "flat is a ndarray"),
        ({"flat": xr.DataArray(np.ones((30, 40)), dims=("y", "x"))}, "flat does not lie on"),
        ({"flat": xr.DataArray(np.ones(3), dims="c")}, "flat has the dimension 'c'"),
        (
            {
                "flat": xr.DataArray(np.ones((30, 41)), dims=("y", "x")),
                "dark": xr.DataArray(np.ones((1, 41)), dims=("y", "x")),
            },
            "dark does not lie on the pixels",
        ),
        (
            {"flat": xr.DataArray(np.ones((30, 41)), dims=("y", "x")), "dims": ("y", "z")},
            "'z' is needed",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A flat or dark of another size, place or kind is an error that names it."""
    with pytest.raises(OperationError, match=message):
        flat_field(frames, **parameters)
