"""How many pixels of each frame have which value."""

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device, is_numpy_array

from forebay.ops._arrays import Array, namespace

DEFAULT_BINS = 256
"""For floats, and for integers of more than 16 bits."""


PIECE = 2**15
"""Pixels that are counted at once."""


class Histograms(NamedTuple):
    """The histogram of each frame of a stack."""

    counts: Array
    """Pixels in each bin, (frames, bins), float64."""
    first: Array
    """The middle of the first bin, (frames,), float64."""
    width: Array
    """Of a bin, (frames,), float64; zero where all pixels are the same."""
    finite: Array
    """Whether all pixels of a frame are finite, (frames,); if not, its counts say nothing."""


def histograms(stack: Array, bins: int | None) -> Histograms:
    """Return the histogram of each row of `stack`, (frames, pixels).

    Parameters
    ----------
    stack
        NumPy or CuPy.
    bins
        Of equal width, from the least to the largest value of each frame; None takes a bin for
        each value that integers of up to 16 bits can have, and `DEFAULT_BINS` for others.
    """
    xp = namespace(stack)
    if bins is None and has_bin_for_each_value(np.dtype(str(stack.dtype))):
        return value_histograms(stack)
    bins = DEFAULT_BINS if bins is None else bins
    if is_numpy_array(stack):
        return piecewise_histograms(stack, bins)
    wide = xp.astype(stack, xp.float64)
    finite = xp.all(xp.isfinite(wide), axis=1)
    wide = xp.where(finite[:, None], wide, xp.zeros_like(wide))
    low = xp.min(wide, axis=1)
    reach = xp.max(wide, axis=1) - low
    scale = bins / xp.where(reach > 0, reach, xp.ones_like(reach))
    index = xp.astype((wide - low[:, None]) * scale[:, None], xp.int64)
    width = reach / bins
    counts = counted(xp.clip(index, 0, bins - 1), bins)
    return Histograms(counts, low + width / 2, width, finite)


def piecewise_histograms(stack: np.ndarray[Any, Any], bins: int) -> Histograms:
    """Return the same for NumPy, a piece of a frame at a time, which stays in the cache."""
    low, high = (each.astype(np.float64) for each in (stack.min(axis=1), stack.max(axis=1)))
    # A NaN is the least value and the largest one, where there is one.
    finite = np.isfinite(low) & np.isfinite(high)
    low, high = (np.where(finite, each, 0.0) for each in (low, high))
    scale = bins / np.where(high > low, high - low, 1.0)
    counts = np.zeros((len(stack), bins))
    for row in np.flatnonzero(finite):
        for start in range(0, stack.shape[1], PIECE):
            place = stack[row, start : start + PIECE].astype(np.float64)
            place -= low[row]
            place *= scale[row]
            index = np.minimum(place.astype(np.intp), bins - 1)
            counts[row] += np.bincount(index, minlength=bins)
    width = (high - low) / bins
    return Histograms(counts, low + width / 2, width, finite)


def has_bin_for_each_value(dtype: np.dtype[Any]) -> bool:
    """Tell whether integers of `dtype` are few enough to count each of them."""
    return dtype.kind in "iu" and dtype.itemsize <= 2


def value_histograms(stack: Array) -> Histograms:
    """Return the histogram of each row of `stack`, integers, with a bin for each value there is.

    Bins go from the least value of the stack to the largest; there are two at least.
    """
    xp = namespace(stack)
    low, high = xp.min(stack, axis=1), xp.max(stack, axis=1)
    lowest = int(xp.min(low))
    bins = max(int(xp.max(high)) - lowest + 1, 2)
    if is_numpy_array(stack):
        counts = counted_values(stack, lowest, bins)
    else:
        counts = counted(xp.astype(stack, xp.int64) - lowest, bins)
    ones = xp.ones(stack.shape[0], dtype=xp.float64, device=device(stack))
    varied = high > low
    first = xp.where(varied, ones * lowest, xp.astype(low, xp.float64))
    return Histograms(counts, first, xp.astype(varied, xp.float64), ones > 0)


def counted_values(stack: np.ndarray[Any, Any], lowest: int, bins: int) -> np.ndarray[Any, Any]:
    """Return how often each of `bins` values from `lowest` is in each row of integers, float64."""
    counts = np.empty((len(stack), bins))
    start = max(lowest, 0)
    for row, pixels in zip(counts, stack, strict=True):
        index = pixels if lowest >= 0 else pixels.astype(np.intp) - lowest
        row[...] = np.bincount(index, minlength=start + bins)[start:]
    return counts


def counted(index: Array, bins: int) -> Array:
    """Return how often each of `bins` is in each row of `index`, float64."""
    xp = namespace(index)
    rows = index.shape[0]
    each = xp.arange(rows, dtype=xp.int64, device=device(index)) * bins
    counts = xp.bincount(xp.reshape(index + each[:, None], (-1,)), minlength=rows * bins)
    return xp.astype(xp.reshape(counts, (rows, bins)), xp.float64)
