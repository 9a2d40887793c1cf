"""Time series: `filter_series`, `welch`, `whiten`, `matched_filter_series`, `find_peaks_series`."""

from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.signal
import scipy.stats
import xarray as xr

from forebay.ops import (
    OperationError,
    filter_series,
    find_peaks_series,
    matched_filter_series,
    welch,
    whiten,
)
from forebay.ops.series.matched import signal_to_noise
from forebay.ops.series.weighting import grid
from forebay.ops.series.whitening import whitened

type Values = npt.NDArray[Any]

RATE = 512.0
BURST = xr.DataArray(
    np.hanning(200) * np.sin(np.arange(200) ** 2 / 180),
    dims="t",
    coords={"t": np.arange(200) / RATE},
)
FLAT = xr.DataArray([2 / RATE] * 3, dims="freq_t", coords={"freq_t": [0, 99, RATE / 2]})

OPERATIONS: dict[str, Any] = {
    "zero phase": lambda series: filter_series(series, low=20, high=90),
    "causal": lambda series: filter_series(series, high=90, phase="causal"),
    "fir": lambda series: filter_series(series, low=90, method="fir", taps=31),
    "welch": lambda series: welch(series, segment=100),
    "whiten": lambda series: whiten(series, segment=100),
    "matched_filter": lambda series: matched_filter_series(series, template=BURST, density=FLAT),
}
each = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


@pytest.fixture
def series(rng: np.random.Generator) -> xr.DataArray:
    """Give three channels of coloured noise."""
    values = scipy.signal.lfilter([1], [1, -0.9], rng.normal(size=(3, 1000)))
    return xr.DataArray(
        values,
        dims=("channel", "t"),
        coords={"channel": ["H", "L", "V"], "t": 3 + np.arange(1000) / RATE},
        name="strain",
        attrs={"detector": "A7"},
    )


@each
def test_what_describes_a_series_stays(operation: Any, series: xr.DataArray) -> None:
    """Name, attributes and, where time stays, coordinates and the order of dimensions are kept."""
    turned = series.transpose("t", "channel").assign_attrs(units="m")

    result, other = operation(series), operation(turned)

    assert result.name == "strain"
    assert result.attrs == {"detector": "A7"}
    if "t" in result.dims:
        xr.testing.assert_identical(result, series.copy(data=result.data))
        assert other.dims == turned.dims
    xr.testing.assert_allclose(other.transpose(*result.dims), result)


@each
def test_lazily_it_is_the_same(operation: Any, series: xr.DataArray) -> None:
    """Nothing is computed while the graph is built; chunks of odd sizes change no bit."""

    def no_scheduler(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed while the graph was built")

    with dask.config.set(scheduler=no_scheduler):
        lazy = operation(series.chunk({"channel": 2, "t": 301}))

    assert isinstance(lazy.data, da.Array)
    xr.testing.assert_identical(lazy.compute(), operation(series))


@each
def test_dtypes_are_those_of_all_operations(operation: Any, series: xr.DataArray) -> None:
    """Float64 stays; float32 and integers give float32, within 1e-5 of the largest value."""
    expected = operation(series)
    counts = (1000 * series).round().astype("int32")

    single = operation(series.astype("float32"))

    assert expected.dtype == np.float64
    assert single.dtype == operation(counts).dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-5 * float(abs(expected).max()))


@each
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_gap_stays_in_its_channel(operation: Any, series: xr.DataArray, value: float) -> None:
    """A NaN or infinity spoils a series or a part of it; the others are what they were."""
    gap = series.copy(deep=True)
    gap[1, 500] = value

    found, expected = operation(gap), operation(series)

    assert np.isnan(found[1]).any()
    xr.testing.assert_identical(found[[0, 2]], expected[[0, 2]])


@each
def test_it_works_in_each_library(operation: Any, chunk_library: Any, series: xr.DataArray) -> None:
    """Series in any library stay there."""
    on_device = series.copy(data=chunk_library.array(series.values))

    found = operation(on_device)

    np.testing.assert_allclose(chunk_library.host(found.data), operation(series), atol=1e-8)


