"""A camera's clock against the monotonic clock of this machine."""

from typing import Final

WINDOW_SECONDS: Final = 60.0
"""Time over which a slow drift of the two clocks is followed."""
_SETTLING_SECONDS = 1.0
_LEAST_TOLERANCE = 1.0
_EXPOSURES = 10


def clock_tolerance(exposure: float | None) -> float:
    """Return by how many seconds two clocks may differ before it is called a jump.

    Parameters
    ----------
    exposure
        Exposure time of a frame in seconds, where it is known.

    Examples
    --------
    >>> clock_tolerance(None), clock_tolerance(0.01), clock_tolerance(2.0)
    (1.0, 1.0, 20.0)
    """
    return max(_LEAST_TOLERANCE, _EXPOSURES * (exposure or 0.0))


class ClockWatch:
    """Tells when a camera's clock jumps, from the timestamps and from when the frames came.

    A frame can come late, and many can where this machine was held up; it cannot come early.  So
    the camera's clock has jumped forward where its timestamp is further ahead of the time here
    than that of any frame within the last minute, by more than the tolerance, and back where a
    timestamp is before the one of the frame before it, by more than the tolerance.

    The first frames may have waited until somebody took them, and those behind them come fresh: no
    jump forward is told until a frame has come a second after that, and no further ahead.

    Parameters
    ----------
    tolerance
        Seconds; infinity for frames that do not come in real time.

    Notes
    -----
    A jump back by less than the time between two frames looks like a frame that came late, and is
    not told.

    Examples
    --------
    >>> watch = ClockWatch(1.0)
    >>> second = 1_000_000_000
    >>> [watch.jump(stamp * second, now) for stamp, now in [(0, 5.0), (1, 6.0), (9, 7.0), (2, 8.0)]]
    [0.0, 0.0, 7.0, -7.0]
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._latest: int | None = None
        # The largest lead of the camera's clock in this window and in the one before.
        self._lead = self._lead_before = 0.0
        self._window_began = 0.0
        self._settled_at = 0.0
        self._settled = False

    def jump(self, timestamp: int, now: float) -> float:
        """Return the seconds by which the camera's clock jumped before this frame, mostly 0.

        Parameters
        ----------
        timestamp
            The frame's own time, in nanoseconds.
        now
            When it came, in seconds on the monotonic clock.
        """
        lead = timestamp / 1e9 - now
        before, self._latest = self._latest, timestamp
        if before is None:
            return self._settle(lead, now)
        if timestamp < before and (before - timestamp) / 1e9 > self._tolerance:
            return self._begin(lead, now, (timestamp - before) / 1e9)
        ahead = lead - max(self._lead, self._lead_before)
        if ahead > self._tolerance:
            return self._begin(lead, now, ahead) if self._settled else self._settle(lead, now)
        self._settled = self._settled or now >= self._settled_at
        if now - self._window_began > WINDOW_SECONDS:
            self._lead_before, self._lead, self._window_began = self._lead, lead, now
        elif lead > self._lead:
            self._lead = lead
        return 0.0

    def _settle(self, lead: float, now: float) -> float:
        self._settled_at = now + _SETTLING_SECONDS
        return self._begin(lead, now, 0.0)

    def _begin(self, lead: float, now: float, jumped: float) -> float:
        self._lead = self._lead_before = lead
        self._window_began = now
        return jumped
