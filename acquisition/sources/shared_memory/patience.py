"""Waiting for files, until there is no time left or somebody ends it."""

import math
import select
import threading
from typing import Protocol

from forebay.acquisition.clock import Clock
from forebay.acquisition.control.bell import Bell

_LOOK_SECONDS = 0.1
"""How soon it is noticed that an event was set, which no file tells."""


class _HasFile(Protocol):
    def fileno(self) -> int: ...


class Patience:
    """Waits for files to be readable.

    Parameters
    ----------
    bell
        Wakes whoever waits.
    stopped
        Ends all waiting, if the bell is rung after it is set.
    clock
        Source of times.
    deadline
        When the waiting ends, on the monotonic clock; infinity for never.
    cancelled
        Ends the waiting, too.
    """

    def __init__(
        self,
        bell: Bell,
        stopped: threading.Event,
        clock: Clock,
        *,
        deadline: float = math.inf,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._bell = bell
        self._stopped = stopped
        self._clock = clock
        self._deadline = deadline
        self._cancelled = cancelled

    @property
    def stopped(self) -> bool:
        """Whether somebody has ended the waiting."""
        return self._stopped.is_set() or (self._cancelled is not None and self._cancelled.is_set())

    @property
    def over(self) -> bool:
        """Whether nothing is waited for any more."""
        return self.stopped or self._clock.monotonic() >= self._deadline

    def within(self, seconds: float) -> "Patience":
        """Return the same with so much time at most."""
        deadline = min(self._deadline, self._clock.monotonic() + seconds)
        return Patience(
            self._bell, self._stopped, self._clock, deadline=deadline, cancelled=self._cancelled
        )

    def wait(self, *files: _HasFile) -> set[int]:
        """Wait until a file can be read, its other end is gone, or the bell is rung.

        Returns
        -------
        set of int
            The descriptors of those of the files that are so; empty if it was the bell, or the
            waiting is over.
        """
        poll = select.poll()
        for file in (self._bell, *files):
            poll.register(file.fileno(), select.POLLIN)
        while not self.over:
            left = self._deadline - self._clock.monotonic()
            most = left if self._cancelled is None else min(left, _LOOK_SECONDS)
            ready = {
                file for file, _ in poll.poll(None if math.isinf(most) else max(0.0, most) * 1000)
            }
            if self._bell.fileno() in ready and not self._stopped.is_set():
                self._bell.answer()
            if ready:
                return ready - {self._bell.fileno()}
        return set()
