"""Which exposures a simulated camera counts and does not deliver."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from forebay.acquisition.sources.parameters import real, whole
from forebay.acquisition.sources.simulated.randomness import Stream, generator

MOST = 0.999
"""The largest share of frames that may be lost; without any, a source would never end."""

_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Loss:
    """Counters that are lost: those named, and a share of all.

    Examples
    --------
    >>> [counter for counter in range(8) if Loss.of({2, 3}, 0.0, seed=0).takes(counter)]
    [2, 3]
    """

    counters: frozenset[int]
    """Counters that are lost in any case."""
    fraction: float
    """The chance of each other exposure to be lost."""
    seed: int
    """Decides which they are."""
    _drawn: dict[int, frozenset[int]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, counters: Iterable[int], fraction: float, *, seed: int) -> "Loss":
        """Check counters and share.

        Raises
        ------
        SourceError
            If a counter is no whole number from 0 on, or the share is not from 0 to `MOST`.
        """
        return cls(
            frozenset(whole("lost_counters", counter, 0, 2**63 - 1) for counter in counters),
            real("lost_fraction", fraction, 0.0, MOST),
            seed,
        )

    def takes(self, counter: int) -> bool:
        """Tell whether an exposure is lost; the same whenever it is asked."""
        if counter in self.counters:
            return True
        if not self.fraction:
            return False
        block, place = divmod(counter, _AT_ONCE)
        if block not in self._drawn:
            chances = generator(self.seed, Stream.LOSS, block).random(_AT_ONCE)
            self._drawn.clear()
            self._drawn[block] = frozenset(np.flatnonzero(chances < self.fraction).tolist())
        return place in self._drawn[block]
