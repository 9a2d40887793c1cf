"""A block taken a few frames at a time, so that what a filter needs beside it stays small."""

from collections.abc import Callable, Sequence

import numpy as np
from array_api_compat import is_numpy_array

from forebay.ops._arrays import Array, as_real, namespace

LARGEST = 2**22
"""Values that are worked on at once: a frame of 2048 × 2048 pixels, or many small ones."""

SLAB = 2**16
"""Values that a processor works on at once where it passes over them many times."""


def in_parts(function: Callable[[Array], Array], array: Array, axes: Sequence[int]) -> Array:
    """Return ``function(array)``, found for a few frames at a time.

    Parameters
    ----------
    function
        Gives an array of the same shape, in which a frame depends on that frame alone.
    array
        NumPy or CuPy; at least one frame is taken at once, however large.
    axes
        Those of a frame, counted from the first.
    """
    leading = [axis for axis in range(array.ndim) if axis not in axes]
    if not leading or array.size <= LARGEST:
        return function(as_real(array))
    axis = leading[0]
    length = array.shape[axis]
    step = max(LARGEST // (array.size // length), 1)
    parts = []
    for start in range(0, length, step):
        window = (*(slice(None),) * axis, slice(start, min(start + step, length)))
        parts.append(in_parts(function, array[(*window, ...)], [axis, *axes]))
    return namespace(array).concat(parts, axis=axis)


def in_slabs(
    function: Callable[[Array], Array], array: Array, axes: Sequence[int], values: int = SLAB
) -> Array:
    """Return ``function(array)``, found for a slab at a time, which stays in a processor's cache.

    Parameters
    ----------
    function
        Gives an array of the same lengths along the other axes, in which what lies along `axes`
        depends on that alone.
    array
        NumPy, or of another namespace, which is taken as a whole.
    axes
        Those that are not cut, counted from the first.
    values
        About how many make a slab; what lies along `axes` is one at least.
    """
    others = [axis for axis in range(array.ndim) if axis not in axes]
    if not others or not is_numpy_array(array):
        return function(array)
    axis = others[0]
    length = array.shape[axis]
    step = max(values * length // array.size, 1)
    if step >= length:
        return function(array)
    result = None
    for start in range(0, length, step):
        slab = (*(slice(None),) * axis, slice(start, start + step))
        part = function(array[slab])
        if result is None:
            shape = [*part.shape[:axis], length, *part.shape[axis + 1 :]]
            result = np.empty_like(part, shape=shape, subok=False)
        result[slab] = part
        # The next slab is not to be found beside this one.
        del part
    return result
