"""Time that passes only where somebody waits for it, or says so."""

import threading


class ManualClock:
    """A `Clock` on which waiting takes no time: it moves to the deadline at once.

    Parameters
    ----------
    wall
        Nanoseconds since 1970-01-01 UTC at the beginning.

    Examples
    --------
    >>> clock = ManualClock(wall=1_000)
    >>> clock.advance(2.5)
    >>> clock.monotonic(), clock.time_ns()
    (2.5, 2500001000)
    """

    def __init__(self, wall: int = 1_700_000_000_000_000_000) -> None:
        self._wall = wall
        self._now = 0.0
        self.waits: list[float] = []
        """The deadlines that were waited for."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return self._wall + round(self._now * 1e9)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def wait_until(self, deadline: float, cancelled: threading.Event) -> bool:
        """Move to the monotonic time `deadline`, if it is to come; False if cancelled."""
        self.waits.append(deadline)
        if cancelled.is_set():
            return False
        self._now = max(self._now, deadline)
        return True

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._now += seconds
