"""Brownian motion that can be asked for at any frame without going through those before it."""

import math

import numpy as np
import numpy.typing as npt

from forebay.acquisition.sources.simulated.randomness import Stream, generator


def brownian(seed: int, count: int, frame: int) -> npt.NDArray[np.float64]:
    """Return where walkers are at a frame, with steps of variance 1 along each axis.

    Parameters
    ----------
    seed
        Decides the walks.
    count
        Number of walkers.
    frame
        Number of steps made; all walkers are at 0 before the first.

    Returns
    -------
    ndarray
        Float64 of shape (count, 2).

    Notes
    -----
    This is Lévy's construction: the walk at the powers of two is a sum of independent
    increments, and half-way between two known times it is normal about their mean with a quarter
    of their distance as variance.  A frame k takes about 2·log2(k) draws, and walks asked for
    at different frames belong together.

    Examples
    --------
    >>> brownian(3, 2, 0).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    def normal(at: int) -> npt.NDArray[np.float64]:
        return generator(seed, Stream.WALK, at).standard_normal((count, 2))

    if frame == 0:
        return np.zeros((count, 2))
    low, here = 1, normal(1)
    while 2 * low <= frame:
        here = here + math.sqrt(low) * normal(2 * low)
        low *= 2
    if low == frame:
        return here
    high, there = 2 * low, here + math.sqrt(low) * normal(2 * low)
    while True:
        middle = (low + high) // 2
        between = (here + there) / 2 + math.sqrt((high - low) / 4) * normal(middle)
        if middle == frame:
            return between
        if frame < middle:
            high, there = middle, between
        else:
            low, here = middle, between
