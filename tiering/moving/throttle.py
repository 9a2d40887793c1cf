"""Letting bytes through no faster than is allowed."""

import time
from collections.abc import Callable


class Throttle:
    """Waits so that bytes go through at a given rate, over time.

    Parameters
    ----------
    bytes_per_second
        The rate; as fast as can be if None.
    clock
        Seconds that never go back.
    wait
        Waits for so many seconds.

    Examples
    --------
    >>> waited = []
    >>> throttle = Throttle(1000, clock=lambda: 0.0, wait=waited.append)
    >>> throttle(500)
    >>> throttle(1500)
    >>> waited
    [0.5, 2.0]
    """

    def __init__(
        self,
        bytes_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._wait = wait
        self._free_at = clock()

    def __call__(self, count: int) -> None:
        """Take so many bytes in, and wait until they may have gone through."""
        if self._rate is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + count / self._rate
        if self._free_at > now:
            self._wait(self._free_at - now)
