"""A known wave in time series of coloured noise."""

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_result, namespace
from forebay.ops._checks import check_choice, check_frames, check_number
from forebay.ops.errors import OperationError
from forebay.ops.series.weighting import (
    Grid,
    checked_density,
    grid,
    interpolated_inverse,
    tapered,
)
from forebay.ops.series.whitening import on_series
from forebay.ops.spectra.frequency import PREFIX, spacing


def matched_filter_series(
    series: xr.DataArray,
    *,
    template: xr.DataArray,
    density: xr.DataArray,
    low: float | None = None,
    high: float | None = None,
    phase: Literal["any", "known"] = "any",
    taper: float = 0.1,
    dim: Hashable = "t",
) -> xr.DataArray:
    """Return the signal-to-noise ratio of `template` beginning at each time.

    Parameters
    ----------
    series
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    template
        The wave, one-dimensional along `dim`, on the host, sampled as `series` is and not longer.
        Its scale does not matter, nor do its times.
    density
        One-sided power spectral density of the noise, as `welch` gives it; its other dimensions
        are among those of `series`.
    low, high
        Other frequencies are left out, in the unit of those of `density`; None for no limit.
    phase
        ``"any"`` maximises over the phase of the wave: the result is a modulus. ``"known"`` takes
        it as it is: the result has a sign.
    taper
        Part of the series that is faded in and out, both ends together; 0 to 1.
    dim
        The dimension of time.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `series`, but for ``units``; float32, or
        float64 for float64 series. Work is in float64. In Gaussian noise of that density a known
        phase gives a standard deviation of one, and any phase Rayleigh's distribution, with a mean
        square of two.

    Raises
    ------
    OperationError
        If the dimension is missing, the dtype is not real, a coordinate has irregular steps, the
        template does not fit, a parameter is out of range, or nothing of the template is left
        within the band.

    Notes
    -----
    B. Allen, W. G. Anderson, P. R. Brady, D. A. Brown and J. D. E. Creighton, Phys. Rev. D 85,
    122006 (2012) (FINDCHIRP): with ``z(t) = 4 ∫ s(f) h*(f) / S(f) exp(2πift) df`` and ``σ² = 4 ∫
    |h(f)|² / S(f) df``, both over positive frequencies, the result is ``|z(t)| / σ``, or the real
    part of ``z(t) / σ``. The density is interpolated between its frequencies but zero, and held
    beyond them; frequencies where it is not above zero are left out. The series is taken as
    periodic: the last values, as many as the template is long, see its beginning, and what is faded
    counts for less.

    A NaN or infinite value makes the whole series NaN.

    Dask chunks that cut through `dim` are merged, lazily. Needs about eight times the series in
    float64 as scratch.

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> t = np.arange(4096) / 1024
    >>> wave = xr.DataArray(np.sin(2 * np.pi * 100 * t[:256]), dims="t", coords={"t": t[:256]})
    >>> noise = np.random.default_rng(1).normal(size=4096)
    >>> noise[2000:2256] += wave.values
    >>> series = xr.DataArray(noise, dims="t", coords={"t": t})
    >>> flat = xr.DataArray([2 / 1024] * 2, dims="freq_t", coords={"freq_t": [0, 512]})
    >>> ratio = matched_filter_series(series, template=wave, density=flat)
    >>> int(ratio.values.argmax()), bool(abs(ratio.max() - np.sqrt(128)) < 3)
    (2000, True)
    """
    check_frames(series, [dim], name="series")
    check_choice("phase", phase, ("any", "known"))
    check_number("taper", taper, least=0, most=1)
    if low is not None:
        check_number("low", low, least=0)
    if high is not None:
        check_number("high", high, above=low or 0)
    step, unit = spacing(series, dim)
    wave = checked_template(template, series, dim, step)
    density = checked_density(density, series, dim, unit)
    frequencies = density[f"{PREFIX}{dim}"].to_numpy().astype(np.float64)
    where = grid(frequencies, series.sizes[dim], step, low, high)
    if not where.used.any():
        raise OperationError(
            f"there is no frequency of series from {low} to {high}; use a wider band or a longer "
            "series"
        )
    kwargs: dict[str, Any] = {
        "template": wave,
        "where": where,
        "step": step,
        "taper": float(taper),
        "known": phase == "known",
    }
    return on_series(signal_to_noise, series, density, dim, kwargs=kwargs)


def checked_template(
    template: xr.DataArray, series: xr.DataArray, dim: Hashable, step: float
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return the values of `template`, its largest one scaled to one."""
    check_frames(template, [dim], name="template")
    if template.dims != (dim,) or template.sizes[dim] > series.sizes[dim]:
        raise OperationError(
            f"template has the sizes {dict(template.sizes)}, but must have {dim!r} alone, of at "
            f"most {series.sizes[dim]}"
        )
    own = spacing(template, dim)[0] if dim in template.coords else step
    if abs(own - step) > 1e-6 * step:
        raise OperationError(
            f"template has steps of {own:g} along {dim!r}, but series has {step:g}; resample it"
        )
    values = np.asarray(template.to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all() or not values.any():
        raise OperationError("template must be finite and not all zero")
    scaled: np.ndarray[tuple[int], np.dtype[np.float64]] = values / np.abs(values).max()
    return scaled


def signal_to_noise(
    array: Array,
    density: Array,
    *,
    template: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    where: Grid,
    step: float,
    taper: float,
    known: bool,
) -> Array:
    """Return the signal-to-noise ratio of `template` along the last axis of `array`."""
    xp = namespace(array)
    size = array.shape[-1]
    inverse = interpolated_inverse(density, array, where)
    wave = np.zeros(size)
    wave[: template.size] = template
    waves = xp.asarray(np.fft.rfft(wave), device=device(array)) * step
    data = xp.fft.rfft(tapered(array, taper), axis=-1) * step
    width = 1 / (size * step)
    power = 4 * width * xp.sum(xp.abs(waves) ** 2 * inverse, axis=-1, keepdims=True)
    # Negative frequencies are none, so that the transform back is z, with its phase.
    one_sided = 4 * width * data * xp.conj(waves) * inverse
    none = xp.zeros(
        (*one_sided.shape[:-1], size - one_sided.shape[-1]),
        dtype=one_sided.dtype,
        device=device(array),
    )
    full = xp.concat([one_sided, none], axis=-1)
    overlap = xp.fft.ifft(full, axis=-1) * size
    norm = xp.sqrt(xp.where(power > 0, power, xp.full_like(power, xp.nan)))
    return as_result((xp.real(overlap) if known else xp.abs(overlap)) / norm, array)
