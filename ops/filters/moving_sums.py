"""Sums over a window that moves along an axis."""

from forebay.ops._arrays import Array


def moving_sums(array: Array, width: int, axis: int) -> Array:
    """Return the sums of `width` successive values along `axis`; `width - 1` fewer than there are.

    A sum of two is made of two values, one of four of two such sums, and so on: each result takes
    about ``log2(width)`` additions, is off by as many roundings at most, and does not depend on what
    is beyond its window.

    Parameters
    ----------
    array
        Of any namespace.
    width
        Of the window, at least 1 and at most the length along `axis`.
    axis
        Along which it moves.

    Examples
    --------
    >>> import numpy as np
    >>> moving_sums(np.arange(6), 3, 0).tolist()
    [3, 6, 9, 12]
    """
    count = array.shape[axis] - width + 1

    def along(values: Array, start: int, stop: int) -> Array:
        window = [slice(None)] * values.ndim
        window[axis] = slice(start, stop)
        return values[tuple(window)]

    total, covered, sums, span = None, 0, array, 1
    while True:
        if width & span:
            part = along(sums, covered, covered + count)
            total = part if total is None else total + part
            covered += span
        if covered == width:
            return total
        length = sums.shape[axis] - span
        sums = along(sums, 0, length) + along(sums, span, span + length)
        span *= 2
