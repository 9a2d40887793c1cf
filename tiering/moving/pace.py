"""A rate that all moves of a service share, and that changes while bytes go through."""

import math
import threading
import time
from collections.abc import Callable


class Pace:
    """Lets bytes through at a rate that may be changed at any time, also to standing still.

    Parameters
    ----------
    bytes_per_second
        The rate at first: 0 for none at all, infinity for as many as can be.
    clock
        Seconds that never go back.

    Examples
    --------
    >>> pace = Pace(0.0)
    >>> pace.take(1000)
    >>> pace.wait(timeout=0.0)
    False
    >>> pace.set(math.inf)
    >>> pace.wait(timeout=0.0)
    True
    """

    def __init__(
        self, bytes_per_second: float = math.inf, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._rate = bytes_per_second
        self._owed = 0.0
        self._settled_at = clock()
        self._changed = threading.Condition()

    @property
    def bytes_per_second(self) -> float:
        """The rate."""
        with self._changed:
            return self._rate

    def set(self, bytes_per_second: float) -> None:
        """Change the rate; whoever waits goes by it at once."""
        with self._changed:
            self._settle()
            self._rate = bytes_per_second
            self._changed.notify_all()

    def take(self, count: int) -> None:
        """Take so many bytes in, that may go through when `wait` says so."""
        with self._changed:
            self._settle()
            self._owed += count

    def wait(self, *, timeout: float) -> bool:
        """Wait until everything that was taken in may have gone through; tell whether it has.

        Parameters
        ----------
        timeout
            Seconds to wait at the most.
        """
        until = self._clock() + timeout
        with self._changed:
            while True:
                self._settle()
                if self._owed <= 0:
                    return True
                left = until - self._clock()
                if left <= 0:
                    return False
                self._changed.wait(min(left, self._owed / self._rate if self._rate else left))

    def _settle(self) -> None:
        now = self._clock()
        if math.isinf(self._rate):
            self._owed = 0.0
        else:
            self._owed = max(0.0, self._owed - self._rate * (now - self._settled_at))
        self._settled_at = now