@pytest.mark.parametrize(
    ("low", "high", "kind"), [(20, 90, "bandpass"), (None, 60, "lowpass"), (60, None, "highpass")]
)
def test_filters_are_scipys(series: xr.DataArray, low: Any, high: Any, kind: str) -> None:
    """Sections run forth and back, or forth alone from a steady start, as scipy runs them."""
    limits = (low, high) if kind == "bandpass" else low or high
    sections = scipy.signal.butter(3, limits, kind, fs=RATE, output="sos")
    x = series.values
    start = scipy.signal.sosfilt_zi(sections)[:, None, :] * x[:, :1]

    zero = filter_series(series, low=low, high=high, order=3)
    causal = filter_series(series, low=low, high=high, order=3, phase="causal")

    np.testing.assert_allclose(zero, scipy.signal.sosfiltfilt(sections, x), atol=1e-9)
    expected, _ = scipy.signal.sosfilt(sections, x, zi=start)
    np.testing.assert_allclose(causal, expected, atol=1e-9)


@pytest.mark.parametrize(("low", "high"), [(20, 90), (None, 60), (60, None)])
def test_finite_responses_are_scipys(series: xr.DataArray, low: Any, high: Any) -> None:
    """Windowed sincs, on the series continued by its outermost values; causal is later."""
    limits = (low, high) if low and high else low or high
    weights = scipy.signal.firwin(31, limits, fs=RATE, pass_zero=low is None)
    wide = np.pad(series.values, ((0, 0), (30, 30)), mode="edge")
    filtered = scipy.signal.lfilter(weights, 1, wide)
    options: dict[str, Any] = {"low": low, "high": high, "method": "fir", "taps": 31}

    zero = filter_series(series, **options)
    causal = filter_series(series, phase="causal", **options)

    np.testing.assert_allclose(zero, filtered[:, 45:-15], atol=1e-12)
    np.testing.assert_allclose(causal, filtered[:, 30:-30], atol=1e-12)


@pytest.mark.parametrize("average", ["mean", "median"])
def test_the_density_is_scipys(series: xr.DataArray, average: Any) -> None:
    """Segments of odd and even length, any overlap and trend give scipy's density."""
    for segment, overlap, detrend in ((128, 0.5, "mean"), (101, 0.25, "linear"), (64, 0, None)):
        found = welch(
            series,
            segment=segment,
            overlap=overlap,
            detrend=detrend,  # type: ignore[arg-type]
            average=average,
        )
        frequencies, expected = scipy.signal.welch(
            series.values,
            RATE,
            nperseg=segment,
            noverlap=int(segment * overlap),
            detrend={"mean": "constant", "linear": "linear", None: False}[detrend],
            average=average,
        )
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        np.testing.assert_allclose(found.freq_t, frequencies, rtol=1e-9)


def test_the_density_adds_up_to_the_variance(rng: np.random.Generator) -> None:
    """Times give cycles per second, and the sum times the step is the variance of the noise."""
    time = np.datetime64("2026-01-01", "ns") + np.arange(20_000) * np.timedelta64(2, "ms")
    noise = xr.DataArray(rng.normal(0, 3, 20_000), dims="t", coords={"t": time})

    density = welch(noise, segment=500)

    assert density.freq_t.attrs["units"] == "cycles per second"
    assert float(density.freq_t[-1]) == 250
    assert float(density.sum() * density.freq_t[1]) == pytest.approx(9, rel=0.03)


def test_whitened_noise_is_white(rng: np.random.Generator) -> None:
    """Coloured noise becomes flat and of one standard deviation; its own density does as well."""
    values = scipy.signal.lfilter([1, 0.5], [1, -0.9, 0.4], rng.normal(size=(2, 40_000)))
    noise = xr.DataArray(values, dims=("c", "t"), coords={"t": np.arange(40_000) / RATE})
    w, response = scipy.signal.freqz([1, 0.5], [1, -0.9, 0.4], worN=513, include_nyquist=True)
    true = xr.DataArray(
        2 / RATE * abs(response) ** 2,
        dims="freq_t",
        coords={"freq_t": w / (2 * np.pi) * RATE},
    )

    for white in (whiten(noise, segment=512), whiten(noise, density=true, taper=0.02)):
        inner = white[:, 3000:-3000]
        assert float(inner.std()) == pytest.approx(1, abs=0.02)
        flat = welch(inner, segment=64) * RATE / 2
        np.testing.assert_allclose(flat[:, 2:-1], 1, atol=0.15)


