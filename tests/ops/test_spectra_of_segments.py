"""Spectra along time: `welch_spectrum`, `coherence`, `spectrogram`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.signal
import xarray as xr

from forebay.ops import OperationError, coherence, spectrogram, welch_spectrum
from forebay.ops.spectra.segments import Cut, densities, mean_coherence, mean_density

RATE = 50.0


@pytest.fixture
def history(rng: np.random.Generator) -> xr.DataArray:
    """Give 300 samples of six pixels at 50 a second, in float64, on a ground and a slope."""
    values = rng.normal(size=(300, 2, 3)).cumsum(axis=0) + 500 + np.arange(300)[:, None, None]
    return xr.DataArray(
        values,
        dims=("t", "y", "x"),
        coords={"t": ("t", 2 + np.arange(300) / RATE, {"units": "s"}), "y": [0.5, 1.5]},
        name="light",
        attrs={"units": "ADU"},
    )


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"segment": 64}, {"nperseg": 64, "noverlap": 32, "window": "hann", "detrend": "constant"}),
    (
        {"segment": 51, "overlap": 0.2, "window": "hamming", "detrend": "linear"},
        {"nperseg": 51, "noverlap": 10, "window": "hamming", "detrend": "linear"},
    ),
    (
        {"segment": 40, "overlap": 0, "window": None, "detrend": None},
        {"nperseg": 40, "noverlap": 0, "window": "boxcar", "detrend": False},
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), OPTIONS)
def test_they_are_scipys(
    history: xr.DataArray, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """Densities and coherences are scipy's, for even and odd segments, with each way to detrend."""
    values = history.values
    frequency, density = scipy.signal.welch(values, RATE, axis=0, **theirs)
    _, common = scipy.signal.coherence(values, values[:, :1, :1], RATE, axis=0, **theirs)
    _, places, changing = scipy.signal.spectrogram(values, RATE, axis=0, mode="psd", **theirs)

    spectrum = welch_spectrum(history, **ours)
    shared = coherence(history, history[:, 0, 0].drop_vars("y"), **ours)
    gram = spectrogram(history, **ours)

    np.testing.assert_allclose(spectrum.freq_t, frequency, atol=1e-12)
    np.testing.assert_allclose(
        spectrum.transpose("freq_t", "y", "x"), density, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        shared.transpose("freq_t", "y", "x")[1:], common[1:], rtol=1e-7, atol=1e-9
    )
    np.testing.assert_allclose(
        gram.transpose("freq_t", "y", "x", "t"), changing, rtol=1e-8, atol=1e-9
    )
    # Scipy's middle is half a sample after the middle between first and last.
    np.testing.assert_allclose(gram.t, 2 + places - 0.5 / RATE, atol=1e-12)
    np.testing.assert_allclose(gram.mean("t"), spectrum, rtol=1e-9)


def test_white_noise_is_flat_at_twice_its_variance(rng: np.random.Generator) -> None:
    """One-sided, per Hz: 2 σ² / rate at every frequency but the first and last."""
    noise = xr.DataArray(rng.normal(1000, 3, (40, 2048)), dims=("x", "t"))
    noise = noise.assign_coords(t=np.arange(2048) / RATE)

    spectrum = welch_spectrum(noise.astype("float32"), segment=64).mean("x")

    np.testing.assert_allclose(spectrum[2:-1], 2 * 9 / RATE, rtol=0.1)
    assert float(spectrum[1:].sum() * RATE / 64) == pytest.approx(9, rel=0.1)


def test_a_common_wave_is_coherent_and_noise_is_not(rng: np.random.Generator) -> None:
    """Two noisy signals with one wave in common cohere at its frequency alone."""
    wave = np.sin(2 * np.pi * 10 * np.arange(4096) / RATE)
    both = xr.DataArray(wave + rng.normal(0, 1, (2, 4096)), dims=("x", "t"))
    both = both.assign_coords(t=np.arange(4096) / RATE)

    shared = coherence(both[1], both[0], segment=100, overlap=0)

    assert float(shared.sel(freq_t=10)) > 0.85
    assert float(shared.where(abs(shared.freq_t - 10) > 2).mean()) == pytest.approx(
        1 / 40, abs=0.02
    )


@pytest.mark.parametrize("operation", [welch_spectrum, spectrogram, coherence])
def test_lazily_as_eagerly_and_what_describes_them(history: xr.DataArray, operation: Any) -> None:
    """Chunks cut through time give the eager values; coordinates and units are those promised."""
    given: list[Any] = [history.drop_vars("y")] if operation is coherence else []

    eager = operation(history, *given, segment=50)
    lazy = operation(
        history.chunk({"t": 70, "x": 2}), *(each.chunk({"t": 99}) for each in given), segment=50
    )

    np.testing.assert_allclose(lazy.compute(), eager, rtol=1e-8)
    assert lazy.dims == eager.dims
    assert eager.name == "light"
    assert eager.y.values.tolist() == [0.5, 1.5]
    assert eager.freq_t.attrs == {"units": "cycles per s"}
    assert eager.attrs == ({} if operation is coherence else {"units": "ADU"})
    single = operation(history.astype("f4"), *given, segment=50)
    assert single.dtype == (np.float64 if operation is coherence else np.float32)


