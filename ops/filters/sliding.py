"""Neighbours compared by shifting whole rows, a piece of a frame at a time.

`scipy.ndimage` goes from pixel to pixel. NumPy goes through a row several pixels at once, which is
faster wherever it makes up for passing over the row once for each neighbour: as long as the piece
that is worked on stays in the processor's cache. What comes out is what `scipy.ndimage` gives, bit
for bit: comparing rounds nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isqrt
from typing import Any, Literal

import numpy as np

type Pixels = np.ndarray[Any, Any]
"""A NumPy array."""

PIECE = 2**15
"""Pixels that are worked on at once: with what is needed beside them they fill a cache of 512 KiB."""


def disc_extreme(array: Pixels, rank: Literal["minimum", "maximum"], reach: int) -> Pixels:
    """Return the least or the largest value of the disc around each pixel of the last two axes.

    Beyond the edge there is nothing. The disc holds the pixels whose centres are within `reach` of
    its middle. A row of it is as wide as the circle is there: rows are widened step by step, and
    each is used above and below the middle when it is as wide as needed.
    """
    better = np.minimum if rank == "minimum" else np.maximum

    def extreme(piece: Pixels) -> Pixels:
        height, width = (length - 2 * reach for length in piece.shape)
        row = piece[:, reach : reach + width].copy()
        result: Pixels | None = None
        half = 0
        for distance in range(reach, -1, -1):
            while half < isqrt(reach**2 - distance**2):
                half += 1
                for offset in (-half, half):
                    better(row, piece[:, reach + offset : reach + offset + width], out=row)
            for offset in {-distance, distance}:
                part = row[reach + offset : reach + offset + height]
                result = part.copy() if result is None else better(result, part, out=result)
        assert result is not None  # noqa: S101 (there is always the middle row)
        return result

    return in_pieces(extreme, array, reach)


def ball_extreme(
    array: Pixels, rank: Literal["minimum", "maximum"], depth: Pixels, inside: Pixels
) -> Pixels:
    """Return the least value of ``array + depth``, or the largest of ``array - depth``, under a ball.

    `depth` and `inside` are of the last two axes, odd, and the same in all four quadrants: the
    four neighbours at the same distances are compared first.
    """
    reach = depth.shape[0] // 2
    lowest = rank == "minimum"
    better = np.minimum if lowest else np.maximum
    signed = (depth if lowest else -depth)[reach:, reach:].astype(array.dtype)
    quadrant = inside[reach:, reach:]

    def extreme(piece: Pixels) -> Pixels:
        height, width = (length - 2 * reach for length in piece.shape)
        result: Pixels = piece[reach : reach + height, reach : reach + width] + signed[0, 0]
        both = np.empty_like(result)
        rows, across = piece[reach : reach + height], np.empty_like(piece[:height])
        for down in range(reach + 1):
            if down:
                above, below = (piece[reach + row : reach + row + height] for row in (-down, down))
                rows = better(above, below, out=across)
                np.add(rows[:, reach : reach + width], signed[down, 0], out=both)
                better(result, both, out=result)
            for right in range(1, int(quadrant[down].sum())):
                left = rows[:, reach - right : reach - right + width]
                better(left, rows[:, reach + right : reach + right + width], out=both)
                np.add(both, signed[down, right], out=both)
                better(result, both, out=result)
        return result

    return in_pieces(extreme, array, reach, pixels=2 * PIECE)


def median_of_nine(array: Pixels) -> Pixels:
    """Return the median of the 3 × 3 pixels around each pixel of the last two axes.

    Beyond the edge the array goes on with its outermost values. A network of 19 comparisons finds
    it without sorting: J. L. Smith, Implementing median filters in XC4000E FPGAs (1996).
    """

    def median(piece: Pixels) -> Pixels:
        height, width = piece.shape[0] - 2, piece.shape[1] - 2
        p = [piece[y : y + height, x : x + width] for y in range(3) for x in range(3)]

        def ordered(low: int, high: int) -> None:
            p[low], p[high] = np.minimum(p[low], p[high]), np.maximum(p[low], p[high])

        for low, high in _SORTED_TRIPLES:
            ordered(low, high)
        p[3] = np.maximum(p[0], p[3])
        p[5] = np.minimum(p[5], p[8])
        ordered(4, 7)
        p[6] = np.maximum(p[3], p[6])
        p[4] = np.minimum(np.maximum(p[1], p[4]), p[7])
        p[2] = np.minimum(p[2], p[5])
        ordered(4, 2)
        return np.minimum(np.maximum(p[6], p[4]), p[2])

    return in_pieces(median, array, 1)


def median_of_square(array: Pixels, reach: int) -> Pixels:
    """Return the median of the square around each pixel of the last two axes.

    Beyond the edge the array goes on with its outermost values. Of just more than half the
    neighbours the least and the largest cannot be the median: they are forgotten, one more neighbour
    is taken in, and so on until one is left. A. W. Paeth, Median finding on a 3 × 3 grid, Graphics
    Gems (1990).
    """
    side = 2 * reach + 1

    def median(piece: Pixels) -> Pixels:
        height, width = piece.shape[0] - 2 * reach, piece.shape[1] - 2 * reach
        waiting = [piece[y : y + height, x : x + width] for y in range(side) for x in range(side)]
        kept = [waiting.pop() for _ in range(side**2 // 2 + 2)]
        while len(kept) > 1:
            kept = without_extremes(kept)
            if waiting:
                kept.append(waiting.pop())
        return kept[0]

    return in_pieces(median, array, reach, pixels=PIECE // 4)


def without_extremes(values: list[Pixels]) -> list[Pixels]:
    """Return arrays, two fewer, of what is neither the least nor the largest at each place.

    Examples
    --------
    >>> without_extremes([np.array([5, 1]), np.array([3, 8]), np.array([9, 4])])
    [array([5, 4])]
    """
    half = len(values) // 2
    pairs = list(zip(values[:half], values[half : 2 * half], strict=True))
    lower = [np.minimum(*pair) for pair in pairs]
    upper = [np.maximum(*pair) for pair in pairs]
    for single in values[2 * half :]:
        upper.append(np.maximum(lower[0], single))
        lower[0] = np.minimum(lower[0], single)
    return _losers(lower, np.minimum, np.maximum) + _losers(upper, np.maximum, np.minimum)


def _losers(
    values: list[Pixels],
    better: Callable[[Pixels, Pixels], Pixels],
    worse: Callable[[Pixels, Pixels], Pixels],
) -> list[Pixels]:
    """Return arrays, one fewer, without what is best at each place."""
    best, *others = values
    lost = []
    for other in others:
        lost.append(worse(best, other))
        best = better(best, other)
    return lost


_SORTED_TRIPLES = ((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8))
"""What sorts three triples."""


def in_pieces(
    function: Callable[[Pixels], Pixels],
    array: Pixels,
    reach: int,
    *,
    rows: int = 16,
    pixels: int = PIECE,
) -> Pixels:
    """Return what `function` makes of the last two axes, given in pieces with `reach` around them.

    A piece has at least `rows`, or twice the reach, and at most about as many `pixels`.
    """
    result = np.empty(array.shape, array.dtype)
    height, width = array.shape[-2:]
    rows = min(height, max(2 * reach, rows))
    columns = _step(width, rows + 2 * reach, pixels)
    if columns == width:
        # Narrow frames leave room for more rows.
        rows = max(rows, _step(height, width + 2 * reach, pixels) - 2 * reach)
    for place in np.ndindex(array.shape[:-2]):
        for window in _windows((height, width), (rows, columns)):
            beyond = tuple(
                _around(part, reach, length)
                for part, length in zip(window, (height, width), strict=True)
            )
            piece = array[place][beyond]
            for along in (-2, -1):
                piece = _grown(piece, window[along], reach, along, (height, width))
            result[place][window] = function(piece)
    return result


def _windows(lengths: Sequence[int], steps: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    (height, width), (rows, columns) = lengths, steps
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def _step(length: int, across: int, pixels: int) -> int:
    """Return how much of `length` makes a piece, where the other side of it is `across`."""
    return max(1, min(length, pixels // across))


def _around(part: slice, reach: int, length: int) -> slice:
    """Return a part of an axis with what there is of its neighbours within `reach`."""
    return slice(max(part.start - reach, 0), min(min(part.stop, length) + reach, length))


def _grown(piece: Pixels, part: slice, reach: int, along: int, lengths: tuple[int, int]) -> Pixels:
    """Return a piece, contiguous, with its outermost values repeated where the frame has ended."""
    before = max(reach - part.start, 0)
    behind = max(min(part.stop, lengths[along]) + reach - lengths[along], 0)
    if not before and not behind:
        return np.ascontiguousarray(piece)
    width = [(0, 0), (0, 0)]
    width[along] = (before, behind)
    return np.pad(piece, width, mode="edge")
