"""Running a block function that looks a few pixels beyond each block, eager or Dask-backed."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._arrays import Array, empty_like_chunk, real_dtype
from forebay.ops._blocks import replaced, whole

type Rim = int | tuple[int, int]
"""How far a function looks to both sides, or before and behind."""


def apply_with_rim(
    function: Callable[..., Array],
    frames: xr.DataArray,
    rims: Mapping[Hashable, Rim],
    *,
    kwargs: Mapping[str, Any],
) -> xr.DataArray:
    """Apply `function` to blocks that borrow what they need from their neighbours.

    Parameters
    ----------
    function
        Gets a NumPy or CuPy array with the axes of `frames`, and `kwargs`; gives one of the same
        shape in `real_dtype`. Where the array ends it has to deal with that itself.
    frames
        Eager or Dask-backed. Chunks narrower than the rim are merged, lazily.
    rims
        How far the function looks along each dimension, in pixels.
    kwargs
        Parameters of the function.

    Returns
    -------
    xarray.DataArray
        With all that describes `frames`. A function whose result depends on nothing beyond the
        rim gives the same values lazily as eagerly.
    """
    widest = {dim: max(rim) if isinstance(rim, tuple) else rim for dim, rim in rims.items()}
    frames = whole(frames, [dim for dim, rim in widest.items() if rim >= frames.sizes[dim]])
    if frames.chunks is None:
        return replaced(frames, function(frames.data, **kwargs))
    dtype = real_dtype(frames.dtype)
    lengths = frames.variable.chunksizes
    depth = {
        frames.get_axis_num(dim): rim if len(lengths[dim]) > 1 else 0 for dim, rim in rims.items()
    }
    described = {"dtype": dtype, "meta": empty_like_chunk(frames.data, dtype)}
    if not any(np.any(each) for each in depth.values()):
        # Blocks that borrow nothing make one task of a whole chain of operations.
        return replaced(frames, frames.data.map_blocks(function, **described, **kwargs))
    data = frames.data.map_overlap(function, depth=depth, boundary="none", **described, **kwargs)
    return replaced(frames, data)
