"""The part of the frames that does not move, and the frames without it."""

from typing import Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_whole
from forebay.ops._moments import mean_along
from forebay.ops.correction.alignment import joint_dtype, laid_on
from forebay.ops.pointwise.formulas import corrected
from forebay.ops.pointwise.one_pass import apply_pointwise


def background(
    frames: xr.DataArray,
    *,
    dim: str = "t",
    method: Literal["median", "mean"] = "median",
    sample: int | None = None,
) -> xr.DataArray:
    """Return what each pixel shows over all frames: its median or mean along `dim`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    dim
        The dimension to take the frames along.
    method
        ``"median"`` leaves out what passes through a pixel in fewer than half of the frames;
        ``"mean"`` is cheaper and shows it faintly.
    sample
        Read at most this many frames, evenly spaced; None reads all.

    Returns
    -------
    xarray.DataArray
        Without `dim`; float32, or float64 for float64 frames; same unit as `frames`. Dask-backed
        if `frames` is.

    Raises
    ------
    OperationError
        If `dim` is not there, the dtype is not real, or a parameter is not allowed.

    Notes
    -----
    A pixel that is NaN in any frame is NaN in the result.

    With Dask the mean is a sum over chunks (in float64) and holds a few chunks at a time. The
    median needs a pixel's whole history: the frames are rechunked into columns of pixels, each no
    larger than the largest chunk before, or than one pixel's history. That passes all frames
    through the workers' memory once, or through their disks when they spill; `sample` bounds it
    to so many frames.

    It is ``numpy.median`` or ``numpy.mean`` along `dim`. Float32 is within 1e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.full((5, 2, 2), 7, "uint16"), dims=("t", "y", "x"))
    >>> frames[2, 0, 0] = 900
    >>> background(frames).values
    array([[7., 7.],
           [7., 7.]], dtype=float32)
    """
    check_frames(frames, [dim])
    check_choice("method", method, ("median", "mean"))
    if sample is not None:
        count = min(check_whole("sample", sample, least=1), frames.sizes[dim])
        kept = np.linspace(0, frames.sizes[dim] - 1, count)
        frames = frames.isel({dim: np.rint(kept).astype(np.intp)})
    dtype = real_dtype(frames.dtype)
    if method == "mean":
        return mean_along(frames, dim).astype(dtype)
    return apply(median_of_last, frames, [dim], dtype=dtype, new_sizes={}, kwargs={})


def median_of_last(array: Array) -> Array:
    """Return the median over the last axis; NaN where any value is NaN.

    Two values in the middle give their mean. Integers are sorted as integers, so that only the
    result is float32.
    """
    xp = namespace(array)
    ordered = xp.sort(array, axis=-1)
    count = array.shape[-1]
    low = as_real(ordered[..., (count - 1) // 2])
    high = as_real(ordered[..., count // 2])
    middle = low / 2 + high / 2
    if not xp.isdtype(array.dtype, "real floating"):
        return middle
    nan = xp.asarray(xp.nan, dtype=middle.dtype, device=device(middle))
    return xp.where(xp.any(xp.isnan(array), axis=-1), nan, middle)


def subtract_background(frames: xr.DataArray, background: xr.DataArray) -> xr.DataArray:
    """Return ``frames - background``, pixel by pixel.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    background
        Its dimensions are some of those of `frames`, with the same sizes and coordinates; on the
        same side (host or device) as `frames`.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`; float32, or float64 if either
        is float64. Values below the background are negative; NaN in either is NaN.

    Raises
    ------
    OperationError
        If the two do not fit each other, or a dtype is not real.

    Notes
    -----
    Float32 is within 1e-7 of the largest value. Works chunk by chunk
    with Dask. A task needs little more than its result as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[3, 9]], [[5, 9]]], "uint8"), dims=("t", "y", "x"))
    >>> subtract_background(frames, background(frames, method="mean")).values.tolist()
    [[[-1.0, 0.0]], [[1.0, 0.0]]]
    """
    check_frames(frames, ())
    level = laid_on(frames, background, "background")
    dtype = joint_dtype(frames, level)
    return apply_pointwise(corrected, frames, dtype=dtype, offset=level, factor=1.0)
