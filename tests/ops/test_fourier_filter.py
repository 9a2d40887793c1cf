"""Filters by frequency: `fourier_filter`."""

from typing import Any, Literal

import numpy as np
import pytest
import scipy.signal
import xarray as xr

from forebay.ops import OperationError, fourier_bandpass, fourier_filter

type Kind = Literal["low", "high", "band", "notch"]

KINDS: dict[Kind, Any] = {"low": 6.0, "high": 6.0, "band": (4.0, 9.0), "notch": (4.0, 9.0)}
THEIRS = {"low": "low", "high": "high", "band": "bandpass", "notch": "bandstop"}


def wave(frequency: float) -> xr.DataArray:
    """Return a second of a wave, 64 samples of it, in a column of pixels."""
    t = np.arange(64) / 64
    values = np.cos(2 * np.pi * frequency * t + 0.3) * np.array([[1.0], [-2.0]])
    return xr.DataArray(values, dims=("x", "t"), coords={"t": t})


@pytest.mark.parametrize("order", [1, 2, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_the_butterworth_edges_are_scipys(kind: Kind, order: int) -> None:
    """The gain at each frequency is that of scipy's analogue filters, and the phase stays."""
    b, a = scipy.signal.butter(order, KINDS[kind], THEIRS[kind], analog=True)
    for frequency in (1.0, 4.0, 6.0, 11.0, 30.0):
        gain = abs(scipy.signal.freqs(b, a, [frequency])[1][0])

        result = fourier_filter(
            wave(frequency), kind=kind, cutoff=KINDS[kind], order=order, dims=["t"]
        )

        np.testing.assert_allclose(result, gain * wave(frequency), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gaussian_edges_are_as_written(kind: Kind) -> None:
    """Half the amplitude is left at the cutoff, and the gain falls as 2 ** -u²."""
    for frequency in (2.0, 4.0, 6.0, 9.0, 20.0):
        if kind in ("low", "high"):
            gain = 2 ** -((frequency / 6) ** 2)
        else:
            gain = 2 ** -(((frequency**2 - 36) / (frequency * 5)) ** 2)
        gain = gain if kind in ("low", "band") else 1 - gain

        result = fourier_filter(
            wave(frequency), kind=kind, cutoff=KINDS[kind], edge="gaussian", dims=["t"]
        )

        np.testing.assert_allclose(result, gain * wave(frequency), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edge", ["gaussian", "butterworth"])
def test_the_mean_goes_with_the_low_frequencies(kind: Kind, edge: Any) -> None:
    """A constant stays with low-passes and notches, and goes with the others."""
    constant = xr.DataArray(np.full((2, 9, 10), 300, np.uint16), dims=("t", "y", "x"))
    cutoff = 0.2 if kind in ("low", "high") else (0.1, 0.3)

    result = fourier_filter(constant, kind=kind, cutoff=cutoff, edge=edge)

    np.testing.assert_allclose(result, 300 if kind in ("low", "notch") else 0, atol=1e-3)


def test_it_shares_its_edges_with_the_bandpass(frames: xr.DataArray) -> None:
    """A low-pass and a high-pass one behind the other are the band-pass of the wavelengths."""
    bare = frames.drop_vars(["y", "x"])

    low = fourier_filter(bare, kind="low", cutoff=1 / 4, edge="gaussian")
    both = fourier_filter(low, kind="high", cutoff=1 / 9, edge="gaussian")

    expected = fourier_bandpass(bare, min_wavelength=4, max_wavelength=9)
    np.testing.assert_allclose(both, expected, atol=0.01)


def test_frequencies_are_in_the_coordinates_unit(frames: xr.DataArray) -> None:
    """With two pixels to a µm, a cycle per µm is half a cycle per pixel; for times it is Hz."""
    per_micrometre = fourier_filter(frames, kind="low", cutoff=0.5)
    per_pixel = fourier_filter(frames.drop_vars(["y", "x"]), kind="low", cutoff=0.25)

    np.testing.assert_allclose(per_micrometre, per_pixel, rtol=1e-6)
    start = np.datetime64("2026-01-01", "ns")
    times = start + (np.arange(64) * 1e9 / 64).astype("m8[ns]")
    hertz = fourier_filter(
        wave(11).assign_coords(t=times), kind="low", cutoff=6, order=3, dims=["t"]
    )
    seconds = fourier_filter(wave(11), kind="low", cutoff=6, order=3, dims=["t"])
    np.testing.assert_allclose(hertz, seconds, atol=1e-6)


def test_a_notch_takes_out_a_pattern_on_a_real_scale(rng: np.random.Generator) -> None:
    """A wave over noise is gone after a narrow notch, and nearly all of the noise stays."""
    noise = rng.normal(0, 1, (64, 64))
    pattern = 10 * np.sin(2 * np.pi * np.arange(64) / 8)
    frames = xr.DataArray(noise + pattern, dims=("y", "x"))

    result = fourier_filter(frames, kind="notch", cutoff=(0.12, 0.125**2 / 0.12), order=1)

    assert abs(np.fft.fft2(result)[0, 8]) < 1e-9
    assert float(((result - noise) ** 2).mean()) < 0.1


def test_a_nan_makes_its_own_frame_nan(frames: xr.DataArray) -> None:
    """A NaN pixel is in every wave of its frame, and in no other frame."""
    noisy = frames.astype("float32")
    noisy[3, 0, 0] = np.nan

    lost = fourier_filter(noisy, kind="low", cutoff=0.3).isnull().all(("y", "x"))

    assert lost.values.tolist() == [False, False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kind": "all"}, "kind is 'all'"),
        ({"cutoff": 0}, "cutoff is 0, but must be a finite number and above 0 and at most 1"),
        ({"cutoff": 1.01}, "cutoff is 1.01"),
        ({"cutoff": (0.1, 0.2)}, "kind='low' needs one frequency"),
        ({"kind": "band"}, "kind='band' needs two"),
        ({"kind": "notch", "cutoff": (0.2, 0.2)}, "cutoff is 0.2, but must be .* above 0.2"),
        ({"kind": "notch", "cutoff": (0.2, 0.1, 0.3)}, "needs two"),
        ({"edge": "box"}, "edge is 'box'"),
        ({"order": 0}, "order is 0"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("t", "y")}, "must be in one unit"),
        ({"dims": ("y", "z")}, "'z' is needed"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    options: dict[str, Any] = {"kind": "low", "cutoff": 0.2}
    options |= parameters

    with pytest.raises(OperationError, match=message):
        fourier_filter(frames, **options)
