"""The band-pass in Fourier space: `fourier_bandpass`."""

from typing import Any, Literal

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.ops import OperationError, fourier_bandpass
from forebay.ops.filters.fourier import filtered, high_pass

EDGES: tuple[Literal["gaussian", "butterworth"], ...] = ("gaussian", "butterworth")


def waves(wavelength: float, size: int = 64) -> xr.DataArray:
    """Return a frame of waves along x."""
    wave = np.cos(2 * np.pi * np.arange(size) / wavelength)
    return xr.DataArray(np.tile(wave, (8, 1)), dims=("y", "x"))


def test_the_gaussian_edge_is_scipys_fourier_gaussian(frames: xr.DataArray) -> None:
    """2 ** -(f/c)² is a Gaussian of σ = √(ln 2 / 2) / (π c) pixels, as scipy applies it."""
    values, shortest, longest = frames.values.astype(np.float64), 5.0, 12.0

    result = fourier_bandpass(
        frames.astype("float64"), min_wavelength=shortest, max_wavelength=longest
    )

    def gaussian(spectrum: Any, wavelength: float) -> Any:
        sigma = np.sqrt(np.log(2) / 2) / np.pi * wavelength
        return scipy.ndimage.fourier_gaussian(spectrum, (0, sigma, sigma))

    low = gaussian(np.fft.fftn(values, axes=(1, 2)), shortest)
    expected = np.fft.ifftn(low - gaussian(low, longest), axes=(1, 2)).real
    np.testing.assert_allclose(result, expected, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("wavelength", [4.0, 8.0, 16.0, 64.0])
def test_the_butterworth_edge_is_scipys(order: int, wavelength: float) -> None:
    """The gain at each frequency is that of scipy's analogue Butterworth filters."""
    given_frames = waves(wavelength)

    for name, kind, cut in (("min_wavelength", "low", 8.0), ("max_wavelength", "high", 8.0)):
        b, a = scipy.signal.butter(order, 1.0, kind, analog=True)
        gain = abs(scipy.signal.freqs(b, a, [cut / wavelength])[1][0])
        options: dict[str, Any] = {name: cut, "edge": "butterworth", "order": order}
        result = fourier_bandpass(given_frames, **options)
        np.testing.assert_allclose(result, gain * given_frames, atol=1e-12)


@pytest.mark.parametrize("name", ["min_wavelength", "max_wavelength"])
def test_the_gain_at_the_edge_is_what_is_promised(name: str) -> None:
    """At the wavelength given, half the amplitude is left with Gaussian edges, half the power else."""
    options: dict[str, Any] = {name: 8}

    gaussian = fourier_bandpass(waves(8), **options)
    butterworth = fourier_bandpass(waves(8), **options, edge="butterworth")

    np.testing.assert_allclose(gaussian, 0.5 * waves(8), atol=1e-12)
    np.testing.assert_allclose(butterworth, np.sqrt(0.5) * waves(8), atol=1e-12)


@pytest.mark.parametrize("edge", EDGES)
def test_the_mean_goes_only_with_the_long_waves(edge: Any) -> None:
    """A constant frame is zero where long waves are weakened, and untouched where short ones are."""
    constant = xr.DataArray(np.full((1, 9, 10), 300, np.uint16), dims=("t", "y", "x"))

    assert float(abs(fourier_bandpass(constant, max_wavelength=8, edge=edge)).max()) < 1e-4
    assert high_pass(np.array([0.0, 1.0]), None if edge == "gaussian" else 1)[0] == 0
    np.testing.assert_allclose(
        fourier_bandpass(constant, min_wavelength=4, edge=edge), 300, rtol=1e-6
    )


@settings(deadline=None)
@given(
    shortest=st.none() | st.floats(2, 100),
    factor=st.none() | st.floats(1.01, 1e6),
    edge=st.sampled_from(EDGES),
    order=st.integers(1, 200),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_no_allowed_edge_amplifies_or_overflows(
    shortest: float | None, factor: float | None, edge: Any, order: int, dtype: str
) -> None:
    """Whatever is allowed gives finite values and adds no power to any frame."""
    longest = None if factor is None else (shortest or 2) * factor
    if shortest is None and longest is None:
        return
    values = np.random.default_rng(1).normal(size=(12, 17)).astype(dtype)
    given_frames = xr.DataArray(values, dims=("y", "x"))

    result = fourier_bandpass(
        given_frames, min_wavelength=shortest, max_wavelength=longest, edge=edge, order=order
    )

    assert bool(np.isfinite(result).all())
    assert float((result**2).sum()) <= float((given_frames**2).sum()) * (1 + 1e-5)


@pytest.mark.parametrize("order", [None, 2])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, order: int | None, dtype: str, ndim: int
) -> None:
    """The block function gives on any device what NumPy gives in float64, in one to three axes."""
    values = rng.integers(0, 250, (4, 9, 14)).astype(dtype)
    options: dict[str, Any] = {
        "steps": (1.0, 0.5, 2.0)[:ndim],
        "passes": [("low", (1 / 3,)), ("high", (1 / 7,)), ("notch", (0.2, 0.3))],
        "order": order,
    }

    result = xp.host(filtered(xp.array(values), **options))

    np.testing.assert_allclose(result, filtered(values.astype(np.float64), **options), atol=1e-3)
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert result.shape == values.shape


def test_a_nan_makes_its_own_frame_nan(frames: xr.DataArray) -> None:
    """A NaN pixel is in every wave of its frame, and in no other frame."""
    noisy = frames.astype("float32")
    noisy[3, 0, 0] = np.nan

    lost = fourier_bandpass(noisy, min_wavelength=4).isnull().all(("y", "x"))

    assert lost.values.tolist() == [False, False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "nothing to do"),
        ({"min_wavelength": 1.9}, "min_wavelength is 1.9"),
        ({"min_wavelength": 8, "max_wavelength": 8}, "max_wavelength is 8, but must be .* above 8"),
        ({"max_wavelength": 2}, "max_wavelength is 2"),
        ({"max_wavelength": np.inf}, "max_wavelength is inf"),
        ({"max_wavelength": 1e30}, "at most 1e\\+12"),
        ({"max_wavelength": 9, "edge": "box"}, "edge is 'box'"),
        ({"max_wavelength": 9, "edge": "butterworth", "order": 0}, "order is 0"),
        ({"max_wavelength": 9, "order": 1.5}, "order is 1.5"),
        ({"max_wavelength": 9, "dims": ("y", "z")}, "'z' is needed"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        fourier_bandpass(frames, **parameters)
