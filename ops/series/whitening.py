"""Time series in which all frequencies are equally noisy."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._arrays import Array, as_result, namespace, real_dtype
from forebay.ops._blocks import whole
from forebay.ops._checks import check_frames, check_number
from forebay.ops.errors import OperationError
from forebay.ops.series.density import welch
from forebay.ops.series.weighting import (
    Grid,
    checked_density,
    grid,
    interpolated_inverse,
    tapered,
)
from forebay.ops.spectra.frequency import PREFIX, spacing


def whiten(
    series: xr.DataArray,
    *,
    density: xr.DataArray | None = None,
    segment: int | None = None,
    taper: float = 0.1,
    dim: Hashable = "t",
) -> xr.DataArray:
    """Divide each frequency of `series` by the amplitude that noise has there.

    Parameters
    ----------
    series
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    density
        One-sided power spectral density of the noise, as `welch` gives it; its other dimensions
        are among those of `series`. None estimates it from `series` itself.
    segment
        Samples in a segment of the estimate, the median over segments; needed without `density`.
    taper
        Part of the series that is faded in and out, both ends together, so that its jump from end
        to beginning leaks into no other frequency; 0 to 1.
    dim
        The dimension of time.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `series`, but for ``units``: noise has a
        standard deviation of one; float32, or float64 for float64 series. Work is in float64.

    Raises
    ------
    OperationError
        If the dimension is missing, the dtype is not real, the coordinate has irregular steps, a
        parameter is out of range, or `density` does not fit the series.

    Notes
    -----
    The result is the inverse transform of ``x(f) / sqrt(S(f) / (2 Δt))``, with the density S
    interpolated between its frequencies but zero, and held beyond them. Zero frequency, half the
    sampling rate, and frequencies whose density is not above zero, are taken out. The series is
    taken as periodic: do not trust as much at either end as a segment is long, besides what is
    faded.

    A NaN or infinite value makes the whole series NaN.

    Dask chunks that cut through `dim` are merged, lazily. Needs about six times the series in
    float64 as scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> noise = np.convolve(np.random.default_rng(1).normal(size=2**15), 0.9 ** np.arange(99))
    >>> white = whiten(xr.DataArray(noise, dims="t"), segment=1024)
    >>> round(float(white[2000:-2000].std()), 1)
    1.0
    """
    check_frames(series, [dim], name="series")
    check_number("taper", taper, least=0, most=1)
    step, unit = spacing(series, dim)
    if density is None:
        if segment is None:
            raise OperationError("there is no density to whiten by; give density or segment")
        density = welch(series, segment=segment, average="median", dim=dim)
    density = checked_density(density, series, dim, unit)
    name = f"{PREFIX}{dim}"
    where = grid(density[name].to_numpy().astype(np.float64), series.sizes[dim], step)
    return on_series(
        whitened,
        series,
        density,
        dim,
        kwargs={"where": where, "step": step, "taper": float(taper)},
    )


def whitened(array: Array, density: Array, *, where: Grid, step: float, taper: float) -> Array:
    """Return `array` whitened by `density` along the last axes of both."""
    xp = namespace(array)
    size = array.shape[-1]
    gain = xp.sqrt(2 * step * interpolated_inverse(density, array, where))
    waves = xp.fft.rfft(tapered(array, taper), axis=-1) * gain
    return as_result(xp.fft.irfft(waves, n=size, axis=-1), array)


def on_series(
    function: Any,
    series: xr.DataArray,
    density: xr.DataArray,
    dim: Hashable,
    *,
    kwargs: dict[str, Any],
) -> xr.DataArray:
    """Return `function` of each series and the density that belongs to it, a ratio without unit."""
    bare = density.variable
    result: xr.DataArray = xr.apply_ufunc(
        function,
        whole(series, [dim]),
        bare,
        input_core_dims=[[dim], [f"{PREFIX}{dim}"]],
        output_core_dims=[[dim]],
        dask="parallelized",
        output_dtypes=[real_dtype(series.dtype)],
        keep_attrs=True,
        kwargs=kwargs,
    )
    result = result.transpose(*series.dims).rename(series.name)
    result.attrs = {key: value for key, value in series.attrs.items() if key != "units"}
    return result
