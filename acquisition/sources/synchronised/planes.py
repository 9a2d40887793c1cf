"""A bounded queue of one camera's frames, in memory that was taken beforehand."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Frame, Geometry

_WAKE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Plane:
    """One camera's part of a frame."""

    trigger: int
    """Which exposure it belongs to."""
    timestamp: int
    """When it was taken, in nanoseconds since 1970-01-01 UTC."""
    flags: int
    """What is unusual about it, as the bits of `FrameFlag`."""
    since: float
    """When it came, on the monotonic clock."""
    data: npt.NDArray[Any]
    """The pixels, in the queue's own memory until the plane is removed."""


class PlaneQueue:
    """Planes in the order of their triggers; one thread puts, another looks and removes.

    Several queues share a condition, so that whoever takes from all of them can wait for any.
    Who takes holds it while it calls `pass_trigger` and `remove`; the other methods take it
    themselves.

    Parameters
    ----------
    geometry
        Layout of the planes.
    room
        Planes that the queue holds.
    changed
        Notified whenever anything here has changed.

    Raises
    ------
    SourceError
        If there is not so much memory.
    """

    def __init__(self, geometry: Geometry, *, room: int, changed: threading.Condition) -> None:
        try:
            self._pixels = np.empty((room, *geometry.shape), geometry.dtype)
        except (MemoryError, ValueError) as error:
            raise SourceError(
                f"{room} waiting frames of {geometry.frame_bytes} bytes do not fit into memory: "
                "take less patience_frames"
            ) from error
        self._waiting: deque[Plane] = deque()
        self._changed = changed
        self._put = 0
        self._lowest = 0
        self._asking = False
        self.closed = False
        """Whether nothing is taken any more."""
        self.ended = False
        """Whether nothing will come any more."""
        self.given_up = False
        """Whether a trigger had to go on without it, and nothing has come since."""

    @property
    def first(self) -> Plane | None:
        """The plane that has waited the longest."""
        return self._waiting[0] if self._waiting else None

    @property
    def full(self) -> bool:
        """Whether there is no room."""
        return len(self._waiting) == len(self._pixels)

    @property
    def overfull(self) -> bool:
        """Whether a frame has come for which there is no room."""
        return self.full and self._asking

    def put(self, frame: Frame, *, trigger: int, now: float) -> bool:
        """Copy a frame in once there is room; False if it is not taken.

        It is not taken if its trigger was passed, as `pass_trigger` says, or the queue is closed.
        """
        with self._changed:
            self.given_up = False
            while self.full and not self.closed:
                self._asking = True
                self._changed.notify_all()
                self._changed.wait(_WAKE_SECONDS)
            self._asking = False
        slot = self._pixels[self._put % len(self._pixels)]
        slot[...] = frame.data
        with self._changed:
            if not self._wants(trigger):
                return False
            self._waiting.append(Plane(trigger, frame.timestamp, frame.flags, now, slot))
            self._put += 1
            self._changed.notify_all()
        return True

    def pass_trigger(self, trigger: int) -> None:
        """Take no plane of that trigger, or of one before it, any more."""
        self._lowest = trigger + 1

    def remove(self) -> None:
        """Remove the first plane; its memory is used again."""
        self._waiting.popleft()
        self._changed.notify_all()

    def close(self) -> None:
        """Take nothing any more, and let whoever waits for room go."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def end(self) -> None:
        """Say that nothing will come any more."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _wants(self, trigger: int) -> bool:
        return not self.closed and trigger >= self._lowest
