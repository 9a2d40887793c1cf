"""Frequencies of a dimension: per pixel, or per unit of its coordinate."""

from collections.abc import Hashable

import numpy as np
import xarray as xr

from forebay.ops.errors import OperationError

PREFIX = "freq_"
"""What the name of a frequency dimension starts with."""

JITTER = 0.01
"""Steps of a regular coordinate differ from their mean by no more than this part of it."""


def spacing(frames: xr.DataArray, dim: Hashable) -> tuple[float, str]:
    """Return the mean step of the coordinate along `dim`, and the unit of its inverse.

    A dimension without a coordinate, or with a single value, has steps of one pixel. Times are in
    seconds.
    """
    if dim not in frames.coords or frames.sizes[dim] < 2:
        return 1.0, "cycles per pixel"
    coordinate = frames[dim]
    values = coordinate.to_numpy()
    unit = f"cycles per {coordinate.attrs.get('units', f'unit of {dim}')}"
    if values.dtype.kind in "mM":
        values = (values - values[0]) / np.timedelta64(1, "s")
        unit = "cycles per second"
    if values.dtype.kind not in "iuf":
        raise OperationError(
            f"the coordinate {dim!r} is of dtype {values.dtype}, but must be numbers or times; "
            f"use frames.drop_vars({dim!r}) for cycles per pixel"
        )
    steps = np.diff(values.astype(np.float64))
    step = float(steps.mean())
    if not np.all(np.abs(steps - step) <= JITTER * abs(step)) or step == 0:
        raise OperationError(
            f"the coordinate {dim!r} has steps from {steps.min():g} to {steps.max():g}, but a "
            f"spectrum needs regular ones, within {JITTER:.0%}; interpolate the frames, or use "
            f"frames.drop_vars({dim!r}) for cycles per pixel"
        )
    return abs(step), unit


def frequencies(size: int, step: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the frequencies of `size` samples `step` apart, ascending, zero at ``size // 2``."""
    return np.fft.fftshift(np.fft.fftfreq(size, step))
