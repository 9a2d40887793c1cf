"""What is done in NumPy because that is faster gives what scipy gives."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import xarray as xr

from forebay.ops import continue_iir_filter, iir_filter
from forebay.ops.filters.banded import SUMS, weighted_sums
from forebay.ops.filters.footprint import disc
from forebay.ops.filters.moving_sums import moving_sums
from forebay.ops.filters.rolling_ball import ball
from forebay.ops.filters.sliding import (
    ball_extreme,
    disc_extreme,
    median_of_nine,
    median_of_square,
)

# Pieces are smaller than the last of these frames along both axes.
SHAPES = [(1, 1), (2, 5, 3), (2, 37, 41), (1, 70, 1100)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(50,), (7, 40, 41), (33, 2, 5)])
@pytest.mark.parametrize("reach", [0, 3, 20])
def test_weighted_sums_are_correlations(
    rng: np.random.Generator, shape: tuple[int, ...], reach: int, dtype: str
) -> None:
    """Along each axis, shorter and longer than the reach, with weights that have no symmetry."""
    values = rng.normal(size=shape).astype(dtype)
    weights = rng.normal(size=2 * reach + 1)
    for axis in range(len(shape)):
        expected = scipy.ndimage.correlate1d(values, weights, axis=axis, mode="nearest")
        found = weighted_sums(values, weights, axis)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=500 * np.finfo(dtype).eps)


def test_weighted_sums_do_not_hang_on_where_a_pixel_lies(rng: np.random.Generator) -> None:
    """A part of a frame gives what the frame gives there, wherever the matrices begin."""
    frame = rng.integers(0, 4000, (100, 90)).astype("float32")
    weights = np.hanning(29) / np.hanning(29).sum()
    whole = weighted_sums(weighted_sums(frame, weights, 0), weights, 1)
    for first in (1, SUMS - 1, SUMS):
        part = weighted_sums(weighted_sums(frame[first:, first:], weights, 0), weights, 1)
        np.testing.assert_array_equal(part[14:, 14:], whole[first + 14 :, first + 14 :])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_extremes_of_discs_and_balls_are_scipys(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str
) -> None:
    """To the last bit, at the edges too, also where the footprint is wider than the frame."""
    values = rng.integers(0, 200, shape).astype(dtype)
    for reach in (0, 1, 5):
        lengths = (*(1,) * (len(shape) - 2), 2 * reach + 1, 2 * reach + 1)
        for rank in ("minimum", "maximum"):
            expected = getattr(scipy.ndimage, f"{rank}_filter")(
                values, None, disc(lengths), mode="nearest"
            )
            np.testing.assert_array_equal(disc_extreme(values, rank, reach), expected)
    depth, inside = ball((9, 9), 4.5, 30.0)
    structure = depth.reshape(*(1,) * (len(shape) - 2), 9, 9).astype("float32")
    there = inside.reshape(structure.shape)
    for rank, name in (("minimum", "grey_erosion"), ("maximum", "grey_dilation")):
        single = values.astype("float32")
        expected = getattr(scipy.ndimage, name)(single, None, there, -structure, mode="nearest")
        found = ball_extreme(single, rank, depth, inside)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_medians_are_scipys(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    """Of integers with many equal values, whose order must not matter."""
    values = rng.integers(0, 9, shape).astype("int16")
    for reach in (1, 2, 3):
        size = (*(1,) * (len(shape) - 2), 2 * reach + 1, 2 * reach + 1)
        expected = scipy.ndimage.median_filter(values, size, mode="nearest")
        np.testing.assert_array_equal(median_of_square(values, reach), expected)
        if reach == 1:
            np.testing.assert_array_equal(median_of_nine(values), expected)


@pytest.mark.parametrize("width", [1, 2, 7, 12])
def test_moving_sums_are_sums_of_each_window(rng: np.random.Generator, width: int) -> None:
    values = rng.integers(0, 9, (3, 12, 2))
    windows = np.lib.stride_tricks.sliding_window_view(values, width, axis=1)
    np.testing.assert_array_equal(moving_sums(values, width, 1), windows.sum(axis=-1))


@pytest.mark.parametrize("before", ["zero", "first"])
def test_many_pixels_through_sections_are_scipys(rng: np.random.Generator, before: Any) -> None:
    """Taken together, in several slabs, they are what each is alone, also before a NaN.

    They go on bit for bit, wherever they are cut.
    """
    sos = scipy.signal.butter(3, 0.2, output="sos")
    values = rng.normal(100, 9, (9, 90, 70))
    values[6, 80, 3] = np.nan
    values[1, 0, 69] = np.inf
    frames = xr.DataArray(values, dims=("t", "y", "x"))
    start = scipy.signal.sosfilt_zi(sos)[:, :, None, None] * values[:1]
    expected, _ = scipy.signal.sosfilt(sos, values, axis=0, zi=start * (before == "first"))
    with np.errstate(invalid="ignore"):
        expected = np.where(np.isfinite(expected), expected, np.nan)
    found = iir_filter(frames, sos=sos, before=before)
    found = found.where(np.isfinite(found))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)
    whole, _ = continue_iir_filter(frames, sos=sos, before=before)
    np.testing.assert_allclose(whole.where(np.isfinite(whole)), expected, rtol=1e-12, atol=1e-11)
    first, state = continue_iir_filter(frames[:3], sos=sos, before=before)
    then, _ = continue_iir_filter(frames[3:], sos=sos, state=state)
    np.testing.assert_array_equal(np.concatenate([first, then]), whole)
