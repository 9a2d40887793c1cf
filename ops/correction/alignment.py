"""Frames and an image to correct them with, made sure to fit each other exactly."""

from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._arrays import library, real_dtype
from forebay.ops._checks import check_frames
from forebay.ops.errors import OperationError


def aligned(
    frames: xr.DataArray, image: xr.DataArray, name: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return both in real dtypes, the image as `laid_on` gives it."""
    return frames.astype(real_dtype(frames.dtype)), laid_on(frames, image, name)


def laid_on(frames: xr.DataArray, image: xr.DataArray, name: str) -> xr.DataArray:
    """Return `image` in its real dtype; raise `OperationError` unless it fits `frames` exactly.

    Arithmetic in xarray keeps the common part of coordinates that differ, so that a shifted image
    would crop the frames without a word. It also merges attributes and other coordinates: the
    image comes back without any. Where both are Dask-backed it is cut as the frames are, so that
    each chunk of theirs meets one of its own.
    """
    check_frames(image, (), name=name)
    extra = [dim for dim in image.dims if dim not in frames.dims]
    if extra:
        raise OperationError(
            f"{name} has the dimension {extra[0]!r}, which frames with {frames.dims} lacks; "
            "reduce or select it first"
        )
    try:
        xr.align(frames, image, join="exact")
    except ValueError as error:
        raise OperationError(
            f"{name} does not lie on the pixels of frames: its sizes are {dict(image.sizes)}, "
            f"theirs {dict(frames.sizes)}, and coordinates must be equal; select the same region "
            f"of both, or drop the coordinates of {name}"
        ) from error
    if library(frames.data) != library(image.data):
        raise OperationError(
            f"{name} is held by {library(image.data)} and frames by {library(frames.data)}, but "
            "nothing is copied between host and device behind your back; bring both to one side"
        )
    bare = xr.DataArray(image.data, dims=image.dims).astype(real_dtype(image.dtype))
    if frames.chunks is not None and image.chunks is not None:
        bare = bare.chunk({dim: frames.variable.chunksizes[dim] for dim in image.dims})
    return bare


def joint_dtype(frames: xr.DataArray, *images: xr.DataArray | float) -> np.dtype[Any]:
    """Return the real dtype that frames and images are worked on in together."""
    arrays = [frames, *(each for each in images if isinstance(each, xr.DataArray))]
    return np.result_type(*(real_dtype(each.dtype) for each in arrays))
