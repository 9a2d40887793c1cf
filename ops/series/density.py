"""The power spectral density of time series, averaged over segments."""

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import xarray as xr

from forebay.ops._arrays import Array, as_result, finite_or_nan, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import PREFIX, spacing
from forebay.ops.spectra.segments import cut_into, mean_density


def welch(
    series: xr.DataArray,
    *,
    segment: int,
    overlap: float = 0.5,
    window: Literal["hann", "blackman", "boxcar"] = "hann",
    detrend: Literal["mean", "linear"] | None = "mean",
    average: Literal["mean", "median"] = "mean",
    dim: Hashable = "t",
) -> xr.DataArray:
    """Return the power spectral density along `dim`, averaged over segments.

    Parameters
    ----------
    series
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    segment
        Samples in a segment, at least 2. The steps of frequency are the sampling rate over it.
    overlap
        Part of a segment that the next one shares with it, from 0 to below 1.
    window
        What each segment is faded in and out by; ``"boxcar"`` does not.
    detrend
        What is taken out of each segment first: its ``"mean"``, a ``"linear"`` trend, or nothing.
    average
        ``"mean"``, or ``"median"``, which a short disturbance does not change much; its bias for
        noise is taken out.
    dim
        The dimension of time.

    Returns
    -------
    xarray.DataArray
        With ``freq_t`` in the place of ``t``, last, from zero to half the sampling rate, in cycles
        per unit of the coordinate (per second for times, per sample where there is none); name and
        attributes of `series`, but for ``units``; float32, or float64 for float64 series.

    Raises
    ------
    OperationError
        If the dimension is missing, the dtype is not real, the coordinate has irregular steps, a
        parameter is out of range, or the series is shorter than a segment.

    Notes
    -----
    P. D. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967), as ``scipy.signal.welch`` has it.
    The density is one-sided, in squared units of `series` per unit of frequency: its sum times the
    step is the variance. The last samples, where they fill no segment, are left out. A NaN or
    infinite value makes NaN of the series's density. Densities below 1e-38 need float64: convert
    the strain of a gravitational-wave detector first.

    Dask chunks that cut through `dim` are merged, lazily. Needs about six times the series in
    float64 as scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> noise = np.random.default_rng(1).normal(0, 2, 100_000)
    >>> series = xr.DataArray(noise, dims="t", coords={"t": np.arange(noise.size) / 1000})
    >>> density = welch(series, segment=1000)
    >>> float(density[1:-1].mean().round(4)), 2 * 2**2 / 1000
    (0.008, 0.008)
    """
    check_frames(series, [dim], name="series")
    check_choice("window", window, ("hann", "blackman", "boxcar"))
    check_choice("detrend", detrend, ("mean", "linear", None))
    check_choice("average", average, ("mean", "median"))
    length = check_whole("segment", segment, least=2)
    check_kernel(series, [dim], length, f"segment={segment}", remedy="use a shorter one")
    if check_number("overlap", overlap, least=0) >= 1:
        raise OperationError(f"overlap is {overlap!r}, but must be below 1; 0.5 is usual")
    step, unit = spacing(series, dim)
    kwargs: dict[str, Any] = {
        "cut": cut_into(
            series.sizes[dim], length, overlap, None if window == "boxcar" else window, detrend
        ),
        "step": step,
        "average": average,
    }
    name = f"{PREFIX}{dim}"
    result = apply(
        segment_density,
        series,
        [dim],
        dtype=real_dtype(series.dtype),
        new_sizes={name: length // 2 + 1},
        kwargs=kwargs,
    )
    result.attrs = {key: value for key, value in result.attrs.items() if key != "units"}
    frequencies = np.fft.rfftfreq(length, step)
    return result.assign_coords({name: (name, frequencies, {"units": unit})})


def segment_density(array: Array, **options: Any) -> Array:
    """Return the one-sided density along the last axis, found in float64."""
    return as_result(mean_density(finite_or_nan(array), **options), array)
