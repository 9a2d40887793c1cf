"""A block taken a few frames at a time, so that what a filter needs beside it stays small."""

from collections.abc import Callable, Sequence

from forebay.ops._arrays import Array, as_real, namespace

LARGEST = 2**22
"""Values that are worked on at once: a frame of 2048 × 2048 pixels, or many small ones."""


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
