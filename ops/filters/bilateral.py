"""Smoothing that stops at edges: a mean over pixels that are near in place and in value."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr

from forebay.ops._arrays import Array, namespace
from forebay.ops._checks import check_frames, check_kernel, check_number
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.gaussian import kernel_radius
from forebay.ops.filters.parts import in_parts
from forebay.ops.filters.shifts import offsets, padded, shifted


def bilateral_filter(
    frames: xr.DataArray,
    *,
    sigma: float,
    value_sigma: float,
    truncate: float = 3.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the mean around each pixel, weighted by nearness in place and in value.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    sigma
        Standard deviation of the Gaussian of the distance, pixels, above 0.
    value_sigma
        Standard deviation of the Gaussian of the difference, in the unit of `frames`, above 0:
        two or three times the noise. Steps much larger than this stay.
    truncate
        Where the neighbourhood, a square, ends, in `sigma`.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 5e-7 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the neighbourhood.

    Notes
    -----
    With the pixels p and q, at x and with the values f, the result is
    ``Σ w f(q) / Σ w`` with ``w = exp(-|x(p) - x(q)|² / 2 sigma²) exp(-(f(p) - f(q))² / 2
    value_sigma²)``: Tomasi and Manduchi, Proc. ICCV, 839 (1998). The cost grows with the square of
    `sigma`.

    Beyond the edge the frame goes on with its outermost pixel. A NaN makes NaN of all pixels
    within ``truncate * sigma`` along each axis.

    Dask chunks may cut through `dims`: each task borrows the rim that it needs from its
    neighbours, and the result is the eager one, bit for bit. A task works on a few
    frames at a time, for which it needs about eight times their float32 bytes as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> step = xr.DataArray(np.repeat([[0.0, 100.0]], 16, axis=1).repeat(16, 0), dims=("y", "x"))
    >>> bool(abs(bilateral_filter(step, sigma=2, value_sigma=5) - step).max() < 1e-6)
    True
    """
    check_frames(frames, dims)
    sigma = check_number("sigma", sigma, above=0)
    reach = kernel_radius(sigma, check_number("truncate", truncate, above=0))
    check_kernel(frames, dims, 2 * reach + 1, f"sigma={sigma:g}")
    kwargs: dict[str, Any] = {
        "sigma": sigma,
        "value_sigma": check_number("value_sigma", value_sigma, above=0),
        "reach": reach,
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
    }
    return apply_with_rim(bilateral, frames, dict.fromkeys(dims, reach), kwargs=kwargs)


def bilateral(
    array: Array, *, sigma: float, value_sigma: float, reach: int, axes: Sequence[int]
) -> Array:
    """Return the weighted mean over a square of ``2 * reach + 1`` pixels along `axes`.

    It is taken of the differences to the middle pixel, which are small where they weigh.
    """

    def mean(real: Array) -> Array:
        xp = namespace(real)
        # Such that what is to the power of e is a difference squared.
        unit = math.sqrt(2) * value_sigma
        scaled = real / unit
        around = padded(scaled, reach, axes)
        total, weights = xp.zeros_like(real), xp.zeros_like(real)
        for offset in offsets(reach, axes):
            far = sum(step**2 for step in offset.values()) / (2 * sigma**2)
            difference = shifted(around, offset, reach) - scaled
            weight = xp.exp(-far - difference * difference)
            difference *= weight
            total += difference
            weights += weight
        return real + total / weights * unit

    return in_parts(mean, array, axes)
