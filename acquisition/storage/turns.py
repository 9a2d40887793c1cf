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
        self._waiting: list[tuple[int, threading.Lock]] = []
        self._lock = threading.Lock()

    def join(self) -> Turn:
        """Return what gives a turn, as often as it is wanted, to the one thread that uses it."""
        return partial(self._turn, next(self._numbers))

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        self._wait(number)
        try:
            yield
        finally:
            self._pass_on()

    def _wait(self, number: int) -> None:
        mine = threading.Lock()
        with self._lock:
            if self._left:
                self._left -= 1
                return
            mine.acquire()
            heapq.heappush(self._waiting, (number, mine))
        # Whoever has a turn passes it on, however the writing ends.
        mine.acquire()

    def _pass_on(self) -> None:
        """Give the turn to the first of those that wait: nobody else is woken for it."""
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[1].release()
            else:
                self._left += 1
