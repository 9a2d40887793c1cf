"""Rows and columns that the read-out has shifted as a whole."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import xarray as xr

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_whole
from forebay.ops.correction.bad_pixels import median_of_known
from forebay.ops.errors import OperationError
from forebay.ops.filters.median import local_median


def remove_fixed_pattern(
    frames: xr.DataArray,
    *,
    along: Literal["rows", "columns", "both"] = "both",
    window: int | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` with each row, or column, shifted to the level of those around it.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    along
        ``"rows"`` takes one number from each row of pixels, ``"columns"`` from each column,
        ``"both"`` from the rows and then from the columns.
    window
        How many rows, or columns, make the level that each is shifted to, odd, at least 3: what
        is wider than half of this stays. None takes the whole frame, and so a slope of the light
        as well.
    dims
        The two dimensions of a frame: the rows are along the second.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-6 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or a parameter is not allowed.

    Notes
    -----
    The level of a row is its median, which what covers less than half of it does not move; the
    level that it is shifted to is the median of the levels, over `window` rows or over all. What
    differs from frame to frame goes as well. What is in all frames, and in each pixel its own, is
    for `subtract_dark` and `flat_field`.

    A NaN is left out of the medians and stays; a row of NaN stays. Beyond the edge the outermost
    row goes on.

    Dask chunks that cut through `dims` are merged, lazily, so that a task holds whole frames. A
    task needs about four times its chunk in float32 as scratch.

    It is ``frames - (median(row) - median(medians))``.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.full((6, 8), 10.0), dims=("y", "x"))
    >>> frame[2] += 3
    >>> frame[4, 5] = 90
    >>> remove_fixed_pattern(frame, along="rows")[2:5, 5].values.tolist()
    [10.0, 10.0, 90.0]
    """
    check_frames(frames, dims)
    check_choice("along", along, ("rows", "columns", "both"))
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but must name two dimensions")
    if window is not None:
        over = {"rows": dims[:1], "columns": dims[1:], "both": dims}[along]
        check_kernel(
            frames, over, check_whole("window", window, least=3, odd=True), f"window={window}"
        )
    kwargs: dict[str, Any] = {
        "rows": along != "columns",
        "columns": along != "rows",
        "window": window,
    }
    return apply(levelled, frames, dims, dtype=real_dtype(frames.dtype), kwargs=kwargs)


def levelled(array: Array, *, rows: bool, columns: bool, window: int | None) -> Array:
    """Return frames, along the last two axes, with their rows and columns at one level."""
    result = as_real(array)
    if rows:
        result = result - shifts(result, window)[..., None]
    if columns:
        turned = namespace(result).matrix_transpose(result)
        result = result - shifts(turned, window)[..., None, :]
    return result


def shifts(array: Array, window: int | None) -> Array:
    """Return how far the median over the last axis is from what it is around, along the next."""
    xp = namespace(array)
    levels = median_of_known(array, ~xp.isnan(array))
    known = ~xp.isnan(levels)
    usual = median_of_known(levels, known)[..., None]
    zero = xp.zeros_like(levels)
    if window is not None:
        filled = xp.where(known, levels, xp.where(xp.isnan(usual), zero, usual))
        usual = local_median(filled, size=window, footprint="square", axes=(levels.ndim - 1,))
    return xp.where(known, levels - usual, zero)
