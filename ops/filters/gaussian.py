"""Band-passing in space with a difference of Gaussians."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, empty_like_chunk, namespace, ndimage, real_dtype
from forebay.ops._blocks import replaced
from forebay.ops._checks import check_frames, check_kernel, check_number
from forebay.ops.errors import OperationError


def bandpass(
    frames: xr.DataArray,
    *,
    noise_sigma: float = 1.0,
    background_sigma: float,
    truncate: float = 4.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` blurred over `noise_sigma`, less `frames` blurred over `background_sigma`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    noise_sigma
        Standard deviation, in pixels, of the Gaussian that smooths noise; 0 does not smooth.
    background_sigma
        Standard deviation, in pixels, of the Gaussian that makes the background; above
        `noise_sigma`. About the radius of what is to be kept, or larger.
    truncate
        Where the Gaussians end, in standard deviations.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-5 of the
        largest value of what float64 gives), or float64 for float64 frames. A constant frame
        gives zero.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the larger Gaussian.

    Notes
    -----
    Beyond the edge the frame goes on with its outermost pixel. A NaN makes NaN of all pixels
    within ``truncate * background_sigma`` along each axis.

    Dask chunks may cut through `dims`: each task borrows the rim that it needs from its
    neighbours, so that the result is the eager one, bit for bit. A rim wider than the smallest
    chunk has the chunks merged.

    The difference of Gaussians as a band-pass: Marr and Hildreth, Proc. R. Soc. Lond. B 207, 187
    (1980).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.full((1, 32, 32), 100, "uint8"), dims=("t", "y", "x"))
    >>> float(abs(bandpass(frames, background_sigma=3)).max()) < 1e-3
    True
    """
    check_frames(frames, dims)
    low = check_number("noise_sigma", noise_sigma, least=0)
    high = check_number("background_sigma", background_sigma, above=low)
    radius = kernel_radius(high, check_number("truncate", truncate, above=0))
    check_kernel(frames, dims, 2 * radius + 1, f"background_sigma={background_sigma}")
    axes = tuple(frames.get_axis_num(dim) for dim in dims)
    kwargs: dict[str, Any] = {"sigmas": (low, high), "truncate": truncate, "axes": axes}
    if frames.chunks is None:
        return replaced(frames, difference_of_gaussians(frames.data, **kwargs))
    dtype = real_dtype(frames.dtype)
    depth = {axis: radius if len(frames.chunks[axis]) > 1 else 0 for axis in axes}
    data = frames.data.map_overlap(
        difference_of_gaussians,
        depth=depth,
        boundary="none",
        dtype=dtype,
        meta=empty_like_chunk(frames.data, dtype),
        **kwargs,
    )
    return replaced(frames, data)


def difference_of_gaussians(
    array: Array, *, sigmas: tuple[float, float], truncate: float, axes: Sequence[int]
) -> Array:
    """Return `array` blurred over the first of `sigmas` less over the second, along `axes`."""
    real = as_real(array)
    low, high = (gaussian(real, sigma=sigma, truncate=truncate, axes=axes) for sigma in sigmas)
    return low - high


def gaussian(array: Array, *, sigma: float, truncate: float, axes: Sequence[int]) -> Array:
    """Return `array` blurred along `axes`; beyond the edge its outermost values go on."""
    if sigma == 0:
        return array
    xp, filters = namespace(array), ndimage(array)
    weights = xp.asarray(gaussian_weights(sigma, truncate), device=device(array))
    for axis in axes:
        array = filters.correlate1d(array, weights, axis=axis, mode="nearest")
    return array


def gaussian_weights(sigma: float, truncate: float) -> np.ndarray[Any, Any]:
    """Return a sampled Gaussian, float64, whose values add up to one."""
    radius = kernel_radius(sigma, truncate)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    total: np.ndarray[Any, Any] = weights / weights.sum()
    return total


def kernel_radius(sigma: float, truncate: float) -> int:
    """Return how many pixels a Gaussian reaches to either side, rounded to the nearest."""
    radius = truncate * sigma + 0.5
    if radius >= 2**31:
        raise OperationError(f"a Gaussian of {sigma:g} pixels is too wide; use a smaller one")
    return int(radius)
