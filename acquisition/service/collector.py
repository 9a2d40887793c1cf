"""Python's garbage collector, kept from stopping the threads that handle frames."""

import gc
import threading
from typing import ClassVar, Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock

_EVERY = (1, 10, 100)
"""Every how many collections each generation has its turn."""


class QuietCollector:
    """For the time of a ``with`` block, collects only when it is told to.

    The collector stops every thread at a time of its own choice, the longer the more objects
    there are.  Within the block it is off and what was there before is set aside, and whoever
    waits anyway calls `collect` from time to time, which looks at the young objects, and seldom
    at the older ones.  When a look at all of them has taken longer than `longest_pause`, those
    that are left are set aside, too, so that the next one is short again.

    Blocks may overlap, in several threads; when the last one is left the collector is on if it
    was, and nothing is set aside any more.

    Parameters
    ----------
    longest_pause
        Seconds that a collection of all objects may take without consequence.
    clock
        Source of times.

    Examples
    --------
    >>> with QuietCollector() as collector:
    ...     gc.isenabled(), collector.collect() < 10.0
    (False, True)
    """

    _lock: ClassVar = threading.Lock()
    _users: ClassVar = 0
    _was_enabled: ClassVar = True

    def __init__(self, *, longest_pause: float = 0.002, clock: Clock = SYSTEM_CLOCK) -> None:
        self._longest_pause = longest_pause
        self._clock = clock
        self._turns = 0
        self.longest = 0.0
        """The longest time that a collection has taken, in seconds."""
        self.set_aside = 0
        """How often objects were set aside because a collection took too long."""

    def __enter__(self) -> Self:
        """Switch the collector off."""
        cls = QuietCollector
        with cls._lock:
            if not cls._users:
                cls._was_enabled = gc.isenabled()
                gc.disable()
                # Not collected first, which would take tens of milliseconds: what is garbage by
                # now goes when the last block is left.
                gc.freeze()
            cls._users += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Leave the collector as it was."""
        cls = QuietCollector
        with cls._lock:
            cls._users -= 1
            if not cls._users:
                gc.unfreeze()
                if cls._was_enabled:
                    gc.enable()

    def collect(self) -> float:
        """Collect the generation whose turn it is; return the seconds that it took."""
        self._turns += 1
        generation = max(index for index, every in enumerate(_EVERY) if self._turns % every == 0)
        began = self._clock.monotonic()
        gc.collect(generation)
        took = self._clock.monotonic() - began
        self.longest = max(self.longest, took)
        if generation == len(_EVERY) - 1 and took > self._longest_pause:
            self.set_aside += 1
            gc.freeze()
        return took
