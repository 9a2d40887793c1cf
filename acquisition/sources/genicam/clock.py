"""A camera's own clock as UTC."""

from typing import Final

WINDOW_SECONDS: Final = 30.0
"""Time over which the smallest delay of a frame is looked for."""
MOST_SLEW: Final = 200e-6
"""Part of the time that passes by which the two clocks are brought together at most."""

_WINDOW = round(WINDOW_SECONDS * 1e9)


class CameraClock:
    """Turns the timestamps of a camera into nanoseconds since 1970-01-01 UTC.

    What is added to a timestamp is measured at the start: by reading both clocks at once where
    the camera's can be read, and else as the delay of the first frame, which makes every time
    late by what that frame took.

    The two clocks drift apart, by seconds in a day.  A frame is delayed by a part that is always
    the same, and a part that is sometimes nothing.  So the smallest delay within a window tells
    the drift since the first window, and it is followed so slowly that the time between two
    frames is wrong by 0.02 % at most.

    A camera that begins its clock anew, or whose clock stands still, is measured anew by that
    frame.

    Parameters
    ----------
    offset
        What to add to a timestamp, in nanoseconds; None if it was not measured.

    Notes
    -----
    If the clock of this machine is set while frames come, the times of the frames follow as
    slowly as they follow a drift.

    Examples
    --------
    >>> clock = CameraClock(offset=None)
    >>> [clock.utc(camera, arrived) for camera, arrived in [(100, 5_000), (200, 5_170)]]
    [5000, 5100]
    """

    def __init__(self, offset: int | None) -> None:
        self._measured = offset
        self._offset = 0
        self._target = 0
        self._camera: int | None = None
        self._window_began = 0
        self._smallest: int | None = None
        self._reference: int | None = None

    def utc(self, camera: int, arrived: int) -> int:
        """Return when a frame was taken.

        Parameters
        ----------
        camera
            Its time on the camera's clock, in nanoseconds.
        arrived
            When it began to arrive, in nanoseconds since 1970-01-01 UTC.
        """
        delay = arrived - camera
        if self._camera is None or camera <= self._camera:
            self._begin(camera, delay)
        else:
            self._follow(camera, delay, camera - self._camera)
        self._camera = camera
        return camera + self._offset

    def _begin(self, camera: int, delay: int) -> None:
        first = self._camera is None
        measured = self._measured if first else None
        self._offset = self._target = delay if measured is None else measured
        self._reference = None
        self._window_began, self._smallest = camera, delay

    def _follow(self, camera: int, delay: int, passed: int) -> None:
        self._smallest = delay if self._smallest is None else min(self._smallest, delay)
        if camera - self._window_began > _WINDOW:
            if self._reference is None:
                self._reference = self._smallest - self._offset
            self._target = self._smallest - self._reference
            self._window_began, self._smallest = camera, None
        most = int(passed * MOST_SLEW)
        self._offset += max(-most, min(most, self._target - self._offset))
