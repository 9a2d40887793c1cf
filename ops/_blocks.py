"""Running a block function over frames, eager or Dask-backed, without computing anything."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from dask.array.utils import meta_from_array

from forebay.ops._arrays import Array


def whole(frames: xr.DataArray, dims: Sequence[Hashable]) -> xr.DataArray:
    """Return `frames` with one chunk along each of `dims`; lazy, and itself where that is so.

    The other dimensions are split, the first ones first and within the chunks that there were, so
    that no chunk holds more pixels than the largest one did, or than one pixel or frame needs.
    """
    if frames.chunks is None:
        return frames
    before = frames.variable.chunksizes
    if all(len(before[dim]) == 1 for dim in dims):
        return frames
    largest = math.prod(max(lengths) for lengths in before.values())
    room = max(largest // math.prod(frames.sizes[dim] for dim in dims), 1)
    chunks: dict[int, Any] = dict.fromkeys(range(frames.ndim), -1)
    for axis, dim in reversed(list(enumerate(frames.dims))):
        if dim not in dims:
            chunks[axis] = tuple(part for length in before[dim] for part in _parts_of(length, room))
            room = max(room // max(chunks[axis]), 1)
    data = frames.data.rechunk(chunks)
    return replaced(frames, data)


def _parts_of(length: int, most: int) -> list[int]:
    """Return a length in parts that are about the same, and none of which is longer than `most`."""
    number = -(-length // most)
    return [length * (at + 1) // number - length * at // number for at in range(number)]


def replaced(frames: xr.DataArray, data: Array) -> xr.DataArray:
    """Return `frames` with other `data`, and without the encoding, which is of the old dtype.

    Dask-backed coordinates are cut as the data are; an object whose chunks disagree cannot be
    written.
    """
    result = frames.copy(data=data)
    result.encoding = {}
    if result.chunks is None:
        return result
    chunks = result.variable.chunksizes
    return result.assign_coords(
        {
            name: coordinate.variable.chunk({dim: chunks[dim] for dim in coordinate.dims})
            for name, coordinate in frames.coords.items()
            if coordinate.chunks is not None
        }
    )


def apply(
    function: Callable[..., Array],
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    *,
    dtype: np.dtype[Any],
    new_sizes: Mapping[Hashable, int] | None = None,
    beside: Sequence[tuple[xr.DataArray, Sequence[Hashable]]] = (),
    kwargs: Mapping[str, Any],
) -> xr.DataArray:
    """Apply `function` over the last axes, which are `dims` when it is called.

    Parameters
    ----------
    function
        Gets a NumPy or CuPy array with `dims` last, those that are `beside` it, and `kwargs`.
    frames
        Eager or Dask-backed; along `dims` it is made one chunk, lazily.
    dims
        The dimensions that the function sees whole.
    dtype
        Of the result.
    new_sizes
        The dimensions that take the place of `dims`, with their sizes; None keeps `dims`.
    beside
        Other arrays, each with the dimensions of its own that the function sees whole, last. Its
        other dimensions are some of those of `frames`, and it is cut along them as they are.
    kwargs
        Parameters of the function.

    Returns
    -------
    xarray.DataArray
        With the name and attributes of `frames`, and its order of dimensions where they are
        the same.
    """
    frames = whole(frames, dims)
    others = [_cut_alike(other.drop_vars(other.coords), frames, own) for other, own in beside]
    result: xr.DataArray = xr.apply_ufunc(
        function,
        frames,
        *others,
        input_core_dims=[list(dims), *(list(own) for _, own in beside)],
        output_core_dims=[list(dims if new_sizes is None else new_sizes)],
        dask="parallelized",
        output_dtypes=[dtype],
        dask_gufunc_kwargs={"output_sizes": dict(new_sizes)} if new_sizes else {},
        keep_attrs=True,
        kwargs=dict(kwargs),
    )
    result = result.rename(frames.name)
    if result.chunks is not None:
        result = result.copy(data=_of_library(result.data, frames.data))
    return result.transpose(*frames.dims) if new_sizes is None else result


def _of_library(data: Array, before: Array) -> Array:
    """Return `data` with a meta of the library of `before`.

    Dask takes NumPy for the library of a single frame, whose dimensions are all seen whole.
    """
    meta = meta_from_array(before, ndim=data.ndim, dtype=data.dtype)  # type: ignore[no-untyped-call]
    return dask.array.Array(data.dask, data.name, data.chunks, meta=meta)  # type: ignore[no-untyped-call]


def _cut_alike(other: xr.DataArray, frames: xr.DataArray, own: Sequence[Hashable]) -> xr.DataArray:
    """Return `other`, if it is lazy, whole along its `own`, and cut as lazy `frames` are."""
    if other.chunks is None:
        return other
    lengths = (other if frames.chunks is None else frames).variable.chunksizes
    return other.chunk({dim: -1 if dim in own else lengths[dim] for dim in other.dims})
