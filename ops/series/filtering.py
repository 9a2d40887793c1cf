"""Keeping a band of frequencies of time series."""

from collections.abc import Hashable
from typing import Any, Literal

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import (
    Array,
    as_result,
    finite_or_nan,
    namespace,
    ndimage,
    real_dtype,
    signal,
)
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import spacing

HIGHEST_ORDER = 20


def filter_series(
    series: xr.DataArray,
    *,
    low: float | None = None,
    high: float | None = None,
    method: Literal["butterworth", "fir"] = "butterworth",
    order: int = 4,
    taps: int = 255,
    phase: Literal["zero", "causal"] = "zero",
    dim: Hashable = "t",
) -> xr.DataArray:
    """Keep what varies with frequencies from `low` to `high`.

    Parameters
    ----------
    series
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    low, high
        The band, in cycles per unit of the coordinate along `dim` (per second for times, per
        sample where there is none), below half the sampling rate; None for no limit.
    method
        ``"butterworth"``, an infinite impulse response, or ``"fir"``, a finite one: a windowed
        sinc of `taps`.
    order
        Of the Butterworth filter.
    taps
        Length of the finite response, samples, odd; it takes some ``3.3 / taps`` of the sampling
        rate from the band to what is stopped.
    phase
        ``"zero"`` leaves everything at its time. ``"causal"`` uses past samples only, and delays
        by the response, ``taps // 2`` samples for a finite one.
    dim
        The dimension of time.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name, attributes and unit of `series`; float32, or float64 for
        float64 series. Work is in float64.

    Raises
    ------
    OperationError
        If the dimension is missing, the dtype is not real, the coordinate has irregular steps, a
        parameter is out of range, or the series is shorter than the filter needs.

    Notes
    -----
    The Butterworth filter runs as second-order sections (``scipy.signal.sosfiltfilt``,
    ``sosfilt``). With zero phase it runs forth and back: the gain is the square, a quarter of the
    power at the limits instead of half of it. At its ends the series is continued by its point
    reflection (zero phase), or as if its first value had always been there (causal). The finite
    response is that of ``scipy.signal.firwin`` with a Hamming window, half the amplitude at the
    limits; beyond its ends the series goes on with its outermost values.

    A NaN or infinite value makes NaN of the samples within the finite response, of all after it
    (causal), or of the whole series (zero phase).

    Dask chunks that cut through `dim` are merged, lazily, since a response has no end. Needs about
    four times the series in float64 as scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = np.arange(1000) / 100
    >>> slow, fast = np.sin(2 * np.pi * t), np.sin(2 * np.pi * 20 * t)
    >>> series = xr.DataArray(slow + fast, dims="t", coords={"t": t})
    >>> kept = filter_series(series, high=5)
    >>> bool(abs(kept - slow)[100:-100].max() < 0.01)
    True
    """
    check_frames(series, [dim], name="series")
    check_choice("method", method, ("butterworth", "fir"))
    check_choice("phase", phase, ("zero", "causal"))
    check_whole("order", order, least=1)
    check_whole("taps", taps, least=3, odd=True)
    if order > HIGHEST_ORDER:
        raise OperationError(f"order is {order}, but must be at most {HIGHEST_ORDER}")
    rate = 1 / spacing(series, dim)[0]
    limits, kind = band(low, high, rate)
    # Not before it is needed: it takes a second to load.
    import scipy.signal

    kwargs: dict[str, Any] = {"zero_phase": phase == "zero"}
    if method == "fir":
        check_kernel(series, [dim], taps, f"taps={taps}", remedy="use fewer taps")
        keep_zero = kind in ("lowpass", "bandstop")
        weights = scipy.signal.firwin(taps, limits, fs=rate, pass_zero=keep_zero)
        kwargs["weights"] = tuple(weights.tolist())
        function: Any = finite_response
    else:
        sections = scipy.signal.butter(order, limits, kind, fs=rate, output="sos")
        kwargs["sections"] = tuple(tuple(row) for row in sections.tolist())
        check_kernel(
            series, [dim], 6 * len(sections) + 4, f"order={order}", remedy="use a lower order"
        )
        function = recursive_response
    return apply(function, series, [dim], dtype=real_dtype(series.dtype), kwargs=kwargs)


def band(low: float | None, high: float | None, rate: float) -> tuple[Any, str]:
    """Return the limits of a band and what scipy calls it; `rate` is that of the samples."""
    if low is None and high is None:
        raise OperationError("nothing to do: give low, high or both")
    floor = 0.0
    for name, value in (("low", low), ("high", high)):
        if value is not None:
            floor = check_number(name, value, above=floor)
            if floor >= rate / 2:
                raise OperationError(
                    f"{name} is {value:g}, but must be below {rate / 2:g}, half the sampling rate"
                )
    if low is not None and high is not None:
        return (float(low), float(high)), "bandpass"
    return floor, "lowpass" if low is None else "highpass"


def recursive_response(
    array: Array, *, sections: tuple[tuple[float, ...], ...], zero_phase: bool
) -> Array:
    """Return `array` through second-order `sections` along the last axis."""
    xp, filters = namespace(array), signal(array)
    wide = finite_or_nan(array)
    given = xp.asarray(sections, dtype=xp.float64, device=device(array))
    if zero_phase:
        return as_result(filters.sosfiltfilt(given, wide, axis=-1), array)
    state = xp.asarray(filters.sosfilt_zi(given))
    first = wide[..., :1]
    shape = (state.shape[0], *(1,) * (array.ndim - 1), 2)
    start = xp.reshape(state, shape) * first[None, ...]
    filtered, _ = filters.sosfilt(given, wide, axis=-1, zi=start)
    return as_result(filtered, array)


def finite_response(array: Array, *, weights: tuple[float, ...], zero_phase: bool) -> Array:
    """Return `array` convolved with `weights`, which are symmetric, along the last axis."""
    xp, filters = namespace(array), ndimage(array)
    wide = finite_or_nan(array)
    kernel = xp.asarray(weights, dtype=xp.float64, device=device(array))
    # Shifted by half its length, the response reaches into the past only.
    origin = 0 if zero_phase else len(weights) // 2
    return as_result(filters.correlate1d(wide, kernel, -1, mode="nearest", origin=origin), array)
