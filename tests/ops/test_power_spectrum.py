"""Power spectral densities: `power_spectrum`."""

from typing import Any

import numpy as np
import pytest
import scipy.signal
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.ops import OperationError, power_spectrum
from forebay.ops.spectra.power import power_density


def bare(frames: xr.DataArray) -> xr.DataArray:
    """Return frames without coordinates, so that frequencies are per pixel."""
    return frames.drop_vars(list(frames.coords))


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    spacing=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_parseval(shape: tuple[int, int], spacing: tuple[float, float], seed: int) -> None:
    """Without a window, the density times the steps in frequency adds up to the mean square."""
    values = np.random.default_rng(seed).normal(size=shape)
    coords = {"y": spacing[0] * np.arange(shape[0]), "x": spacing[1] * np.arange(shape[1])}
    given_frames = xr.DataArray(values, dims=("y", "x"), coords=coords)

    density = power_spectrum(given_frames, window=None, detrend=None)

    steps = [each if size > 1 else 1.0 for each, size in zip(spacing, shape, strict=True)]
    total = float(density.sum()) / np.prod(steps) / values.size
    assert total == pytest.approx(float((values**2).mean()), rel=1e-10)


def test_parseval_with_window_and_trend(frames: xr.DataArray) -> None:
    """With a window the density adds up to the mean square as the window weighs it."""
    values = frames.values.astype(float)
    values -= values.mean(axis=(1, 2), keepdims=True)
    rows, columns = (scipy.signal.get_window("hann", size) for size in values.shape[1:])
    weights = np.multiply.outer(rows, columns)

    density = power_spectrum(bare(frames))

    mean_square = (values**2 * weights**2).sum(axis=(1, 2)) / (weights**2).sum()
    np.testing.assert_allclose(
        density.sum(("freq_y", "freq_x")) / (30 * 41), mean_square, rtol=1e-5
    )


@pytest.mark.parametrize("window", ["hann", None])
@pytest.mark.parametrize(("detrend", "theirs"), [("mean", "constant"), (None, False)])
@pytest.mark.parametrize("size", [15, 16])
def test_one_dimension_is_scipys_periodogram(
    rng: np.random.Generator, window: Any, detrend: Any, theirs: Any, size: int
) -> None:
    """Along time it is the two-sided periodogram of scipy, in ascending frequency."""
    history = rng.normal(3, 1, (4, size))
    given_frames = xr.DataArray(history, dims=("x", "t"), coords={"t": 0.02 * np.arange(size)})

    density = power_spectrum(given_frames, dims=["t"], window=window, detrend=detrend)

    frequency, expected = scipy.signal.periodogram(
        history, 50.0, window=window or "boxcar", detrend=theirs, return_onesided=False
    )
    order = np.argsort(frequency, kind="stable")
    np.testing.assert_allclose(density.freq_t, frequency[order], atol=1e-12)
    np.testing.assert_allclose(density, expected[:, order], atol=1e-12)


@pytest.mark.parametrize("level", [0, 1000, 60_000])
@pytest.mark.parametrize("window", ["hann", None])
def test_float32_is_near_float64_on_a_bright_ground(level: int, window: Any) -> None:
    """Float32 densities are within 1e-4 of float64 ones, plus 1e-10 of the largest, at any level."""
    noise = np.random.default_rng(0).normal(level, 30, (2, 128, 128)).clip(0)
    given_frames = xr.DataArray(noise.astype(np.uint16), dims=("t", "y", "x"))

    single = power_spectrum(given_frames, window=window)

    double = power_spectrum(given_frames.astype("float64"), window=window)
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-10 * float(double.max()))


def test_linear_detrending_is_scipys(rng: np.random.Generator) -> None:
    """In one dimension it takes out the line that scipy takes out."""
    history = rng.normal(size=(3, 32)) + np.linspace(0, 40, 32)
    given_frames = xr.DataArray(history, dims=("x", "t"))

    density = power_spectrum(given_frames, dims=["t"], window=None, detrend="linear")

    _, expected = scipy.signal.periodogram(history, detrend="linear", return_onesided=False)
    np.testing.assert_allclose(density, np.fft.fftshift(expected, axes=-1), atol=1e-10)


def test_linear_detrending_takes_out_a_plane(frames: xr.DataArray) -> None:
    """A slope in any direction, added to the frames, does not change the spectrum."""
    y, x = np.ogrid[:30, :41]
    tilted = frames.astype("f8") + 300 * y - 70 * x

    result = power_spectrum(tilted, detrend="linear")

    expected = power_spectrum(frames.astype("f8"), detrend="linear")
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-8 * float(expected.max()))


