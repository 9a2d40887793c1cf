"""Filters along t: running median and mean, FIR, exponential, IIR."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import scipy.signal
import xarray as xr

from forebay.ops import (
    OperationError,
    continue_iir_filter,
    exponential_filter,
    fir_filter,
    iir_filter,
    running_mean,
    running_median,
)
from forebay.ops.temporal.finite import weighted_sum
from forebay.ops.temporal.recursive import forgetting_mean

LOW_PASS = scipy.signal.butter(4, 0.2, output="sos")
HIGH_PASS = scipy.signal.butter(3, 0.1, "highpass", output="sos")

ALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "median": (running_median, {"window": 5}),
    "mean": (running_mean, {"window": 5}),
    "fir": (fir_filter, {"taps": [0.5, 0.2, -0.3, 0.1]}),
    "exponential": (exponential_filter, {"alpha": 0.3}),
    "iir": (iir_filter, {"sos": LOW_PASS}),
}
each = pytest.mark.parametrize(("function", "parameters"), ALL.values(), ids=ALL.keys())


@pytest.fixture
def run(rng: np.random.Generator) -> xr.DataArray:
    """Give forty small frames."""
    return xr.DataArray(
        rng.integers(0, 4000, (40, 4, 5), dtype=np.uint16), dims=("t", "y", "x"), name="intensity"
    )


def with_first_before(values: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    """Return the frames, float64, with the first one `count` times before them."""
    return np.concatenate([np.repeat(values[:1], count, axis=0), values]).astype(float)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_running_filters_are_scipys(run: xr.DataArray, window: int) -> None:
    """The median and the mean over a window are those that scipy gives along the first axis."""
    median = scipy.ndimage.median_filter(run.values, (window, 1, 1), mode="nearest")
    mean = scipy.ndimage.uniform_filter1d(run.values.astype(float), window, 0, mode="nearest")

    np.testing.assert_array_equal(running_median(run, window=window), median)
    np.testing.assert_allclose(running_mean(run.astype(float), window=window), mean, atol=1e-9)
    np.testing.assert_allclose(running_mean(run, window=window), mean, atol=1e-6 * 4000)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_a_fir_filter_is_scipys(rng: np.random.Generator, run: xr.DataArray, count: int) -> None:
    """It is lfilter, after zeros or after the first frame, for odd and even numbers of taps."""
    taps = rng.normal(size=count)
    zero = scipy.signal.lfilter(taps, 1, run.values.astype(float), axis=0)
    first = scipy.signal.lfilter(taps, 1, with_first_before(run.values, 10), axis=0)[10:]

    double = run.astype(float)
    np.testing.assert_allclose(fir_filter(double, taps=taps, before="zero"), zero, atol=1e-9)
    np.testing.assert_allclose(fir_filter(double, taps=taps), first, atol=1e-9)
    np.testing.assert_allclose(
        fir_filter(run, taps=taps), first, atol=1e-6 * 4000 * abs(taps).sum()
    )


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1])
def test_the_exponential_filter_is_scipys(run: xr.DataArray, alpha: float) -> None:
    """It is lfilter with one pole, started at the first frame."""
    start = (1 - alpha) * run.values[:1].astype(float)
    expected, _ = scipy.signal.lfilter(
        [alpha], [1, alpha - 1], run.values.astype(float), axis=0, zi=start
    )

    np.testing.assert_allclose(exponential_filter(run.astype(float), alpha=alpha), expected)
    np.testing.assert_allclose(
        exponential_filter(run, alpha=alpha), expected, atol=6e-8 / alpha * 4000
    )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_the_last_frame_continues_the_exponential_filter(
    run: xr.DataArray, dtype: str, lazy: bool
) -> None:
    """Block after block, each begun with the last frame before, is the whole run, bit for bit."""
    frames = run.astype(dtype)
    whole = exponential_filter(frames, alpha=0.1)
    given_frames = frames.chunk({"t": 5, "y": 3}) if lazy else frames

    parts, last = [], None
    for start in (0, 1, 15, 29):
        stop = {0: 1, 1: 15, 15: 29, 29: 40}[start]
        parts.append(exponential_filter(given_frames[start:stop], alpha=0.1, initial=last))
        last = parts[-1][-1]

    np.testing.assert_array_equal(xr.concat(parts, "t"), whole)
    assert all(part.name == "intensity" for part in parts)


@pytest.mark.parametrize("sos", [LOW_PASS, HIGH_PASS], ids=["low-pass", "high-pass"])
def test_an_iir_filter_is_scipys(run: xr.DataArray, sos: npt.NDArray[Any]) -> None:
    """It is sosfilt, after zeros or after the first frame for ever."""
    zero = scipy.signal.sosfilt(sos, run.values.astype(float), axis=0)
    first = scipy.signal.sosfilt(sos, with_first_before(run.values, 2000), axis=0)[2000:]

    double = run.astype(float)
    np.testing.assert_allclose(iir_filter(double, sos=sos, before="zero"), zero, atol=1e-9)
    np.testing.assert_allclose(iir_filter(double, sos=sos), first, atol=1e-6)
    np.testing.assert_allclose(iir_filter(run, sos=sos), first, atol=1e-6 * 4000)


@each
@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 3, "y": 3}, {"t": (20, 2, 18), "x": 2}])
def test_chunks_in_time_leave_no_seam(
    run: xr.DataArray, function: Any, parameters: dict[str, Any], chunks: dict[str, Any]
) -> None:
    """Chunks cut through t, even shorter than the filter, give the eager values bit for bit."""
    lazy = function(run.chunk(chunks), **parameters)

    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, function(run, **parameters))


@pytest.mark.parametrize("name", ["median", "mean", "fir"])
def test_finite_filters_keep_the_chunks(run: xr.DataArray, name: str) -> None:
    """What looks at a few frames only borrows them; nothing is rearranged."""
    function, parameters = ALL[name]
    chunked = run.chunk({"t": 8})

    assert function(chunked, **parameters).chunks == chunked.chunks


def test_recursive_filters_never_need_a_larger_chunk(run: xr.DataArray) -> None:
    """The columns of pixels that the frames are cut into hold no more than a chunk did before."""
    for function, parameters in (ALL["exponential"], ALL["iir"]):
        chunks = function(run.chunk({"t": 8}), **parameters).chunks
        assert chunks is not None
        assert int(np.prod([max(lengths) for lengths in chunks])) <= 8 * 4 * 5


@pytest.mark.parametrize(
    ("name", "frames_hit"),
    [
        ("median", range(18, 23)),
        ("mean", range(18, 23)),
        ("fir", range(20, 24)),
        ("exponential", range(20, 40)),
        ("iir", range(20, 40)),
    ],
)
def test_a_nan_stays_in_its_pixel(run: xr.DataArray, name: str, frames_hit: range) -> None:
    """A NaN makes NaN of its pixel as long as the filter remembers it, and of no other."""
    noisy = run.astype("float32")
    noisy[20, 1, 2] = np.nan
    function, parameters = ALL[name]

    expected = np.zeros(run.shape, bool)
    expected[list(frames_hit), 1, 2] = True
    np.testing.assert_array_equal(np.isnan(function(noisy, **parameters)), expected)


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block functions give on any device what they give in NumPy."""
    values = rng.normal(size=(3, 4, 20)).astype(np.float32)
    initial = rng.normal(size=(3, 4)).astype(np.float32)
    taps: dict[str, Any] = {"taps": (0.5, 0.3, 0.1), "axis": 2, "latest": 0, "mode": "nearest"}

    for result, expected in (
        (weighted_sum(xp.array(values), **taps), weighted_sum(values, **taps)),
        (forgetting_mean(xp.array(values), alpha=0.2), forgetting_mean(values, alpha=0.2)),
        (
            forgetting_mean(xp.array(values), xp.array(initial), alpha=0.2),
            forgetting_mean(values, initial, alpha=0.2),
        ),
    ):
        assert xp.host(result).dtype == np.float32
        np.testing.assert_allclose(xp.host(result), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (running_median, {"window": 4}, "window is 4, but must be an odd"),
        (running_mean, {"window": 41}, "frames has 40 pixels along 't'"),
        (running_mean, {"window": 3, "dim": "z"}, "'z' is needed"),
        (fir_filter, {"taps": []}, "taps is"),
        (fir_filter, {"taps": 3}, "taps is 3"),
        (fir_filter, {"taps": "ab"}, "taps is 'ab'"),
        (fir_filter, {"taps": [1, np.nan]}, r"taps\[1\] is np.float64\(nan\)"),
        (fir_filter, {"taps": [1, 1j]}, r"taps\[0\] is np.complex128"),
        (fir_filter, {"taps": [0.1] * 41}, "use more frames"),
        (fir_filter, {"taps": [1], "before": "last"}, "before is 'last'"),
        (exponential_filter, {"alpha": 0}, "alpha is 0"),
        (exponential_filter, {"alpha": 1.1}, "alpha is 1.1"),
        (iir_filter, {"sos": [[1, 2, 3]]}, "sos has the shape"),
        (iir_filter, {"sos": "butter"}, "sos is 'butter'"),
        (iir_filter, {"sos": [[1, 0, 0, 2, 0, 0]]}, "1 in column 3"),
        (iir_filter, {"sos": [[1, 0, 0, 1, -1, 0]]}, "section 0 of sos is not stable"),
        (iir_filter, {"sos": LOW_PASS, "before": 0}, "before is 0"),
    ],
)
def test_bad_parameters_are_named(
    run: xr.DataArray, function: Any, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        function(run, **parameters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run[:1], "its sizes are"),
        (lambda run: run, "initial has the dimension 't', but must be one frame"),
        (lambda run: run[0, 1:], "does not lie on the pixels"),
        (lambda run: run[0].rename(x="z"), "has the dimension 'z'"),
        (lambda run: run[0].values, "initial is a ndarray"),
    ],
)
def test_an_initial_frame_that_does_not_fit_is_refused(
    run: xr.DataArray, change: Any, message: str
) -> None:
    """It has to be one frame, with the pixels of the others."""
    with pytest.raises(OperationError, match=message):
        exponential_filter(run, alpha=0.5, initial=change(run))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("dtype", "before"), [("uint16", "first"), ("float64", "zero")])