def test_float32_is_near_float64(rng: np.random.Generator) -> None:
    """On a bright ground float32 is within 1e-4, plus 1e-6 of the largest value."""
    counts = rng.poisson(50_000, (200, 4)).astype(np.uint16)
    frames = xr.DataArray(counts, dims=("t", "x"))
    reference = frames[:, 0]

    operations: list[Callable[[xr.DataArray], xr.DataArray]] = [
        lambda each: welch_spectrum(each, segment=40),
        lambda each: spectrogram(each, segment=40),
        lambda each: coherence(each, reference.astype(each.dtype), segment=20)[..., 1:],
    ]
    for operation in operations:
        double = operation(frames.astype("f8"))
        np.testing.assert_allclose(
            operation(frames), double, rtol=1e-4, atol=1e-6 * float(double.max())
        )


def test_nan_and_nothing(history: xr.DataArray) -> None:
    """A NaN takes its pixel, or its segments; a pixel without fluctuations coheres with nothing."""
    history[100, 0, 1] = np.nan
    history[:, 1, 2] = 7

    spectrum = welch_spectrum(history, segment=50, overlap=0)
    gram = spectrogram(history, segment=50, overlap=0)
    shared = coherence(history, history[:, 0, 0].drop_vars("y"), segment=50)

    assert spectrum.isnull().all("freq_t").values.tolist() == [[False, True, False], [False] * 3]
    assert gram[0, 1].isnull().all("freq_t").values.tolist() == [False, False, True] + [False] * 3
    assert shared.isnull().all("freq_t").values.tolist() == [
        [False, True, False],
        [False, False, True],
    ]


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_the_unit_does_not_matter_to_coherence(history: xr.DataArray, factor: float) -> None:
    """Float32 holds the powers of bright and of dim frames, and their coherence."""
    other = history[:, 0, 0].drop_vars("y")
    expected = coherence(history, other, segment=50)

    single = coherence((history * factor).astype("f4"), other.astype("f4") * factor, segment=50)

    np.testing.assert_allclose(single[..., 1:], expected[..., 1:], atol=2e-3)


def test_middles_without_numbers() -> None:
    """Times have their middles in time, and frames without a coordinate in samples."""
    values = xr.DataArray(np.arange(10.0), dims="t")
    start = np.datetime64("2026-01-01", "ns")
    stamped = values.assign_coords(t=start + np.arange(10) * np.timedelta64(1, "s"))

    assert spectrogram(values, segment=4).t.values.tolist() == [1.5, 3.5, 5.5, 7.5]
    times = spectrogram(stamped, segment=4).t.values
    assert ((times - start) / np.timedelta64(1, "ms")).tolist() == [1500, 3500, 5500, 7500]


@pytest.mark.parametrize("detrend", [None, "mean", "linear"])
@pytest.mark.parametrize("window", [None, "hann"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, detrend: str | None, window: str | None, dtype: str
) -> None:
    """The block functions give on any device what NumPy gives in float64."""
    values = rng.integers(0, 250, (3, 40)).astype(dtype)
    double = values.astype(np.float64)
    cut = Cut(11, 5, 6, window, detrend)

    for function in (mean_density, partial(mean_density, average="median"), densities):
        result = xp.host(function(xp.array(values), cut=cut, step=0.1))
        expected = function(double, cut=cut, step=0.1)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6 * expected.max())
        assert result.dtype == (np.float64 if dtype == "float64" else np.float32)
    shared = xp.host(mean_coherence(xp.array(values), xp.array(values[:1]), cut=cut))
    expected = mean_coherence(double, double[:1], cut=cut)
    np.testing.assert_allclose(shared[:, 1:], expected[:, 1:], atol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"segment": 1}, "segment is 1"),
        ({"segment": 301}, "frames has 300 samples along 't', but segment=301 needs 301"),
        ({"overlap": 1}, "overlap is 1"),
        ({"overlap": -0.1}, "overlap is -0.1"),
        ({"window": "box"}, "window is 'box'"),
        ({"detrend": "cubic"}, "detrend is 'cubic'"),
        ({"dim": "z"}, "'z' is needed"),
        ({"dim": "y"}, "needs 64 at least"),
    ],
)
def test_bad_parameters_are_named(
    history: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    options: dict[str, Any] = {"segment": 64}
    options |= parameters

    with pytest.raises(OperationError, match=message):
        welch_spectrum(history, **options)
    with pytest.raises(OperationError, match=message):
        spectrogram(history, **options)
    with pytest.raises(OperationError, match=message):
        coherence(history, history, **options)


def test_what_cannot_be_compared_is_refused(history: xr.DataArray) -> None:
    """One segment coheres with anything; one sample has no frequency; lengths must be equal."""
    with pytest.raises(OperationError, match="two are needed at least"):
        coherence(history, history, segment=250)
    with pytest.raises(OperationError, match="needs 2 at least"):
        welch_spectrum(history[:1])
    with pytest.raises(OperationError, match="other does not lie on the pixels of frames"):
        coherence(history, history[:200])
