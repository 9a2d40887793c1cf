"""How much there is in a frame, in one number, by which frames can be selected."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from forebay.ops._checks import check_frames
from forebay.ops.correction.background import subtract_background


def mean_change(
    frames: xr.DataArray, reference: xr.DataArray, *, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return the mean of ``abs(frames - reference)`` over the pixels of each frame.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    reference
        A frame to compare with; its dimensions are some of those of `frames`.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dims`; float64, in the unit of `frames`. Exact for integers of up to 16 bits.
        Noise of standard deviation s in both frames alone gives ``2 * s / sqrt(pi)``, 1.13 s.

    Raises
    ------
    OperationError
        If the two do not fit each other, or a dtype is not real.

    Notes
    -----
    A frame with a NaN is NaN, and with an infinite pixel infinite. Chunks may cut through `dims` with
    Dask; a task needs about two and a half times its chunk in float32 as scratch. It is the mean absolute
    difference that motion is told by.

    Float32 is within 1e-12 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[1, 2]], [[4, 2]]], "uint8"), dims=("t", "y", "x"))
    >>> mean_change(frames, frames[0]).values
    array([0. , 1.5])
    """
    check_frames(frames, dims)
    change = abs(subtract_background(frames, reference))
    mean = change.mean(dims, skipna=False, dtype=np.float64)
    return mean.rename(frames.name).assign_attrs(frames.attrs)


def pixel_variance(frames: xr.DataArray, *, dims: Sequence[Hashable] = ("y", "x")) -> xr.DataArray:
    """Return the variance of the pixels of each frame.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dims`; float64, in the square of the unit of `frames`. An empty frame has the
        variance of its noise.

    Raises
    ------
    OperationError
        If a dimension is missing or the dtype is not real.

    Notes
    -----
    It is the mean of the squares less the square of the mean, so that one pass over the pixels
    does; its error is about 1e-16 of the mean of the squares.

    ``mean(pixels**2) - mean(pixels)**2``. A frame with a NaN or infinite pixel is NaN. Chunks
    may cut through `dims` with Dask; a task needs about four times its chunk in float32 as
    scratch.

    Float32 is within 1e-12 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[[1, 3]], [[2, 2]]], "uint8"), dims=("t", "y", "x"))
    >>> pixel_variance(frames).values
    array([1., 0.])
    """
    check_frames(frames, dims)
    values = frames.astype(np.float64)
    mean = values.mean(dims, skipna=False)
    variance = ((values * values).mean(dims, skipna=False) - mean * mean).clip(min=0)
    return variance.rename(frames.name).assign_attrs(frames.attrs)