def test_white_noise_is_flat_at_its_variance() -> None:
    """Noise of standard deviation σ has the density σ² at every frequency, window or not."""
    noise = np.random.default_rng(3).normal(0, 2.5, (400, 16, 18))
    given_frames = xr.DataArray(noise, dims=("t", "y", "x"))

    for window in ("hann", None):
        density = power_spectrum(given_frames, window=window, detrend=None).mean("t")
        # 400 frames of 2 degrees of freedom each: 5 % standard deviation, 288 frequencies.
        np.testing.assert_allclose(density, 2.5**2, rtol=0.3)
        assert float(density.mean()) == pytest.approx(2.5**2, rel=0.02)


def test_a_wave_is_at_its_frequency_in_the_coordinates_unit() -> None:
    """A wave of 4 µm along y has its two peaks at ±0.25 cycles per µm."""
    y = 0.5 * np.arange(64)
    given_frames = xr.DataArray(
        np.cos(2 * np.pi * y / 4)[:, None] * np.ones(8),
        dims=("y", "x"),
        coords={"y": ("y", y, {"units": "µm"})},
    )

    density = power_spectrum(given_frames, window=None)

    peaks = density.where(density > 1e-6 * density.max(), drop=True)
    assert peaks.freq_y.values.tolist() == [-0.25, 0.25]
    assert peaks.freq_x.values.tolist() == [0]
    assert density.freq_y.attrs["units"] == "cycles per µm"
    assert density.freq_x.attrs["units"] == "cycles per pixel"


@pytest.mark.parametrize("unit", ["ns", "ms"])
def test_times_give_hertz(unit: str) -> None:
    """Frames stamped every 40 ms have frequencies per second, up to 12.5."""
    times = np.datetime64("2026-01-01") + np.arange(10) * np.timedelta64(40, "ms")
    given_frames = xr.DataArray(
        np.arange(10.0), dims="t", coords={"t": times.astype(f"M8[{unit}]")}
    )

    density = power_spectrum(given_frames, dims=["t"])

    np.testing.assert_allclose(density.freq_t, np.arange(-5, 5) * 2.5)
    assert density.freq_t.attrs["units"] == "cycles per second"


def test_dimensions_take_the_place_of_their_own(frames: xr.DataArray) -> None:
    """Frequencies come last; what described the other dimensions stays."""
    density = power_spectrum(frames)

    assert density.dims == ("t", "freq_y", "freq_x")
    assert set(density.coords) == {"t", "frame_id", "exposure", "freq_y", "freq_x"}
    assert float(density.freq_y[15]) == float(density.freq_x[20]) == 0


def test_a_nan_makes_its_own_frame_nan(frames: xr.DataArray) -> None:
    """A NaN pixel is in every frequency of its frame, and in no other frame."""
    noisy = frames.astype("float32")
    noisy[3, 0, 0] = np.nan

    lost = power_spectrum(noisy).isnull().all(("freq_y", "freq_x"))

    assert lost.values.tolist() == [False, False, False, True, False, False, False]


@pytest.mark.parametrize("detrend", [None, "mean", "linear"])
@pytest.mark.parametrize("hann", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, detrend: str | None, hann: bool, dtype: str, ndim: int
) -> None:
    """The block function gives on any device what NumPy gives in float64, in one to three axes."""
    values = rng.integers(0, 250, (3, 8, 9)).astype(dtype)
    options: dict[str, Any] = {"ndim": ndim, "hann": hann, "detrend": detrend, "scale": 0.5}

    result = xp.host(power_density(xp.array(values), **options))

    expected = power_density(values.astype(np.float64), **options)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-10 * expected.max())
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("y", "z")}, "'z' is needed"),
        ({"dims": ("x", "x")}, "must name each dimension once"),
        ({"window": "hamming"}, "window is 'hamming', but must be one of 'hann', None"),
        ({"detrend": "constant"}, "detrend is 'constant'"),
        ({"radial": "yes"}, "radial is 'yes'"),
        ({"dims": ("t",), "radial": True}, "rings need two dimensions"),
        ({"dims": ("t", "y"), "radial": True}, "rings need one unit"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        power_spectrum(frames, **parameters)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 2, 4, 5, 6, 7], "has steps from 1 to 2, but a spectrum needs regular ones"),
        ([0, 0, 0, 0, 0, 0, 0], "needs regular ones"),
        ([0, 1, 2, np.nan, 4, 5, 6], "needs regular ones"),
        (list("abcdefg"), "must be numbers or times"),
    ],
)
def test_irregular_coordinates_are_refused(
    frames: xr.DataArray, times: list[Any], message: str
) -> None:
    """Without regular steps there is no frequency: the error says so and how to go on."""
    with pytest.raises(OperationError, match=message) as caught:
        power_spectrum(frames.assign_coords(t=times), dims=["t"])

    assert "frames.drop_vars('t')" in str(caught.value)


def test_a_single_pixel_cannot_be_windowed(frames: xr.DataArray) -> None:
    """A dimension of one pixel, all of which a window would fade out, needs window=None."""
    with pytest.raises(OperationError, match="use window=None"):
        power_spectrum(frames[:, :1])

    assert power_spectrum(bare(frames)[:, :1], window=None).shape == (7, 1, 41)
