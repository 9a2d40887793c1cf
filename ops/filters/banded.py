"""Weighted sums of neighbours along an axis, as products with small banded matrices.

Sixteen sums of 41 neighbours each are the product of a matrix of 16 × 56, a good part of it zeros,
with 56 pixels. That is more arithmetic than there needs to be, and several times as fast as going from
pixel to pixel, since it is what BLAS is made for.
"""

import functools
from typing import Any

import numpy as np
import scipy.ndimage

type Pixels = np.ndarray[Any, Any]
"""A NumPy array."""

SUMS = 16
"""Sums that are taken with one matrix."""
WORK = 2**18
"""Multiplications of one product: small enough that BLAS does not start threads of its own, which
would be in the way of Dask's."""
ACROSS = 320
"""Columns, or rows, that are summed along at once, and copied in float64 for that."""
FEW = 25
"""Up to so many neighbours within a row, which lie beside each other, SciPy is faster."""


def weighted_sums(array: Pixels, weights: Pixels, axis: int) -> Pixels:
    """Return ``Σ weights[k] array[n + k - reach]`` along `axis`; its outermost values go on.

    Parameters
    ----------
    array
        float32 or float64, finite: what is beyond the reach counts for zero times itself.
    weights
        One more than twice the reach, float64.
    axis
        Along which to sum.

    Returns
    -------
    numpy.ndarray
        Of the shape and the dtype of `array`, which float64 sums are rounded to. In which order is
        summed hangs on where a pixel lies: that changes the last bit of a float32 pixel in some
        hundred million.

    Examples
    --------
    >>> weighted_sums(np.array([0.0, 0, 4, 0]), np.array([0.25, 0.5, 0.25]), 0)
    array([0., 1., 2., 1.])
    """
    last = axis % array.ndim == array.ndim - 1
    if last and len(weights) <= FEW:
        near: Pixels = scipy.ndimage.correlate1d(array, weights, axis=axis, mode="nearest")
        return near
    result = np.empty(array.shape, array.dtype)
    if array.ndim == 1:
        sum_rows(array[None, :], result[None, :], weights)
        return result
    moved, target = (each if last else np.moveaxis(each, axis, -2) for each in (array, result))
    for place in np.ndindex(moved.shape[:-2]):
        (sum_rows if last else sum_columns)(moved[place], target[place], weights)
    return result


def sum_columns(source: Pixels, sink: Pixels, weights: Pixels) -> None:
    """Write the weighted sums along the first axis of a frame into `sink`."""
    width = source.shape[1]
    step = min(max(WORK // (SUMS * (SUMS + len(weights) - 1)), 1), ACROSS)
    for left in range(0, width, step):
        columns = slice(left, left + step)
        wide = source[:, columns].astype(np.float64)
        for sums, reached, band in bands(weights, source.shape[0]):
            sink[sums, columns] = band @ wide[reached]


def sum_rows(source: Pixels, sink: Pixels, weights: Pixels) -> None:
    """Write the weighted sums along the last axis of a frame into `sink`."""
    height, width = source.shape
    step = min(max(WORK // (SUMS * (SUMS + len(weights) - 1)), 1), ACROSS)
    for top in range(0, height, step):
        rows = slice(top, top + step)
        wide = source[rows].astype(np.float64)
        for sums, reached, band in bands(weights, width):
            sink[rows, sums] = wide[:, reached] @ band.T


@functools.lru_cache(maxsize=64)
def cached_bands(weights: bytes, size: int) -> tuple[tuple[slice, slice, Pixels], ...]:
    """Return what `bands` does for the bytes of its weights."""
    given = np.frombuffer(weights, np.float64)
    reach = len(given) // 2
    found = []
    inner: Pixels | None = None
    for start in range(0, size, SUMS):
        stop = min(start + SUMS, size)
        first, last = max(start - reach, 0), min(stop + reach, size)
        whole = start >= reach and stop + reach <= size and stop - start == SUMS
        if whole and inner is not None:
            found.append((slice(start, stop), slice(first, last), inner))
            continue
        sums = np.arange(stop - start)[:, None]
        places = np.clip(start + sums + np.arange(-reach, reach + 1), 0, size - 1) - first
        band = np.zeros((stop - start, last - first))
        np.add.at(band, (np.broadcast_to(sums, places.shape), places), given)
        if whole:
            inner = band
        found.append((slice(start, stop), slice(first, last), band))
    return tuple(found)


def bands(weights: Pixels, size: int) -> tuple[tuple[slice, slice, Pixels], ...]:
    """Return which sums are taken together, what they reach, and the matrix between the two.

    What would lie beyond the edge is weight of the outermost value.
    """
    return cached_bands(np.ascontiguousarray(weights, np.float64).tobytes(), size)
