"""Time series in the frequency domain, weighed by the density of their noise."""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, finite_or_nan, namespace
from forebay.ops._blocks import whole
from forebay.ops._checks import check_frames
from forebay.ops.errors import OperationError
from forebay.ops.spectra.frequency import PREFIX


class Grid(NamedTuple):
    """Where on the frequencies of a density those of a series lie."""

    below: npt.NDArray[np.intp]
    """Index of the next lower one."""
    part: npt.NDArray[np.float64]
    """How far towards the next higher one."""
    used: npt.NDArray[np.bool_]
    """Whether the frequency is used at all."""


def checked_density(
    density: xr.DataArray, series: xr.DataArray, dim: Hashable, unit: str
) -> xr.DataArray:
    """Return `density`, whole along its frequencies, if it is one of `series`."""
    name = f"{PREFIX}{dim}"
    check_frames(density, [name], name="density")
    extra = [other for other in density.dims if other != name and other not in series.dims]
    if extra:
        raise OperationError(
            f"density has a dimension {extra[0]!r} that series has not; average over it first"
        )
    for other in density.dims:
        if other != name and density.sizes[other] != series.sizes[other]:
            raise OperationError(
                f"density has {density.sizes[other]} values along {other!r}, but series has "
                f"{series.sizes[other]}"
            )
    frequencies = density[name].to_numpy() if name in density.coords else np.empty(0)
    if frequencies.size < 2 or frequencies[0] < 0 or not (np.diff(frequencies) > 0).all():
        raise OperationError(
            f"density has no ascending frequencies along {name!r}, from zero on; use what welch "
            "gives"
        )
    own = density[name].attrs.get("units", unit)
    if own != unit:
        raise OperationError(f"density is in {own}, but series is sampled in {unit}; convert it")
    return whole(density, [name]).transpose(..., name)


def grid(
    frequencies: npt.NDArray[np.float64],
    size: int,
    step: float,
    low: float | None = None,
    high: float | None = None,
) -> Grid:
    """Return where the frequencies of `size` samples lie among `frequencies`.

    Zero and, of an even number of samples, half the sampling rate are not used. Of the density at
    zero, which lacks the mean, nothing is used either, where there are others to go by.
    """
    own = np.fft.rfftfreq(size, step)
    first = 1 if frequencies[0] == 0 and frequencies.size > 2 else 0
    at = np.clip(np.searchsorted(frequencies, own, side="right") - 1, first, frequencies.size - 2)
    part = (own - frequencies[at]) / (frequencies[at + 1] - frequencies[at])
    used = own > 0
    used[own >= (0.5 - 1e-9) / step] = False
    used &= own >= (0 if low is None else low)
    used &= own <= (np.inf if high is None else high)
    return Grid(at, np.clip(part, 0, 1), used)


def interpolated_inverse(density: Array, array: Array, where: Grid) -> Array:
    """Return one over `density` at the frequencies of a series; 0 where it is not above 0.

    It is brought to where `array` is: a density on the host will do for series on a GPU.
    """
    xp, here = namespace(array), device(array)
    density = xp.asarray(density, device=here)
    below = xp.asarray(where.below, device=here)
    part = xp.asarray(where.part, device=here)
    wide = xp.astype(density, xp.float64)
    lower, upper = xp.take(wide, below, axis=-1), xp.take(wide, below + 1, axis=-1)
    value = lower + part * (upper - lower)
    good = (value > 0) & xp.asarray(where.used, device=here)
    inverse = 1 / xp.where(good, value, xp.ones_like(value))
    inverse = xp.where(xp.isnan(value), value, inverse)
    return xp.where(good | xp.isnan(value), inverse, xp.zeros_like(value))


def tapered(array: Array, taper: float) -> Array:
    """Return `array` in float64 less its mean, faded out at both ends of its last axis.

    `taper` is the part of it that is faded, both ends together: Tukey's window.
    """
    xp = namespace(array)
    wide = finite_or_nan(array)
    wide = wide - xp.mean(wide, axis=-1, keepdims=True)
    size = array.shape[-1]
    ramp = int(taper * size / 2)
    if ramp == 0:
        return wide
    weights = np.ones(size)
    weights[:ramp] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
    weights[size - ramp :] = weights[:ramp][::-1]
    return wide * xp.asarray(weights, device=device(array))
