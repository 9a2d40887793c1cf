"""Running a block function over frames, eager or Dask-backed, without computing anything."""

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from dask.array.utils import meta_from_array
from dask.graph_manipulation import clone
from dask.utils import funcname

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


def read_again(frames: xr.DataArray) -> xr.DataArray:
    """Return `frames`, whose chunks are read or made a second time where they are lazy.

    For what has to see all frames before the first one can be worked on: Dask would else hold each
    chunk, from when it is first needed until the second time.
    """
    if frames.chunks is None:
        return frames
    return replaced(frames, clone(frames.data, seed="again"))


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
    seen = [tuple(dims), *(tuple(own) for _, own in beside)]
    bound = functools.partial(function, **kwargs)

    def applied(*arrays: Array) -> Array:
        if not any(isinstance(array, dask.array.Array) for array in arrays):
            return bound(*arrays)
        return _by_blocks(bound, arrays, seen, dtype=dtype, new_sizes=new_sizes)

    result: xr.DataArray = xr.apply_ufunc(
        applied,
        frames,
        *others,
        input_core_dims=seen,
        output_core_dims=[list(dims if new_sizes is None else new_sizes)],
        dask="allowed",
        keep_attrs=True,
    )
    result = result.rename(frames.name)
    return result.transpose(*frames.dims) if new_sizes is None else result


def _by_blocks(
    function: Callable[..., Array],
    arrays: Sequence[Array],
    seen: Sequence[tuple[Hashable, ...]],
    *,
    dtype: np.dtype[Any],
    new_sizes: Mapping[Hashable, int] | None,
) -> dask.array.Array:
    """Return what a function makes of each block of arrays, the last axes of which it has `seen`.

    `dask.array.apply_gufunc`, which xarray takes, copies each block that comes to it, and ends the
    task there: what is done next is a task of its own, which holds the block that it was given.
    """
    lazy = [
        array
        if isinstance(array, dask.array.Array)
        else dask.array.from_array(array, chunks=-1, asarray=False)  # type: ignore[no-untyped-call]
        for array in arrays
    ]
    loops = [array.ndim - len(own) for array, own in zip(lazy, seen, strict=True)]
    made = seen[0] if new_sizes is None else tuple(new_sizes)
    # Each dimension that is seen whole has a number; the other axes meet at the last one, -1.
    named = list(dict.fromkeys(itertools.chain(*seen, made)))
    number = {dim: at for at, dim in enumerate(named)}
    places = [
        (*range(-loop, 0), *(number[dim] for dim in own))
        for loop, own in zip(loops, seen, strict=True)
    ]
    fresh = {number[dim]: size for dim, size in (new_sizes or {}).items() if dim not in seen[0]}
    result: dask.array.Array = dask.array.blockwise(  # type: ignore[no-untyped-call]
        _of_blocks,
        (*range(-max(loops), 0), *(number[dim] for dim in made)),
        function,
        None,
        *itertools.chain.from_iterable(zip(lazy, places, strict=True)),
        name=None,
        token=funcname(function),
        new_axes=fresh,
        dtype=dtype,
        meta=meta_from_array(lazy[0], ndim=max(loops) + len(made), dtype=dtype),  # type: ignore[no-untyped-call]
    )
    return result


def _of_blocks(function: Callable[..., Array], *blocks: Any) -> Array:
    """Return a function of blocks; of those that the result has fewer axes than, Dask makes lists."""
    return function(*map(_only, blocks))


def _only(block: Any) -> Array:
    """Return the one block of a list in a list."""
    while isinstance(block, list):
        (block,) = block
    return block


def _cut_alike(other: xr.DataArray, frames: xr.DataArray, own: Sequence[Hashable]) -> xr.DataArray:
    """Return `other`, if it is lazy, whole along its `own`, and cut as lazy `frames` are."""
    if other.chunks is None:
        return other
    lengths = (other if frames.chunks is None else frames).variable.chunksizes
    return other.chunk({dim: -1 if dim in own else lengths[dim] for dim in other.dims})
