"""A bound on the bytes that are in memory at one time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_AGAIN_SECONDS = 1.0


class ByteBudget:
    """Lets in only so many bytes at a time; who wants more waits until some are given back.

    Parameters
    ----------
    limit
        Most bytes at a time.  Something larger is let in when nothing else is.

    Examples
    --------
    >>> budget = ByteBudget(100)
    >>> with budget.holding(80):
    ...     budget.used
    80
    >>> budget.used
    0
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Bytes that are in now."""
        return self._used

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Wait until so many bytes may come in, and hold them for the time of the block."""
        with self._changed:
            while self._used and self._used + count > self._limit:
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._used += count
        try:
            yield
        finally:
            with self._changed:
                self._used -= count
                self._changed.notify_all()