def test_whitening_is_the_formula(rng: np.random.Generator) -> None:
    """A plain sum over waves gives the same to 1e-10, with a density between its frequencies."""
    x = rng.normal(size=60)
    density = xr.DataArray(
        [9.0, 1.0, 2.0, 4.0], dims="freq_t", coords={"freq_t": [0, 0.1, 0.2, 0.4]}
    )

    found = whiten(xr.DataArray(x, dims="t"), density=density, taper=0)

    frequencies = np.fft.fftfreq(60)
    spectrum = np.fft.fft(x - x.mean())
    at = np.interp(abs(frequencies), [0.1, 0.2, 0.4], [1.0, 2.0, 4.0])
    spectrum = spectrum / np.sqrt(at / 2) * ((frequencies != 0) & (frequencies != -0.5))
    np.testing.assert_allclose(found, np.fft.ifft(spectrum).real, atol=1e-10)


def test_the_ratio_is_findchirps(rng: np.random.Generator) -> None:
    """A plain sum over positive frequencies gives the same to 1e-9, with a band as without."""
    x = rng.normal(size=300)
    h = BURST.values[:150]
    series = xr.DataArray(x, dims="t", coords={"t": np.arange(300) / RATE})
    density = xr.DataArray(
        rng.uniform(1, 2, 40), dims="freq_t", coords={"freq_t": np.linspace(0, RATE / 2, 40)}
    )

    for low, high in ((None, None), (30.0, 120.0)):
        f = np.arange(1, 150) * RATE / 300
        f = f[(f >= (low or 0)) & (f <= (high or RATE))]
        s_f, h_f = (
            (
                values[:, None] * np.exp(-2j * np.pi * f * np.arange(values.size)[:, None] / RATE)
            ).sum(axis=0)
            / RATE
            for values in (x - x.mean(), h)
        )
        noise = np.interp(f, density.freq_t[1:], density[1:])
        t = np.arange(300) / RATE
        z = 4 * RATE / 300 * (s_f * h_f.conj() / noise * np.exp(2j * np.pi * f * t[:, None])).sum(1)
        sigma = np.sqrt(4 * RATE / 300 * (abs(h_f) ** 2 / noise).sum())
        options: dict[str, Any] = {"template": BURST[:150], "density": density, "taper": 0}

        found = matched_filter_series(series, low=low, high=high, **options)
        known = matched_filter_series(series, low=low, high=high, phase="known", **options)

        np.testing.assert_allclose(found, abs(z) / sigma, atol=1e-9)
        np.testing.assert_allclose(known, z.real / sigma, atol=1e-9)


def test_noise_has_the_distribution_that_thresholds_are_made_for(
    rng: np.random.Generator,
) -> None:
    """In coloured noise a known phase is normal, any phase Rayleigh: Kolmogorov-Smirnov at 1 %."""
    values = scipy.signal.lfilter([1], [1, -0.8], rng.normal(size=(80, 4096)))
    noise = xr.DataArray(values, dims=("n", "t"), coords={"t": np.arange(4096) / RATE})
    w, response = scipy.signal.freqz([1], [1, -0.8], worN=513, include_nyquist=True)
    density = xr.DataArray(
        2 / RATE * abs(response) ** 2, dims="freq_t", coords={"freq_t": w * RATE / (2 * np.pi)}
    )
    options: dict[str, Any] = {"template": BURST, "density": density}

    found = matched_filter_series(noise, **options)
    known = matched_filter_series(noise, phase="known", **options)

    # So far apart, samples are independent.
    trials = slice(500, 3500, 400)
    assert scipy.stats.kstest(known[:, trials].values.ravel(), "norm").pvalue > 0.01
    assert scipy.stats.kstest(found[:, trials].values.ravel(), "rayleigh").pvalue > 0.01
    burst = np.zeros(4096)
    burst[1700:1900] = 5 * BURST
    loud = matched_filter_series(noise + burst, **options)
    assert abs(loud.values.argmax(axis=1) - 1700).max() <= 2
    rise = matched_filter_series(noise + burst, phase="known", **options) - known
    alone = matched_filter_series(0 * noise + burst, phase="known", **options)
    np.testing.assert_allclose(rise, alone, atol=1e-6)
    # The largest value is the optimal ratio: of the whitened wave its length.
    white = whiten(xr.DataArray(burst, dims="t", coords={"t": noise.t}), density=density, taper=0)
    assert float(alone[0].max()) == pytest.approx(float((white**2).sum() ** 0.5), rel=1e-3)


