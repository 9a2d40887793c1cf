"""A part of the pixels, and one number of them all: `crop`, `mask_outside`, `mean_change`, `pixel_variance`."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from forebay.ops import OperationError, crop, mask_outside, mean_change, pixel_variance
from forebay.ops.reduction.region import masked

bounds_of_20 = st.tuples(st.integers(0, 19), st.integers(1, 20)).filter(
    lambda ends: ends[0] < ends[1]
)


@given(bounds_of_20, bounds_of_20, st.integers(0, 255))
def test_a_region_is_numpys_slice(y: Any, x: Any, fill: int) -> None:
    """Cropped pixels are those of a slice; masked ones stand where they were."""
    values = np.arange(400, dtype=np.uint16).reshape(20, 20)
    frames = xr.DataArray(values, dims=("y", "x"))
    inside = np.s_[y[0] : y[1], x[0] : x[1]]
    expected = np.full_like(values, fill)
    expected[inside] = values[inside]

    masked_frames = mask_outside(frames, bounds={"y": y, "x": x}, fill=fill)

    np.testing.assert_array_equal(masked_frames, expected)
    np.testing.assert_array_equal(crop(frames, bounds={"x": x, "y": y}), values[inside])
    xr.testing.assert_identical(
        crop(masked_frames, bounds={"y": y, "x": x}), crop(frames, bounds={"y": y, "x": x})
    )


def test_masking_is_the_same_in_each_library(xp: Any) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)

    result = xp.host(masked(xp.array(values), bounds=((1, 3), (0, 2)), fill=9))

    expected = np.full_like(values, 9)
    expected[:, 1:3, 0:2] = values[:, 1:3, 0:2]
    np.testing.assert_array_equal(result, expected)


def test_coordinates_are_cropped_along(frames: xr.DataArray) -> None:
    """What lies along a dimension that is cut is cut, too."""
    result = crop(frames, bounds={"y": (4, 9)})

    np.testing.assert_array_equal(result.y, frames.y[4:9])
    assert result.encoding == {}


def test_activity_is_what_scipy_finds(frames: xr.DataArray) -> None:
    """Mean change and variance are those of scipy, frame by frame."""
    reference = frames[3].drop_vars(["t", "frame_id"])
    labels, index = np.broadcast_to(np.arange(7)[:, None, None], frames.shape), np.arange(7)
    difference = np.abs(frames.values.astype(float) - reference.values)

    np.testing.assert_allclose(
        mean_change(frames, reference), scipy.ndimage.mean(difference, labels, index), rtol=1e-14
    )
    np.testing.assert_allclose(
        pixel_variance(frames),
        scipy.ndimage.variance(frames.values.astype(float), labels, index),
        rtol=1e-12,
    )


def test_noise_alone_changes_frames_by_what_theory_says(rng: np.random.Generator) -> None:
    """Two frames of noise s differ by 2 s / sqrt(pi) in the mean."""
    noise = xr.DataArray(rng.normal(500, 10, (2, 300, 300)), dims=("t", "y", "x"))

    assert float(mean_change(noise[1], noise[0])) == pytest.approx(20 / np.sqrt(np.pi), rel=0.02)


def test_an_even_frame_has_no_variance() -> None:
    """Rounding gives no negative variance, however bright an even frame is."""
    even = xr.DataArray(np.full((1, 33, 31), 1e9 + 0.1), dims=("t", "y", "x"))

    assert 0 <= float(pixel_variance(even)[0]) < 1e-15 * 1e18


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda frames: crop(frames, bounds={"y": (5, 31)}), "bounds along 'y' are 5 to 31"),
        (lambda frames: crop(frames, bounds={"y": (5, 5)}), "has pixels 0 to 30 there"),
        (lambda frames: crop(frames, bounds={"y": (-1, 5)}), "is -1"),
        (lambda frames: crop(frames, bounds={"z": (0, 5)}), "'z' is needed"),
        (lambda frames: mask_outside(frames, bounds={"y": (0, 5)}, fill=0.5), "fill is 0.5"),
        (lambda frames: mask_outside(frames, bounds={"y": (0, 5)}, fill=1e9), "0 to 65535"),
        (lambda frames: mean_change(frames, frames[0, :5]), "does not lie on the pixels"),
        (lambda frames: pixel_variance(frames, dims=("y", "q")), "'q' is needed"),
    ],
)
def test_what_does_not_fit_is_refused(frames: xr.DataArray, operation: Any, message: str) -> None:
    """Bounds, values and frames that do not fit are named in the error."""
    with pytest.raises(OperationError, match=message):
        operation(frames)
