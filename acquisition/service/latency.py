"""How long things took: a histogram that is always on."""

import math
from itertools import accumulate
from math import log2

import numpy as np
import numpy.typing as npt

SHORTEST = 1e-6
"""Seconds; what is shorter counts as this."""
LONGEST = 1e3
"""Seconds; what is longer is counted together."""

_SUMMARY = {"median": 50.0, "p99": 99.0, "p999": 99.9}
_BINS_PER_OCTAVE = 32
_FIRST = log2(SHORTEST) * _BINS_PER_OCTAVE
_BINS = math.ceil(log2(LONGEST) * _BINS_PER_OCTAVE - _FIRST) + 1


class LatencyHistogram:
    """Durations from 1 µs to 1000 s in bins that are 2.2 % wide.

    It takes the same memory however many durations there are.  One thread records; any thread
    may read meanwhile, and sees some state between two durations.

    Examples
    --------
    >>> histogram = LatencyHistogram()
    >>> for milliseconds in range(1, 101):
    ...     histogram.record(milliseconds / 1000)
    >>> histogram.count, histogram.max, round(histogram.percentile(50), 3)
    (100, 0.1, 0.05)
    """

    __slots__ = ("_bins", "_max", "_min")

    def __init__(self) -> None:
        self._bins = [0] * _BINS
        self._min, self._max = math.inf, 0.0

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self._bins)

    @property
    def max(self) -> float:
        """The longest duration, in seconds; 0 where there is none."""
        return self._max

    def record(self, seconds: float) -> None:
        """Add a duration.

        Raises
        ------
        ValueError
            If it is not a finite number.
        """
        if SHORTEST < seconds < LONGEST:
            place = int(log2(seconds) * _BINS_PER_OCTAVE - _FIRST)
        elif math.isfinite(seconds):
            place, seconds = (0, max(seconds, 0.0)) if seconds <= SHORTEST else (-1, seconds)
        else:
            raise ValueError(f"a duration cannot be {seconds} s; give a finite number")
        self._bins[place] += 1
        self._max = max(self._max, seconds)
        self._min = min(self._min, seconds)

    def record_many(self, seconds: npt.NDArray[np.floating]) -> None:
        """Add durations.

        Raises
        ------
        ValueError
            If one is not a finite number; then none is added.
        """
        if not len(seconds):
            return
        if not np.isfinite(seconds).all():
            raise ValueError("a duration among them is not a finite number; leave it out")
        lengths = np.maximum(seconds, 0.0)
        bins = np.log2(np.maximum(lengths, SHORTEST)) * _BINS_PER_OCTAVE - _FIRST
        bins = np.where(lengths < LONGEST, bins, _BINS - 1).astype(np.int64)
        places, counts = np.unique(bins, return_counts=True)
        for place, count in zip(places.tolist(), counts.tolist(), strict=True):
            self._bins[place] += count
        self._max = max(self._max, float(lengths.max()))
        self._min = min(self._min, float(lengths.min()))

    def percentile(self, percent: float) -> float:
        """Return the shortest duration that so many percent of all are no longer than.

        Exact to 1.1 % between `SHORTEST` and `LONGEST`, and NaN where there is no duration.

        Raises
        ------
        ValueError
            If it is not from 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"there is no percentile {percent}; give 0 to 100")
        bins = tuple(self._bins)
        rank = max(1, math.ceil(sum(bins) * percent / 100))
        for place, below in enumerate(accumulate(bins)):
            if below >= rank:
                middle = SHORTEST * 2 ** ((place + 0.5) / _BINS_PER_OCTAVE)
                return self._max if place == _BINS - 1 else min(max(middle, self._min), self._max)
        return math.nan

    def summary(self) -> dict[str, float]:
        """Return median, p99, p99.9 and the longest, in seconds; nothing where there is none."""
        if not self.count:
            return {}
        return {name: self.percentile(point) for name, point in _SUMMARY.items()} | {
            "max": self.max
        }