def test_a_density_for_each_channel_is_used_for_it(series: xr.DataArray) -> None:
    """Densities with the dimensions of the series belong to its channels, eager or lazy."""
    density = welch(series, segment=100)
    options: dict[str, Any] = {"template": BURST}

    found = matched_filter_series(series, density=density, **options)
    lazy = matched_filter_series(
        series.chunk({"channel": 1}), density=density.chunk({"channel": 2}), **options
    )

    alone = matched_filter_series(series[1], density=density[1].drop_vars("channel"), **options)
    np.testing.assert_allclose(found[1], alone)
    xr.testing.assert_allclose(lazy.compute(), found)


def test_peaks_are_scipys(series: xr.DataArray) -> None:
    """Rows are scipy's peaks, channel by channel, with their heights, prominences and widths."""
    found: Any = find_peaks_series(series, height=0.5, prominence=2, distance=5)

    assert list(found.columns) == ["channel", "t", "height", "prominence", "width"]
    row = 0
    for name, values in zip(series.channel.values, series.values, strict=True):
        index, measured = scipy.signal.find_peaks(
            values, height=0.5, prominence=2, distance=5, width=0
        )
        own = found[row : row + index.size]
        row += index.size
        assert set(own.channel) == {name}
        assert (abs(own.t.to_numpy() - series.t.values[index]) < 0.5 / RATE).all()
        np.testing.assert_array_equal(own.height, values[index])
        np.testing.assert_allclose(own.prominence, measured["prominences"])
        np.testing.assert_allclose(own.width, measured["widths"] / RATE)
    assert row == len(found) > 30


@pytest.mark.parametrize("distance", [1, 4])
def test_many_short_series_have_the_peaks_of_each(rng: np.random.Generator, distance: int) -> None:
    """Equal samples, gaps, edges that are the highest: nothing is seen of the series beside it."""
    values = rng.integers(0, 4, (9000, 9)).astype(np.float64)
    values[rng.random(values.shape) < 0.1] = np.nan
    series = xr.DataArray(values, dims=("channel", "t"))

    found: Any = find_peaks_series(series, distance=distance)

    assert len(found) > 9000
    for channel in (0, 1, 6552, 6553, 6554, 8999):
        alone: Any = find_peaks_series(series[channel], distance=distance)
        own = found[found.channel == channel].drop(columns="channel").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone)


def test_peaks_are_refined_between_samples() -> None:
    """The top of a wave is found to a hundredth of a sample, on numbers and on times."""
    wave = np.cos(2 * np.pi * (np.arange(100) - 30.3) / 25)
    times = np.datetime64("2026-01-01", "ns") + np.arange(100) * np.timedelta64(10, "ms")

    on_numbers: Any = find_peaks_series(
        xr.DataArray(wave, dims="t", coords={"t": 5 + 0.01 * np.arange(100)})
    )
    on_times: Any = find_peaks_series(xr.DataArray(wave, dims="t", coords={"t": times}))
    on_samples: Any = find_peaks_series(xr.DataArray(wave, dims="t"))
    backwards: Any = find_peaks_series(
        xr.DataArray(wave, dims="t", coords={"t": -0.01 * np.arange(100)})
    )

    np.testing.assert_allclose(on_samples.t, [5.3, 30.3, 55.3, 80.3], atol=0.01)
    np.testing.assert_allclose(on_numbers.t, 5 + 0.01 * on_samples.t)
    np.testing.assert_allclose(backwards.t, -0.01 * on_samples.t)
    apart = (on_times.t - times[0]) / np.timedelta64(10, "ms")
    np.testing.assert_allclose(apart, on_samples.t, atol=1e-6)
    np.testing.assert_allclose(on_times.width, 0.01 * on_samples.width)


