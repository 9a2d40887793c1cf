"""A rectangle of the frames, on its own or in its place."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace
from forebay.ops._blocks import apply, replaced
from forebay.ops._checks import check_frames, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.reduction.integers import check_held

type Bounds = Mapping[Any, tuple[int, int]]
"""First pixel, and the one behind the last, along some dimensions."""


def crop(frames: xr.DataArray, *, bounds: Bounds) -> xr.DataArray:
    """Return the pixels of `frames` within `bounds`.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    bounds
        For each dimension to cut, the first index that is kept and the one behind the last.

    Returns
    -------
    xarray.DataArray
        Everything of `frames`, at those pixels; nothing is changed in them.

    Raises
    ------
    OperationError
        If a dimension is missing, or the bounds lie outside of it or hold nothing.

    Notes
    -----
    It is ``frames.isel`` with slices: exact, and a NaN stays. Works chunk by chunk with Dask,
    without scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.arange(12).reshape(3, 4), dims=("y", "x"))
    >>> crop(frames, bounds={"y": (1, 3), "x": (0, 2)}).values
    array([[4, 5],
           [8, 9]])
    """
    _check(frames, bounds)
    kept = frames.isel({dim: slice(*ends) for dim, ends in bounds.items()})
    return replaced(kept, kept.data)


def mask_outside(frames: xr.DataArray, *, bounds: Bounds, fill: float = 0) -> xr.DataArray:
    """Return `frames` with `fill` in all pixels outside of `bounds`.

    The frames keep their shape, so that they fit a run that has begun; the even area takes next
    to no space once it is compressed.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    bounds
        For each dimension to cut, the first index that is kept and the one behind the last.
    fill
        What stands outside; a value that the dtype of `frames` holds.

    Returns
    -------
    xarray.DataArray
        Everything of `frames`, with other values outside.

    Raises
    ------
    OperationError
        If a dimension is missing, the bounds lie outside of it or hold nothing, or the dtype
        cannot hold `fill`.

    Notes
    -----
    It is ``frames.where(inside, fill)``: exact, and a NaN within stays. Works chunk by chunk
    with Dask; a task needs about twice its chunk as scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.arange(12).reshape(3, 4), dims=("y", "x"))
    >>> mask_outside(frames, bounds={"y": (1, 3), "x": (0, 2)}).values
    array([[0, 0, 0, 0],
           [4, 5, 0, 0],
           [8, 9, 0, 0]])
    """
    _check(frames, bounds)
    value = check_held("fill", fill, frames.dtype)
    return apply(
        masked,
        frames,
        list(bounds),
        dtype=frames.dtype.newbyteorder("="),
        kwargs={"bounds": tuple(bounds.values()), "fill": value},
    )


def masked(array: Array, *, bounds: Sequence[tuple[int, int]], fill: float) -> Array:
    """Return `array` with `fill` outside of `bounds`, which are along the last axes."""
    xp = namespace(array)
    value = xp.asarray(fill, dtype=array.dtype, device=device(array))
    for axis, (start, stop) in enumerate(bounds, array.ndim - len(bounds)):
        position = xp.arange(array.shape[axis], device=device(array))
        inside = (position >= start) & (position < stop)
        shape = [1] * array.ndim
        shape[axis] = -1
        array = xp.where(xp.reshape(inside, tuple(shape)), array, value)
    return array


def check_bounds(dim: Hashable, size: int, bounds: tuple[int, int]) -> None:
    """Raise `OperationError` unless `bounds` hold at least one of `size` pixels, and no others."""
    start, stop = bounds
    if not 0 <= start < stop <= size:
        raise OperationError(
            f"the bounds along {dim!r} are {start} to {stop}, but frames has pixels 0 to {size} "
            "there; give the first pixel and the one behind the last"
        )


def _check(frames: xr.DataArray, bounds: Bounds) -> None:
    check_frames(frames, list(bounds))
    for dim, ends in bounds.items():
        start, stop = (check_whole(f"a bound along {dim!r}", end, least=0) for end in ends)
        check_bounds(dim, frames.sizes[dim], (start, stop))
