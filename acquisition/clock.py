"""Time, so that tests can give their own."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for timestamps, monotonic time for durations, and waiting that can be ended."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def wait_until(self, deadline: float, cancelled: threading.Event) -> bool:
        """Wait for the monotonic time `deadline`; False if `cancelled` was set before it."""


class SystemClock:
    """The machine's own clocks."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def wait_until(self, deadline: float, cancelled: threading.Event) -> bool:
        """Wait for the monotonic time `deadline`; False if `cancelled` was set before it."""
        return not cancelled.wait(max(0.0, deadline - self.monotonic()))


SYSTEM_CLOCK = SystemClock()
