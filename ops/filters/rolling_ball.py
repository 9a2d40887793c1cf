"""A background that a ball, rolling under the image, touches from below."""

import math
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device, is_numpy_array

from forebay.ops._arrays import Array, as_real, namespace, ndimage, real_dtype
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number
from forebay.ops._overlap import apply_with_rim
from forebay.ops.filters.footprint import ranked, spreading_nan
from forebay.ops.filters.sliding import ball_extreme

SHRINKING = ((10, 1), (30, 2), (100, 4), (math.inf, 8))
"""Up to which radius how many pixels are taken together, where precision does not matter."""


def rolling_ball(
    frames: xr.DataArray,
    *,
    radius: float,
    height: float | None = None,
    precision: Literal["fast", "exact"] = "exact",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the background below the bright things of each frame.

    The frame is taken as a landscape. A ball is pressed against it from below at every place;
    the background is the surface that its top can reach.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    radius
        Of the ball, pixels, at least 1: larger than what is not background. The cost of an exact
        result grows with its square.
    height
        Of the ball above its middle, in the unit of `frames`; None takes `radius`. The larger,
        the more the background may bend.
    precision
        ``"exact"``, or ``"fast"``: for balls of more than 10 pixels, a smaller ball under the
        least values of squares of 2 × 2 pixels, of 4 × 4 beyond 30 and of 8 × 8 beyond 100, with
        straight lines between them.
    dims
        The dimensions to filter along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 1e-6 of the
        largest value), or float64 for float64 frames. Nowhere above `frames`, but for rounding:
        subtract it.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the ball.

    Notes
    -----
    It is the opening by a ball, ``max over k of (min over j of (f(x + k + j) + h(j)) - h(k))`` with
    ``h(k) = height * (1 - sqrt(1 - |k|² / radius²))``: Sternberg, Computer 16, 22 (1983), as
    ImageJ has it, which shrinks the image first, as ``"fast"`` does. `skimage.restoration.rolling_ball` stops
    after the minimum, which is where the ball's top can be right below each pixel, and lies lower
    wherever the background bends upwards.

    Beyond the edge there is nothing: only pixels of the frame touch the ball. A NaN makes NaN of
    all pixels within two squares of ``2 * radius + 1`` pixels around it.

    Dask chunks may cut through `dims`: each task borrows ``2 * radius`` pixels from its
    neighbours, and the result is the eager one, bit for bit; for ``"fast"`` they are merged. A task
    needs about three times its chunk in float32 as scratch.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.full((32, 32), 50.0), dims=("y", "x"))
    >>> frame[15:18, 15:18] = 400
    >>> background = rolling_ball(frame, radius=10)
    >>> bool(abs(background - 50).max() < 1)
    True
    """
    check_frames(frames, dims)
    radius = check_number("radius", radius, least=1, most=1e4)
    top = radius if height is None else check_number("height", height, above=0)
    reach = int(radius)
    check_kernel(frames, dims, 2 * reach + 1, f"radius={radius:g}")
    check_choice("precision", precision, ("fast", "exact"))
    factor = shrinking(radius) if precision == "fast" else 1
    if factor > 1:
        return apply(
            opened_by_small_ball,
            frames,
            dims,
            dtype=real_dtype(frames.dtype),
            kwargs={"radius": radius, "height": top, "factor": factor, "ndim": len(dims)},
        )
    kwargs: dict[str, Any] = {
        "radius": radius,
        "height": top,
        "axes": tuple(frames.get_axis_num(dim) for dim in dims),
    }
    return apply_with_rim(opened_by_ball, frames, dict.fromkeys(dims, 2 * reach), kwargs=kwargs)


def opened_by_ball(array: Array, *, radius: float, height: float, axes: Sequence[int]) -> Array:
    """Return `array` eroded and then dilated by the top of a ball."""
    real = as_real(array)
    xp, filters = namespace(real), ndimage(real)
    size = 2 * int(radius) + 1
    lengths = [size if axis in axes else 1 for axis in range(real.ndim)]
    depth, inside = ball(lengths, radius, height)
    flat, flat_inside = (
        each.reshape([length for length in each.shape if length > 1]) for each in (depth, inside)
    )
    surface = xp.asarray(depth, dtype=real.dtype, device=device(real))
    footprint = xp.asarray(inside, device=device(real))

    def opened(known: Array) -> Array:
        if is_numpy_array(known) and len(axes) == 2:
            moved = np.moveaxis(known, axes, (-2, -1))
            lowest = ball_extreme(moved, "minimum", flat, flat_inside)
            return np.moveaxis(ball_extreme(lowest, "maximum", flat, flat_inside), (-2, -1), axes)
        # The ball sinks with the distance, so that a repeated edge pixel never touches it first.
        lowest = filters.grey_erosion(known, None, footprint, -surface, mode="nearest")
        return filters.grey_dilation(lowest, None, footprint, -surface, mode="nearest")

    def reach(mask: Array) -> Array:
        for _ in range(2):
            mask = ranked(mask, "maximum", size=size, footprint="square", axes=axes)
        return mask

    return spreading_nan(opened, real, reach)


def shrinking(radius: float) -> int:
    """Return how many pixels are taken together along each dimension under a ball of `radius`."""
    return next(factor for most, factor in SHRINKING if radius <= most)


def opened_by_small_ball(
    array: Array, *, radius: float, height: float, factor: int, ndim: int
) -> Array:
    """Return `array` opened along its last `ndim` axes by a ball, on a grid `factor` times coarser.

    Of each square the least value counts. Between the middles of squares the background is
    straight, and it is nowhere above the array.
    """
    xp = namespace(array)
    real = as_real(array)
    axes = tuple(range(real.ndim - ndim, real.ndim))
    small = real
    for axis in axes:
        small = least_of_groups(small, factor, axis)
    opened = opened_by_ball(small, radius=radius / factor, height=height, axes=axes)
    for axis in axes:
        opened = straight_between(opened, factor, real.shape[axis], axis)
    return xp.where(opened > real, real, opened)


def least_of_groups(array: Array, factor: int, axis: int) -> Array:
    """Return the least value of every `factor` values along `axis`; the last ones may be fewer."""
    xp = namespace(array)
    size = array.shape[axis]
    groups = -(-size // factor)
    place = xp.clip(xp.arange(groups * factor, device=device(array)), 0, size - 1)
    filled = xp.take(array, place, axis=axis)
    shape = (*array.shape[:axis], groups, factor, *array.shape[axis + 1 :])
    return xp.min(xp.reshape(filled, shape), axis=axis + 1)


def straight_between(array: Array, factor: int, size: int, axis: int) -> Array:
    """Return `size` values along `axis`, on straight lines between those of groups of `factor`."""
    xp, groups = namespace(array), array.shape[axis]
    place = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, groups - 1)
    before = np.minimum(place.astype(np.int64), max(groups - 2, 0))
    shape = tuple(-1 if other == axis else 1 for other in range(array.ndim))
    part = xp.asarray((place - before).reshape(shape), dtype=array.dtype, device=device(array))
    first = xp.take(array, xp.asarray(before, device=device(array)), axis=axis)
    behind = np.minimum(before + 1, groups - 1)
    second = xp.take(array, xp.asarray(behind, device=device(array)), axis=axis)
    return first + part * (second - first)


def ball(
    lengths: Sequence[int], radius: float, height: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return how far the surface of a ball lies below its top, and where there is a surface."""
    squares = np.meshgrid(*((np.arange(n) - n // 2) ** 2 for n in lengths), indexing="ij")
    part = np.sum(squares, axis=0) / radius**2
    inside = part <= 1
    return height * (1 - np.sqrt(np.where(inside, 1 - part, 0))), inside
