"""The pixels around each pixel that a filter ranks, and the filters that rank them."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device, is_numpy_array

from forebay.ops._arrays import Array, as_real, namespace, ndimage
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_whole
from forebay.ops.filters.sliding import disc_extreme, median_of_nine, median_of_square

type Footprint = Literal["disc", "square"]
type Rank = Literal["minimum", "median", "maximum"]

FOOTPRINTS = ("disc", "square")

MOST_COMPARED = 7
"""The side of the largest square whose median is found by comparing all pixels of a row at once."""


def check_footprint(
    frames: xr.DataArray, size: int, footprint: Footprint, dims: Sequence[Hashable]
) -> int:
    """Return `size` if a footprint of so many pixels across fits `frames` along `dims`."""
    check_frames(frames, dims)
    check_choice("footprint", footprint, FOOTPRINTS)
    size = check_whole("size", size, least=1, odd=True)
    check_kernel(frames, dims, size, f"size={size}")
    return size


def ranked(
    array: Array, rank: Rank, *, size: int, footprint: Footprint, axes: Sequence[int]
) -> Array:
    """Return the least, middle or largest value under the footprint around each pixel.

    Beyond the edge the array goes on with its outermost values; for the least and the largest
    that is as if nothing were there, since the footprints are convex. Integers are ranked as
    integers.
    """
    if is_numpy_array(array) and len(axes) == 2:
        moved = np.moveaxis(array, axes, (-2, -1))
        if rank != "median" and footprint == "disc":
            return np.moveaxis(disc_extreme(moved, rank, size // 2), (-2, -1), axes)
        if rank == "median" and footprint == "square" and size == 3:
            return np.moveaxis(median_of_nine(moved), (-2, -1), axes)
        if rank == "median" and footprint == "square" and 1 < size <= MOST_COMPARED:
            return np.moveaxis(median_of_square(moved, size // 2), (-2, -1), axes)
    filters = ndimage(array)
    function = getattr(filters, f"{rank}_filter")
    lengths = tuple(size if axis in axes else 1 for axis in range(array.ndim))
    if footprint == "square":
        return function(array, lengths, mode="nearest")
    mask = namespace(array).asarray(disc(lengths), device=device(array))
    return function(array, None, mask, mode="nearest")


def disc(lengths: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return which pixels of a box lie within half its length of its middle, for odd `lengths`.

    Examples
    --------
    >>> disc((3, 3)).astype(int).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    squares = np.meshgrid(*((np.arange(n) - n // 2) ** 2 for n in lengths), indexing="ij")
    inside: np.ndarray[Any, Any] = np.sum(squares, axis=0) <= (max(lengths) // 2) ** 2
    return inside


def spreading_nan(
    function: Callable[[Array], Array], array: Array, reach: Callable[[Array], Array]
) -> Array:
    """Return ``function(array)``, NaN wherever `reach` finds one of the NaN of `array`.

    A comparison with NaN is false, so that a filter which compares would let it through at one
    place and drop it at the next. `reach` is the largest value of a mask under the footprint.
    """
    xp = namespace(array)
    if not xp.isdtype(array.dtype, "real floating"):
        return function(array)
    array = as_real(array)
    # The least of values with a NaN among them is NaN: no mask is made where there is none.
    if not bool(xp.isnan(xp.min(array))):
        return function(array)
    unknown = xp.isnan(array)
    result = as_real(function(xp.where(unknown, xp.zeros_like(array), array)))
    nan = xp.asarray(xp.nan, dtype=result.dtype, device=device(result))
    return xp.where(reach(xp.astype(unknown, xp.uint8)) > 0, nan, result)
