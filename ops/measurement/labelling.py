"""Pixels that touch each other, numbered as one region, also across the seams of chunks."""

from collections.abc import Hashable, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, empty_like_chunk, namespace, ndimage
from forebay.ops._blocks import apply, replaced
from forebay.ops._checks import check_frames, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.measurement.seams import Part, merged_numbers, part_edges, seam_sizes


def label(
    mask: xr.DataArray, *, connectivity: int = 1, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Give each connected region of `mask` a number.

    Parameters
    ----------
    mask
        Bool, integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
        A pixel belongs to a region if it is neither zero nor NaN.
    connectivity
        How many of its indices may differ, each by one, between a pixel and its neighbour: 1 for
        those that share a side, ``len(dims)`` for all, corners too.
    dims
        The dimensions along which pixels are neighbours. ``("y", "x")`` numbers each frame anew;
        ``("t", "y", "x")`` follows regions through the frames.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `mask`, but for ``units``; int32 (int64
        beyond 2**31 pixels): 0 for the ground, and 1, 2, ... for the regions in the order of their
        first pixels, going through `dims` with the last one fastest. That is the numbering of
        ``scipy.ndimage.label``.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, or `connectivity` is out of range.

    Notes
    -----
    Dask chunks may cut through `dims`: each is numbered on its own, the pixels along both sides of
    its seams and the first pixel of each region are brought together, regions that touch across a
    seam are united (the connected components of the graph of all such pairs), and each chunk is
    numbered again. All four steps are tasks; nothing is computed when the graph is built. The
    result is the eager one, whatever the chunks are. Since numbers depend on all chunks along
    `dims`, none of them is ready before all have been read; with whole frames in a chunk there is
    nothing to bring together, and each is on its own.

    The task that brings the seams together holds two layers of pixels for each seam, int64, and
    ten numbers for each region, on the host. Others need about three times their chunk in int32.

    What is NaN is not above anything: ``frames > threshold`` leaves it out of all regions.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> mask = xr.DataArray(np.array([[1, 0, 1, 1], [1, 0, 0, 1]]), dims=("y", "x"))
    >>> label(mask.chunk({"y": 1, "x": 3})).values
    array([[1, 0, 2, 2],
           [1, 0, 0, 2]], dtype=int32)
    """
    check_frames(as_numbers(mask), dims, name="mask")
    frames = mask
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a region")
    if check_whole("connectivity", connectivity, least=1) > len(dims):
        raise OperationError(
            f"connectivity is {connectivity}, but must be at most {len(dims)}, the number of dims"
        )
    size = int(np.prod([frames.sizes[dim] for dim in dims]))
    dtype = np.dtype(np.int32 if size < 2**31 else np.int64)
    kwargs: dict[str, Any] = {
        "ndim": len(dims),
        "connectivity": int(connectivity),
        "result": dtype.name,
    }
    seams = [dim for dim in dims if frames.chunks and len(frames.variable.chunksizes[dim]) > 1]
    if seams:
        leading = [dim for dim in frames.dims if dim not in dims]
        turned = frames.transpose(*leading, *dims)
        data = _lazily(turned.data, dtype, kwargs)
        result = replaced(turned, data).transpose(*frames.dims)
    else:
        result = apply(numbered, frames, dims, dtype=dtype, kwargs=kwargs)
    result.attrs = {key: value for key, value in result.attrs.items() if key != "units"}
    return result


def as_numbers(mask: Any) -> Any:
    """Return `mask` as small integers if it is an array of truth values, else as it is."""
    boolean = isinstance(mask, xr.DataArray) and mask.dtype == np.bool_
    return mask.astype(np.uint8) if boolean else mask


def numbered(array: Array, *, ndim: int, connectivity: int, result: str) -> Array:
    """Return the numbers of the regions along the last `ndim` axes, from one for each."""
    xp, filters = namespace(array), ndimage(array)
    foreground = array
    if xp.isdtype(array.dtype, "real floating"):
        foreground = (array != 0) & ~xp.isnan(array)
    touching = np.asarray(
        [sum(offset != 1 for offset in place) <= connectivity for place in np.ndindex((3,) * ndim)]
    )
    structure = xp.asarray(touching.reshape((3,) * ndim), device=device(array))
    labels = xp.empty(array.shape, dtype=getattr(xp, result), device=device(array))
    for place in product(*map(range, array.shape[: array.ndim - ndim])):
        frame = (*place, ...)
        filters.label(foreground[frame], structure=structure, output=labels[frame])
    return labels


def renumbered(numbers: Array, new: Any, place: tuple[int, ...], ndim: int) -> Array:
    """Return `numbers` of the part at `place` as the numbers of whole regions, from `new`."""
    xp = namespace(numbers)
    tables = new[place]
    flat = xp.reshape(numbers, (-1, *numbers.shape[numbers.ndim - ndim :]))
    result = xp.empty_like(flat)
    for index, table in enumerate(tables):
        entries = xp.asarray(table, dtype=numbers.dtype, device=device(numbers))
        frame = flat[index, ...]
        chosen = xp.take(entries, xp.reshape(frame, (-1,)), axis=0)
        result[index, ...] = xp.reshape(chosen, frame.shape)
    return xp.reshape(result, numbers.shape)


def _lazily(data: Any, dtype: np.dtype[Any], kwargs: dict[str, Any]) -> Any:
    """Return the numbers of the regions of a Dask array along its last axes."""
    import dask.array as da
    from dask.delayed import delayed

    ndim = kwargs["ndim"]
    parts = data.map_blocks(numbered, dtype=dtype, meta=empty_like_chunk(data, dtype), **kwargs)
    blocks = parts.to_delayed()
    edges = delayed(part_edges, pure=True)
    merge = delayed(merged_numbers, pure=True)
    number = delayed(renumbered, pure=True)
    starts = [np.cumsum((0, *lengths)).tolist() for lengths in data.chunks]
    sizes = tuple(data.shape[data.ndim - ndim :])
    results = np.empty(blocks.shape, dtype=object)
    for lead in np.ndindex(blocks.shape[: data.ndim - ndim]):
        places = list(np.ndindex(blocks.shape[data.ndim - ndim :]))
        own: list[Part] = []
        for place in places:
            origin = tuple(
                start[at] for start, at in zip(starts[data.ndim - ndim :], place, strict=True)
            )
            own.append(edges(blocks[lead + place], origin, sizes))
        new = merge(
            places, own, seam_sizes(data.chunks[data.ndim - ndim :]), kwargs["connectivity"]
        )
        for place in places:
            whole = lead + place
            shape = tuple(lengths[at] for lengths, at in zip(data.chunks, whole, strict=True))
            results[whole] = da.from_delayed(  # type: ignore[no-untyped-call]
                number(blocks[whole], new, place, ndim),
                shape=shape,
                dtype=dtype,
                meta=empty_like_chunk(data, dtype),
            )
    whole_array = da.block(results.tolist())  # type: ignore[no-untyped-call]
    # Putting blocks together forgets which library they are of.
    meta = empty_like_chunk(data, dtype)
    return da.Array(  # type: ignore[no-untyped-call]
        whole_array.dask, whole_array.name, whole_array.chunks, meta=meta
    )
