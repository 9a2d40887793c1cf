"""How fast frames are committed, and how long the disk will last."""

import threading
from collections import deque

from forebay.acquisition.clock import Clock
from forebay.acquisition.sizes import size_text

_WINDOW_SECONDS = 5.0
_WARN_SECONDS = (3600.0, 600.0, 60.0)
_WARN_BYTES = 2**30
_ROOM_AGAIN = 2
"""So many times as much must be left as when it was warned."""
_MINUTES_FROM = 120


class RateMeter:
    """Frames and bytes per second, over the commits of the last seconds and two at the least.

    Frames are committed many at a time, so that what counts is the time between commits; after
    the last one it does as soon as that is longer ago than those before it took.

    Parameters
    ----------
    clock
        Source of times.
    frames
        Frames that are there already.
    """

    def __init__(self, clock: Clock, *, frames: int = 0) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int, int]] = deque([(clock.monotonic(), frames, 0)])
        self._lock = threading.Lock()

    def of(self, frames: int, size: int) -> tuple[float, float]:
        """Return the rates, where by now there are so many frames and bytes."""
        now = self._clock.monotonic()
        with self._lock:
            samples = self._samples
            if frames > samples[-1][1]:
                samples.append((now, frames, size))
            while len(samples) > 2 and samples[1][0] <= now - _WINDOW_SECONDS:
                samples.popleft()
            began, frames_before, size_before = samples[0]
            latest, frames_after, size_after = samples[-1]
        seconds = latest - began if now - latest <= latest - began else now - began
        if seconds <= 0:
            return 0.0, 0.0
        return (frames_after - frames_before) / seconds, (size_after - size_before) / seconds


class DiskWatch:
    """Warns as a disk fills, each time a little more urgently."""

    def __init__(self) -> None:
        self._warned = 0

    def look(
        self, free: int | None, bytes_per_second: float, to_come: int | None = None
    ) -> str | None:
        """Return a warning when there is a new one.

        Parameters
        ----------
        free
            Bytes that are free; None where that is not known.
        bytes_per_second
            How fast they are used.
        to_come
            Bytes that are still to be written; None where that is not known.
        """
        if free is None:
            return None
        left = free / bytes_per_second if bytes_per_second > 0 else float("inf")
        wanted = to_come or 0
        # Where room was made, and not only the rate wavers, it is warned anew.
        again = _urgency(free / _ROOM_AGAIN, left / _ROOM_AGAIN, wanted)
        self._warned = min(self._warned, again)
        urgency = _urgency(free, left, wanted)
        if urgency <= self._warned:
            return None
        self._warned = urgency
        lasts = f"{left / 60:.0f} min" if left >= _MINUTES_FROM else f"{left:.0f} s"
        rate = f", which last {lasts} at this rate" if left < _WARN_SECONDS[0] else ""
        lacking = f", and {size_text(wanted)} are still to come" if wanted > free else ""
        return f"the disk has {size_text(free)} left{rate}{lacking}: make room, or stop in time"


def _urgency(free: float, left: float, wanted: int) -> int:
    """Return how urgent it is to make room: 0 is not at all."""
    urgency = sum(left < seconds for seconds in _WARN_SECONDS)
    return max(urgency, 1) if free < max(_WARN_BYTES, wanted) else urgency