def test_a_recursive_filter_goes_on_with_its_state(
    run: xr.DataArray, dtype: str, before: Any, lazy: bool
) -> None:
    """Block after block, in another order of dimensions too, is the whole in one call, bit for bit."""
    frames = run.astype(dtype).assign_coords(y=[1.0, 2, 3, 4])
    whole, _ = continue_iir_filter(frames, sos=HIGH_PASS, before=before)
    if lazy:
        frames = frames.chunk({"t": 7, "y": 2})
    state, parts = None, []
    for start, stop in ((0, 1), (1, 17), (17, 40)):
        block = frames[start:stop].transpose("y", "t", "x")
        if state is not None:
            state = state.transpose("delay", ...)
        part, state = continue_iir_filter(block, sos=HIGH_PASS, before=before, state=state)
        assert part.dims == ("y", "t", "x")
        assert (part.chunks is not None) == lazy
        parts.append(part)
    xr.testing.assert_identical(xr.concat(parts, "t").transpose("t", "y", "x").compute(), whole)


def test_a_state_of_another_filter_is_refused(run: xr.DataArray) -> None:
    """What does not fit is named, before anything is computed."""
    _, state = continue_iir_filter(run, sos=LOW_PASS)
    with pytest.raises(OperationError, match=r"state has the sizes \{'y': 4, 'x': 5, 'delay': 4\}"):
        continue_iir_filter(run, sos=HIGH_PASS[:1], state=state)
    with pytest.raises(OperationError, match="state is a ndarray, but must"):
        continue_iir_filter(run, sos=LOW_PASS, state=state.values)  # type: ignore[arg-type]
    with pytest.raises(OperationError, match="a dimension 'delay'"):
        continue_iir_filter(run.rename(y="delay"), sos=LOW_PASS)
    wrong, placed = state.assign_coords(y=[0, 1, 2, 3]), run.assign_coords(y=[1, 2, 3, 4])
    with pytest.raises(OperationError, match="does not lie on the pixels"):
        continue_iir_filter(placed, sos=LOW_PASS, state=wrong)
