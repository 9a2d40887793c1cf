"""Smoothing over pixels whose surroundings look alike, wherever nearby they are."""

from collections.abc import Hashable, Sequence
from typing import Any

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace, ndimage
from forebay.ops._checks import check_frames, check_kernel, check_number, check_whole
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.parts import in_parts
from forebay.ops.filters.shifts import offsets, padded, shifted


def nonlocal_means(
    frames: xr.DataArray,
    *,
    strength: float,
    patch_size: int = 5,
    search_size: int = 13,
    noise_sigma: float = 0.0,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the mean of the pixels nearby whose patches look like that of each pixel.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    strength
        How much two patches may differ, root mean square, in the unit of `frames`, above 0. About
        0.6 to 1 times the noise; larger is smoother.
    patch_size
        Side of a patch, pixels, odd.
    search_size
        Side of the square that alike patches are looked for in, pixels, odd. The cost grows with
        its square.
    noise_sigma
        Standard deviation of the noise, in the unit of `frames`, as far as it is known: patches
        that differ by no more than it makes them count as equal.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-5 of the
        largest value of what float64 gives), or float64 for float64 frames.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than what is compared.

    Notes
    -----
    The weight of a pixel is ``exp(-max(d² - 2 noise_sigma², 0) / strength²)``, where d² is the
    mean squared difference of the two patches: Buades, Coll and Morel, Proc. CVPR 2, 60 (2005) and
    Image Processing On Line 1, 208 (2011), with a square patch in place of a Gaussian one. Each
    frame is denoised by itself.

    Beyond the edge the frame goes on with its outermost pixel. A NaN makes NaN of all pixels
    within ``search_size // 2 + patch_size // 2`` along each axis.

    Dask chunks may cut through `dims`: each task borrows that rim from its neighbours, and the
    result is the eager one, bit for bit. A task works on a few frames at a time, for which it
    needs about ten times their float32 bytes as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> noise = np.random.default_rng(0).normal(0, 10, (64, 64))
    >>> frame = xr.DataArray(100 + noise, dims=("y", "x"))
    >>> smooth = nonlocal_means(frame, strength=8, noise_sigma=10)
    >>> bool(smooth.std() < 0.4 * frame.std())
    True
    """
    check_frames(frames, dims)
    patch = check_whole("patch_size", patch_size, least=1, odd=True) // 2
    search = check_whole("search_size", search_size, least=1, odd=True) // 2
    rim = patch + search
    check_kernel(
        frames, dims, 2 * rim + 1, f"patch_size={patch_size} with search_size={search_size}"
    )
    kwargs: dict[str, Any] = {
        "strength": check_number("strength", strength, above=0),
        "variance": check_number("noise_sigma", noise_sigma, least=0) ** 2,
        "patch": patch,
        "search": search,
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
    }
    return apply_with_rim(mean_of_alike, frames, dict.fromkeys(dims, rim), kwargs=kwargs)


def mean_of_alike(
    array: Array, *, strength: float, variance: float, patch: int, search: int, axes: Sequence[int]
) -> Array:
    """Return the mean over steps of at most `search`, weighted by how alike the patches are.

    All patches are compared at one step at a time: their distances are a moving average.
    """

    def mean(real: Array) -> Array:
        xp, filters = namespace(real), ndimage(real)
        middle = dict.fromkeys(axes, 0)
        around = padded(real, search + patch, axes)
        inner = shifted(around, middle, search)
        ones = xp.ones(2 * patch + 1, dtype=xp.float64, device=device(real)) / (2 * patch + 1)
        total, weights = xp.zeros_like(real), xp.zeros_like(real)
        for offset in offsets(search, axes):
            difference = shifted(around, offset, search) - inner
            distance = difference**2
            for axis in axes:
                distance = filters.correlate1d(distance, ones, axis=axis, mode="nearest")
            excess = shifted(distance, middle, patch) - 2 * variance
            weight = xp.exp(xp.clip(excess, 0) / -(strength**2))
            total = total + weight * shifted(difference, middle, patch)
            weights = weights + weight
        return real + total / weights

    return in_parts(mean, array, axes)
