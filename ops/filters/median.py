"""The median of each pixel's neighbourhood, which outliers do not move."""

from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr

from forebay.ops._arrays import Array, as_real
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.footprint import Footprint, check_footprint, ranked, spreading_nan


def median_filter(
    frames: xr.DataArray,
    *,
    size: int,
    footprint: Footprint = "square",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the median of the pixels around each pixel.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the neighbourhood, pixels across, odd.
    footprint
        ``"square"``, or ``"disc"``: the pixels whose centres are within ``size // 2`` of the
        middle.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames. Exact: every value is one of the frame.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is not allowed, or the
        frames are smaller than the neighbourhood.

    Notes
    -----
    Beyond the edge the frame goes on with its outermost pixel. A NaN makes NaN of all pixels whose
    neighbourhood holds it. Integers are ranked as integers; of 32 and 64 bits they lose what
    float32 cannot hold.

    Dask chunks may cut through `dims`: each task borrows ``size // 2`` pixels from its neighbours,
    and the result is the eager one, bit for bit. A task needs about one and a
    half times its chunk in float32 as scratch.

    Tukey, Exploratory Data Analysis, chapter 7 (1977).

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.full((5, 5), 7, "uint16"), dims=("y", "x"))
    >>> frame[2, 2] = 900
    >>> float(median_filter(frame, size=3).max())
    7.0
    """
    size = check_footprint(frames, size, footprint, dims)
    kwargs: dict[str, Any] = {
        "size": size,
        "footprint": footprint,
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
    }
    return apply_with_rim(local_median, frames, dict.fromkeys(dims, size // 2), kwargs=kwargs)


def local_median(array: Array, **shape: Any) -> Array:
    """Return the median under the footprint that `ranked` takes; NaN where it holds a NaN."""
    return as_real(
        spreading_nan(
            lambda known: ranked(known, "median", **shape),
            array,
            lambda mask: ranked(mask, "maximum", **shape),
        )
    )
