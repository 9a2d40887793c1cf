"""Mean and variance along a dimension, chunk by chunk, with little held between chunks."""

import functools
from typing import Any, NamedTuple

import dask.array
import numpy as np
import xarray as xr

from forebay.ops._arrays import Array, empty_like_chunk, finite_or_nan, namespace
from forebay.ops.filters.parts import SLAB

MEAN, VARIANCE = 0, 1
"""Places of the moments in what is computed."""


class Moments(NamedTuple):
    """Of some frames, the first axis of each array being one long."""

    number: int
    """How many frames."""
    mean: Array
    """Of each pixel, float64."""
    squares: Array
    """Sum of the squared distances from the mean of each pixel, float64."""


def mean_along(frames: xr.DataArray, dim: str) -> xr.DataArray:
    """Return the mean along `dim`, float64, with the attributes of `frames`.

    It is the sum by the number: Dask's own mean holds the number of each pixel beside the sum.
    """
    total = frames.sum(dim, skipna=False, dtype=np.float64, keep_attrs=True)
    mean: xr.DataArray = (total / frames.sizes[dim]).assign_attrs(total.attrs)
    return mean


def moments_along(frames: xr.DataArray, dim: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return mean and variance along `dim`, float64; the variance of a single frame is zero.

    What is not finite in any frame is NaN in both. Each chunk is gone over once, a few frames at a
    time.
    """
    mean, variance = (
        frames.reduce(functools.partial(_moment, place=place), dim) for place in (MEAN, VARIANCE)
    )
    return mean, variance


def _moment(array: Array, *, axis: int, place: int) -> Array:
    """Return the moment at some place along an axis."""
    if isinstance(array, dask.array.Array):
        both: Array = dask.array.reduction(  # type: ignore[no-untyped-call]
            array,
            chunk=_of_block,
            combine=_of_all,
            aggregate=_finished,
            axis=axis,
            keepdims=True,
            concatenate=False,
            dtype=np.dtype(np.float64),
            output_size=2,
            meta=empty_like_chunk(array, np.dtype(np.float64)),
        )
    else:
        both = _finished([_of_block(array, (axis,))], (axis,))
    return both[(*(slice(None),) * axis, place)]


def _of_block(block: Array, axis: tuple[int], **_: Any) -> Moments:
    """Return the moments of a block along an axis, which comes first."""
    xp = namespace(block)
    frames = xp.moveaxis(block, axis[0], 0)
    number = frames.shape[0]
    step = max(SLAB * number // max(frames.size, 1), 1)
    parts = (_of_frames(frames[at : at + step]) for at in range(0, number, step))
    return functools.reduce(joined, parts)


def _of_frames(frames: Array) -> Moments:
    """Return the moments of a few frames."""
    xp = namespace(frames)
    wide = finite_or_nan(frames)
    mean = xp.mean(wide, axis=0, keepdims=True)
    rest = wide - mean
    return Moments(frames.shape[0], mean, xp.sum(rest * rest, axis=0, keepdims=True))


def joined(one: Moments, other: Moments) -> Moments:
    """Return the moments of both together: Chan, Golub and LeVeque, Am. Stat. 37, 242 (1983)."""
    number = one.number + other.number
    apart = other.mean - one.mean
    mean = one.mean + apart * (other.number / number)
    squares = one.squares + other.squares + apart * apart * (one.number * other.number / number)
    return Moments(number, mean, squares)


def _of_all(parts: Moments | list[Moments], **_: Any) -> Moments:
    """Return the moments of several parts together."""
    return functools.reduce(joined, parts) if isinstance(parts, list) else parts


def _finished(parts: Moments | list[Moments], axis: tuple[int], **_: Any) -> Array:
    """Return mean and variance along an axis that is two long."""
    total = _of_all(parts)
    xp = namespace(total.mean)
    both = xp.concat([total.mean, total.squares / max(total.number - 1, 1)], axis=0)
    return xp.moveaxis(both, 0, axis[0])
