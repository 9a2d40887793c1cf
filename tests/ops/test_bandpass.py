"""The difference of Gaussians: `bandpass`."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops import OperationError, bandpass
from forebay.ops.filters.gaussian import gaussian_difference


def reference(values: np.ndarray[Any, Any], low: float, high: float) -> np.ndarray[Any, Any]:
    """Return the difference of two of scipy's Gaussians over the last two axes, in float64."""

    def blurred(sigma: float) -> np.ndarray[Any, Any]:
        filtered: np.ndarray[Any, Any] = scipy.ndimage.gaussian_filter(
            values.astype(np.float64), sigma, mode="nearest", truncate=4.0, axes=(-2, -1)
        )
        return filtered

    difference: np.ndarray[Any, Any] = blurred(low) - blurred(high)
    return difference


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 3), (0.7, 3.3)])
def test_it_is_the_difference_of_scipys_gaussians(
    frames: xr.DataArray, low: float, high: float
) -> None:
    """Float64 frames give what scipy gives; float32 is within 1e-5 of the largest value."""
    expected = reference(frames.values, low, high)

    double = bandpass(frames.astype("float64"), noise_sigma=low, background_sigma=high)
    single = bandpass(frames, noise_sigma=low, background_sigma=high)

    np.testing.assert_allclose(double, expected, atol=1e-10)
    np.testing.assert_allclose(single, expected, atol=1e-5 * 4000)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator, dtype: str) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = rng.integers(0, 250, (2, 21, 30)).astype(dtype)
    parameters: dict[str, Any] = {"sigmas": (1.0, 2.0), "truncate": 4.0, "axes": (-2, -1)}

    result = xp.host(gaussian_difference(xp.array(values), **parameters))

    np.testing.assert_allclose(result, reference(values, 1, 2), atol=2e-3)
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)


def test_a_wave_is_weakened_as_theory_says() -> None:
    """The gain at angular frequency k is exp(-σ²k²/2) of the one less that of the other."""
    k = 2 * np.pi / 16
    wave = np.cos(k * np.arange(256))
    frames = xr.DataArray(np.tile(wave, (64, 1)), dims=("y", "x"))

    result = bandpass(frames, noise_sigma=1, background_sigma=4, truncate=6)

    gain = np.exp(-(k**2) / 2) - np.exp(-((4 * k) ** 2) / 2)
    np.testing.assert_allclose(result[:, 64:192], gain * frames[:, 64:192], atol=1e-6)


@pytest.mark.parametrize("level", [0, 255, 65_535])
def test_a_constant_frame_gives_nothing(level: int) -> None:
    """Uneven light aside, an empty frame is zero after the band-pass, up to its edges."""
    frames = xr.DataArray(np.full((1, 40, 40), level, np.uint16), dims=("t", "y", "x"))

    assert float(abs(bandpass(frames, background_sigma=4)).max()) <= 1e-6 * max(level, 1)


def test_no_noise_smoothing_leaves_the_frame_as_it_is(frames: xr.DataArray) -> None:
    """With noise_sigma 0 what is subtracted from is the frame itself."""
    result = bandpass(frames, noise_sigma=0, background_sigma=2)

    blurred = scipy.ndimage.gaussian_filter(
        frames.values.astype(float), 2, axes=(1, 2), mode="nearest"
    )
    np.testing.assert_allclose(frames.values - result, blurred, atol=0.01)


def test_a_nan_spreads_as_far_as_the_gaussian(frames: xr.DataArray) -> None:
    """A NaN pixel makes NaN of the square within truncate · background_sigma, in its frame only."""
    noisy = frames.astype("float32")
    noisy[2, 15, 20] = np.nan

    result = np.isnan(bandpass(noisy, background_sigma=2, truncate=3))

    square = np.zeros(frames.shape, bool)
    square[2, 9:22, 14:27] = True
    np.testing.assert_array_equal(result, square)


@pytest.mark.parametrize(
    "chunks", [{"t": 3}, {"y": (13, 17), "x": (20, 21)}, {"y": 5, "x": (3, 17, 21)}]
)
def test_chunks_through_the_frame_leave_no_seam(
    frames: xr.DataArray, chunks: dict[str, Any]
) -> None:
    """Chunks cut through y and x, even narrower than the rim, give the eager values bit for bit."""
    eager = bandpass(frames, background_sigma=2)

    lazy = bandpass(frames.chunk(chunks), background_sigma=2)

    np.testing.assert_array_equal(lazy, eager)
    assert lazy.chunksizes.keys() == {"t", "y", "x"}


def test_other_dimensions_can_be_filtered(frames: xr.DataArray) -> None:
    """Along t alone it is a filter of each pixel's history."""
    result = bandpass(frames, dims=["t"], noise_sigma=0.3, background_sigma=0.7)

    low, high = (
        scipy.ndimage.gaussian_filter1d(frames.values.astype(float), s, axis=0, mode="nearest")
        for s in (0.3, 0.7)
    )
    np.testing.assert_allclose(result, low - high, atol=0.01)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"background_sigma": 1}, "background_sigma is 1, but must be a finite number and above 1"),
        ({"background_sigma": np.nan}, "background_sigma is nan"),
        ({"background_sigma": "3"}, "background_sigma is '3'"),
        ({"background_sigma": True}, "background_sigma is True"),
        ({"background_sigma": 3 + 0j}, "background_sigma is"),
        ({"background_sigma": np.complex128(3)}, "background_sigma is"),
        ({"background_sigma": 3, "noise_sigma": -1}, "noise_sigma is -1"),
        ({"background_sigma": 3, "truncate": 0}, "truncate is 0"),
        ({"background_sigma": 1e300}, "too wide"),
        ({"background_sigma": 9}, "frames has 30 pixels along 'y'"),
        ({"background_sigma": 3, "dims": ("y", "z")}, "'z' is needed"),
        ({"background_sigma": 3, "dims": ("y", "y")}, "must name each dimension once"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        bandpass(frames, **parameters)
