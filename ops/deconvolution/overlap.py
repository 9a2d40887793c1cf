"""Deconvolving chunks that cut through frames, each with what it needs of its neighbours."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._arrays import Array, empty_like_chunk
from forebay.ops._blocks import apply, replaced, whole
from forebay.ops._checks import check_whole
from forebay.ops.errors import OperationError


def apply_to_frames(
    function: Callable[..., Array],
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    *,
    psf: xr.DataArray,
    overlap: int | None,
    dtype: np.dtype[Any],
    kwargs: Mapping[str, Any],
) -> xr.DataArray:
    """Apply `function` to frames and `psf`, whose dimensions are in the order of `dims`.

    Chunks that cut through `dims` are merged, unless there is an `overlap`: then each is worked on
    with so many radii of `psf` of its neighbours around it.
    """
    if overlap is not None:
        check_whole("overlap", overlap, least=1)
        if psf.chunks is not None:
            raise OperationError(
                "psf is Dask-backed, but must be known where chunks overlap; use psf.compute()"
            )
    if overlap is None or frames.chunks is None:
        own = list(psf.dims)
        return apply(function, frames, dims, dtype=dtype, beside=[(psf, own)], kwargs=kwargs)
    reach = {dim: overlap * (size // 2) for dim, size in zip(dims, psf.shape, strict=True)}
    frames = whole(frames, [dim for dim in dims if reach[dim] >= frames.sizes[dim]])
    leading = [dim for dim in frames.dims if dim not in dims]
    ordered = frames.transpose(*leading, *dims)
    chunks = ordered.variable.chunksizes
    depth = {ordered.get_axis_num(dim): reach[dim] if len(chunks[dim]) > 1 else 0 for dim in dims}
    data = ordered.data.map_overlap(
        function,
        psf=psf.data,
        depth=depth,
        boundary="none",
        dtype=dtype,
        meta=empty_like_chunk(ordered.data, dtype),
        **kwargs,
    )
    return replaced(frames, ordered.copy(data=data).transpose(*frames.dims).data)