def test_peaks_lazily_and_with_gaps(series: xr.DataArray) -> None:
    """Tables from chunks add up to the eager one; a NaN is the least value, and all may be NaN."""
    series[1, 100:110] = np.nan
    series[2] = np.nan
    eager: Any = find_peaks_series(series, prominence=2)

    lazy: Any = find_peaks_series(series.chunk({"channel": 2, "t": 300}), prominence=2)

    assert set(eager.channel) == {"H", "L"}
    pd.testing.assert_frame_equal(lazy.compute().reset_index(drop=True), eager)
    low = series[:2].fillna(float(series[1].min()))
    pd.testing.assert_frame_equal(eager, find_peaks_series(low, prominence=2))  # type: ignore[arg-type]


def test_block_functions_use_what_every_library_has(xp: Any, rng: np.random.Generator) -> None:
    """Strict arrays on a device of their own give what NumPy gives."""
    x, density = rng.normal(size=(2, 64)), rng.uniform(1, 2, 9)
    where = grid(np.linspace(0, 0.5, 9), 64, 1.0)
    for function, options in (
        (whitened, {"taper": 0.2}),
        (signal_to_noise, {"taper": 0.2, "template": np.ones(5), "known": False}),
    ):
        given: Any = {"where": where, "step": 1.0, **options}
        found = xp.host(function(xp.array(x), xp.array(density), **given))
        np.testing.assert_allclose(found, function(x, density, **given), atol=1e-10)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda s: filter_series(s), "nothing to do: give low, high or both"),
        (lambda s: filter_series(s, high=256), "high is 256, but must be below 256"),
        (lambda s: filter_series(s, low=50, high=40), "high is 40"),
        (lambda s: filter_series(s, low=0), "low is 0"),
        (lambda s: filter_series(s, low=5, order=0), "order is 0"),
        (lambda s: filter_series(s, low=5, order=50), "order is 50, but must be at most 20"),
        (lambda s: filter_series(s, low=5, taps=8), "taps is 8, but must be an odd"),
        (lambda s: filter_series(s[:, :9], low=5), "order=4 needs at least 16"),
        (lambda s: filter_series(s, low=5, method="fir", taps=1001), "taps=1001 needs at least"),
        (
            lambda s: filter_series(s, low=5, phase="odd"),  # type: ignore[arg-type]
            "phase is 'odd'",
        ),
        (lambda s: filter_series(s, low=5, dim="z"), "'z' is needed"),
        (lambda s: filter_series(s.isel(t=[0, 1, 5]), low=5), "has steps from"),
        (lambda s: welch(s, segment=1001), "segment=1001 needs at least 1001"),
        (lambda s: welch(s, segment=10, overlap=1), "overlap is 1, but must be below 1"),
        (lambda s: welch(s.astype(complex), segment=10), "series is of dtype complex128"),
        (lambda s: whiten(s), "give density or segment"),
        (lambda s: whiten(s, segment=9, taper=2), "taper is 2"),
        (lambda s: whiten(s, density=s), "'freq_t' is needed"),
        (lambda s: whiten(s, density=FLAT.drop_vars("freq_t")), "no ascending frequencies"),
        (lambda s: whiten(s, density=FLAT.expand_dims(run=2)), "'run' that series has not"),
        (lambda s: whiten(s, density=FLAT.expand_dims(channel=2)), "density has 2 values along"),
        (
            lambda s: matched_filter_series(s, template=BURST, density=FLAT, low=60.1, high=60.2),
            "no frequency of series from 60.1 to 60.2",
        ),
        (
            lambda s: matched_filter_series(s, template=s, density=FLAT),
            "template has the sizes",
        ),
        (
            lambda s: matched_filter_series(s, template=0 * BURST, density=FLAT),
            "template must be finite and not all zero",
        ),
        (
            lambda s: matched_filter_series(
                s, template=BURST.assign_coords(t=np.arange(200.0)), density=FLAT
            ),
            "template has steps of 1 along 't'",
        ),
        (lambda s: find_peaks_series(s, distance=0), "distance is 0"),
        (lambda s: find_peaks_series(s, prominence=-1), "prominence is -1"),
        (lambda s: find_peaks_series(s.rename(t="width"), dim="width"), "called like a column"),
    ],
)
def test_what_cannot_be_done_is_refused(series: xr.DataArray, operation: Any, message: str) -> None:
    """A parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        operation(series)
