"""A threshold for each pixel, from its neighbourhood."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, empty_like_chunk, namespace, ndimage, real_dtype
from forebay.ops._blocks import replaced
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops.filters.gaussian import gaussian, kernel_radius

TRUNCATE = 4.0
"""Where the Gaussian ends, in standard deviations."""


def local_threshold(
    frames: xr.DataArray,
    *,
    size: int,
    method: Literal["gaussian", "mean", "median"] = "gaussian",
    offset: float = 0.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the average of each pixel's neighbourhood, less `offset`.

    For frames whose ground or light is uneven: ``frames > local_threshold(frames, size=51)``.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    size
        Of the neighbourhood, pixels along each of `dims`, odd; larger than what is looked for.
    method
        ``"mean"`` or ``"median"`` of a square of `size`, or the mean under a ``"gaussian"`` of the
        standard deviation ``(size - 1) / 6``, which ends after four of them.
    offset
        In the unit of `frames`; a negative one raises the threshold.
    dims
        The dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name, attributes and unit of `frames`; float32 (within 5e-7 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the neighbourhood.

    Notes
    -----
    Beyond the edge the frame goes on with its outermost pixel. It is what
    ``skimage.filters.threshold_local`` gives with ``mode="nearest"``. A NaN makes NaN of all
    pixels whose neighbourhood holds it; with the median, what the pixels there become is not
    defined.

    Dask chunks may cut through `dims`: each task borrows the rim that it needs from its
    neighbours, so that the result is the eager one, but for the last bit of a float32 pixel here
    and there. Needs about three times the frame's bytes in float32 as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.full((1, 9, 9), 100, "uint8"), dims=("t", "y", "x"))
    >>> float(local_threshold(frames, size=3, method="mean", offset=5)[0, 4, 4])
    95.0
    """
    check_frames(frames, dims)
    check_choice("method", method, ("gaussian", "mean", "median"))
    check_whole("size", size, least=3, odd=True)
    check_number("offset", offset)
    check_kernel(frames, dims, size, f"size={size}")
    sigma = (size - 1) / 6
    radius = kernel_radius(sigma, TRUNCATE) if method == "gaussian" else size // 2
    axes = tuple(frames.get_axis_num(dim) for dim in dims)
    kwargs: dict[str, Any] = {"size": size, "method": method, "offset": float(offset), "axes": axes}
    if frames.chunks is None:
        return replaced(frames, local_average(frames.data, **kwargs))
    dtype = real_dtype(frames.dtype)
    depth = {axis: radius if len(frames.chunks[axis]) > 1 else 0 for axis in axes}
    data = frames.data.map_overlap(
        local_average,
        depth=depth,
        boundary="none",
        dtype=dtype,
        meta=empty_like_chunk(frames.data, dtype),
        **kwargs,
    )
    return replaced(frames, data)


def local_average(
    array: Array, *, size: int, method: str, offset: float, axes: Sequence[int]
) -> Array:
    """Return the average of each pixel's neighbourhood along `axes`, less `offset`."""
    xp, filters = namespace(array), ndimage(array)
    average = as_real(array)
    if method == "gaussian":
        average = gaussian(average, sigma=(size - 1) / 6, truncate=TRUNCATE, axes=axes)
    elif method == "mean":
        ones = xp.ones(size, dtype=xp.float64, device=device(array)) / size
        for axis in axes:
            average = filters.correlate1d(average, ones, axis=axis, mode="nearest")
    else:
        box = tuple(size if axis in axes else 1 for axis in range(array.ndim))
        average = filters.median_filter(average, size=box, mode="nearest")
    return average - offset
