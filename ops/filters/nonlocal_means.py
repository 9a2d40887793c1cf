"""Smoothing over pixels whose surroundings look alike, wherever nearby they are."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import is_numpy_array

from forebay.ops._arrays import Array, namespace
from forebay.ops._checks import check_frames, check_kernel, check_number, check_whole
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.moving_sums import moving_sums
from forebay.ops.filters.parts import in_parts, in_slabs
from forebay.ops.filters.shifts import offsets, padded
from forebay.ops.filters.sliding import in_pieces

ROWS = 64
"""Rows that are worked on at once: the rim around them is worked on again for the next ones."""
PIXELS = 2**16
"""Pixels that are worked on at once, with that rim."""


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
        Same dimensions, coordinates, name, attributes and unit; float32 (within 5e-7 of the
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
    result is the eager one, bit for bit. A task needs about its chunk in float32 as scratch,
    and three MB for the piece of a frame that it works on; along other than two `dims`, ten times
    the few frames that it works on.

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
    """Return the mean over steps of at most `search`, weighted by how alike the patches are."""
    reach = patch + search
    given: dict[str, Any] = {
        "strength": strength,
        "variance": variance,
        "patch": patch,
        "search": search,
    }

    def mean(real: Array) -> Array:
        if is_numpy_array(real) and len(axes) == 2:
            moved = np.moveaxis(real, axes, (-2, -1))
            result = in_pieces(
                lambda piece: mean_within(piece, axes=(0, 1), **given),
                moved,
                reach,
                rows=ROWS,
                pixels=PIXELS,
            )
            return np.moveaxis(result, (-2, -1), axes)
        return mean_within(padded(real, reach, axes), axes=axes, **given)

    return in_slabs(lambda slab: in_parts(mean, slab, axes), array, axes)


def mean_within(
    around: Array,
    *,
    strength: float,
    variance: float,
    patch: int,
    search: int,
    axes: Sequence[int],
) -> Array:
    """Return the same for what is within a rim of both reaches of `around` along `axes`.

    All patches are compared at one step at a time, and what they differ by is a moving sum. It is
    the same there and back, so that half of the steps are enough.
    """
    xp, reach = namespace(around), patch + search
    per_square = 1 / ((2 * patch + 1) ** len(axes) * strength**2)

    def cut(array: Array, first: Sequence[int], beyond: Sequence[int]) -> Array:
        window = [slice(None)] * array.ndim
        for axis, start, end in zip(axes, first, beyond, strict=True):
            window[axis] = slice(start, array.shape[axis] - end)
        return array[tuple(window)]

    def over_patches(array: Array) -> Array:
        for axis in axes:
            array = moving_sums(array, 2 * patch + 1, axis)
        return array

    rim = [reach] * len(axes)
    middle = cut(around, rim, rim)
    total = xp.zeros_like(middle)
    # The pixel itself has the weight one, or NaN where its own patch holds a NaN.
    weights = 1 + over_patches(cut(around - around, [search] * len(axes), [search] * len(axes)))
    for offset in offsets(search, axes):
        steps = [offset[axis] for axis in axes]
        if steps <= [0] * len(axes):
            continue
        ahead = [max(step, 0) for step in steps]
        behind = [max(-step, 0) for step in steps]
        # Pixels from which a step leads into the middle, and those in it, with their patches.
        begin = [search - each for each in ahead]
        end = [search - each for each in behind]
        there = cut(
            around,
            [start + step for start, step in zip(begin, steps, strict=True)],
            [stop - step for stop, step in zip(end, steps, strict=True)],
        )
        difference = there - cut(around, begin, end)
        excess = over_patches(difference**2)
        excess *= -per_square
        if variance:
            excess += 2 * variance / strength**2
            excess = xp.clip(excess, None, 0)
        weight = xp.exp(excess)
        part = weight * cut(difference, [patch] * len(axes), [patch] * len(axes))
        total += cut(part, ahead, behind)
        total -= cut(part, behind, ahead)
        weights += cut(weight, ahead, behind)
        weights += cut(weight, behind, ahead)
    return middle + total / weights
