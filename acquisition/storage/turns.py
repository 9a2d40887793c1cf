"""Turns at the disk: a few write at a time, first who came first."""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

type Turn = Callable[[], AbstractContextManager[None]]
"""Waits for somebody's turn, which lasts as long as the context."""


class Turns:
    """Lets a few write at a time, whoever joined first before the others.

    Files that share a disk evenly are all full at the same time, and while they are flushed the
    disk has nothing to write.  In turns one is full after the other: it is flushed while the next
    ones are written.

    Parameters
    ----------
    most
        How many may have their turn at a time.

    Examples
    --------
    >>> turns = Turns(1)
    >>> turn = turns.join()
    >>> with turn():
    ...     print("the disk is mine")
    the disk is mine
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._numbers = itertools.count()
        self._waiting: list[int] = []
        self._changed = threading.Condition()

    def join(self) -> Turn:
        """Return what gives a turn, as often as it is wanted, to whoever calls this."""
        return partial(self._turn, next(self._numbers))

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        with self._changed:
            heapq.heappush(self._waiting, number)
            # Whoever has a turn gives it back, however the writing ends.
            self._changed.wait_for(lambda: self._left and self._waiting[0] == number)
            heapq.heappop(self._waiting)
            self._left -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._left += 1
                self._changed.notify_all()
