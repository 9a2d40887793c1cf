"""Frames in which nothing but the bright stands out of one value."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._checks import check_frames, check_number
from forebay.ops.pointwise.formulas import flattened
from forebay.ops.pointwise.one_pass import apply_pointwise
from forebay.ops.reduction.integers import check_held


def sparsify(frames: xr.DataArray, *, threshold: float, background: float = 0) -> xr.DataArray:
    """Return `frames` with `background` in each pixel that is nearer to it than `threshold`.

    With the background at 0 and frames that have no negative values, those are the pixels below
    the threshold.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    threshold
        In the unit of `frames`, above 0.
    background
        The value around which pixels are made equal; one that the dtype of `frames` holds.

    Returns
    -------
    xarray.DataArray
        Everything of `frames`, its dtype too. A pixel changes by less than `threshold`, or not at
        all. NaN stays NaN.

    Raises
    ------
    OperationError
        If the dtype of `frames` is not real or cannot hold `background`, or `threshold` is not
        above 0.

    Notes
    -----
    It is ``frames if abs(frames - background) >= threshold else background``, exact. Works
    chunk by chunk with Dask; a task needs about twice its chunk as scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[3, 97, 100, 104, 105]], "uint8"), dims=("y", "x"))
    >>> sparsify(frames, threshold=5, background=100).values
    array([[  3, 100, 100, 100, 105]], dtype=uint8)
    """
    check_frames(frames, ())
    dtype = frames.dtype.newbyteorder("=")
    low, high = background_limits(dtype, threshold, background)
    return apply_pointwise(
        flattened, frames, dtype=dtype, low=low, high=high, background=background
    )


def background_limits(
    dtype: np.dtype[Any], threshold: float, background: float
) -> tuple[float, float]:
    """Return the lowest and the highest pixel that counts as background.

    Examples
    --------
    >>> background_limits(np.dtype("uint8"), 5, 100), background_limits(np.dtype("uint8"), 5, 0)
    ((96, 104), (0, 4))
    """
    reach = check_number("threshold", threshold, above=0)
    centre = check_held("background", background, dtype)
    if dtype.kind == "f":
        return -nearest(dtype, -centre, reach), nearest(dtype, centre, reach)
    ends = np.iinfo(dtype)
    low = max(math.floor(centre - reach) + 1, int(ends.min))
    return low, min(math.ceil(centre + reach) - 1, int(ends.max))


def nearest(dtype: np.dtype[Any], centre: float, reach: float) -> float:
    """Return the highest float of `dtype` that is less than `reach` above `centre`.

    In exact numbers: a sum of floats may be rounded to either side of what it should be.

    Examples
    --------
    >>> nearest(np.dtype("float64"), 1e-100, 1.0)
    1.0
    >>> nearest(np.dtype("float64"), 0.0, 1.0)
    0.9999999999999999
    """
    end = Fraction(centre) + Fraction(reach)
    largest = np.finfo(dtype).max
    value = dtype.type(min(centre + reach, float(largest)))
    while Fraction(float(value)) >= end:
        value = np.nextafter(value, dtype.type(-np.inf))
    while value < largest and Fraction(float(above := np.nextafter(value, largest))) < end:
        value = above
    return float(value)
