"""A bounded ring of frames between the thread that receives and the one that records."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from forebay.acquisition.frames import Frame, Geometry


@dataclass(frozen=True, slots=True)
class Counters:
    """A range of camera counters, both ends included."""

    first: int
    """The first one."""
    last: int
    """The last one."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the ring hands over at a time."""

    frame: Frame | None
    """The frame, in the ring's own memory; None at the end."""
    lost: tuple[Counters, ...]
    """What found no room since the frame before."""


class FrameRing:
    """Frames in memory that was taken beforehand; putting one in copies it once.

    One thread puts, one takes.  When the ring is full, a source that may be held up waits, and a
    frame of one that may not is lost and its counter kept, to be handed over in its place.
    """

    def __init__(self, geometry: Geometry, *, capacity_bytes: int) -> None:
        """Take the memory: room for two frames at the least."""
        slots = max(2, capacity_bytes // geometry.frame_bytes)
        self._pixels = np.empty((slots, *geometry.shape), geometry.dtype)
        self._entries: list[Delivery | None] = [None] * slots
        self._changed = threading.Condition()
        self._put = self._taken = 0
        self._lost: list[Counters] = []
        self._finished = self._abandoned = False
        self.highest = 0
        """The most frames that were in the ring at a time."""
        self.lost = 0
        """Frames that found no room."""

    @property
    def slots(self) -> int:
        """Frames that the ring holds."""
        return len(self._entries)

    @property
    def depth(self) -> int:
        """Frames in the ring now."""
        return self._put - self._taken

    def put(self, frame: Frame, *, wait: bool) -> bool:
        """Copy a frame in; False where it was lost, or nobody takes frames any more.

        Parameters
        ----------
        frame
            The frame, with the ring's geometry.
        wait
            Whether to wait for room rather than lose the frame.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self.depth < self.slots or self._abandoned)
            if self.depth == self.slots or self._abandoned:
                self._lose(frame.counter)
                return False
        slot = self._put % self.slots
        self._pixels[slot] = frame.data
        with self._changed:
            held = replace(frame, data=self._pixels[slot])
            self._entries[slot] = Delivery(held, tuple(self._lost))
            self._lost.clear()
            self._put += 1
            self.highest = max(self.highest, self.depth)
            self._changed.notify_all()
        return True

    def finish(self) -> None:
        """Say that no frame comes any more."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that no frame is taken any more, and let a waiting `put` go."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    @contextmanager
    def take(self, *, timeout: float) -> Iterator[Delivery | None]:
        """Give the next frame for the time of the block; None where none came in time.

        The last delivery has no frame; it holds what was lost behind the last one.

        Parameters
        ----------
        timeout
            Longest time to wait, in seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.depth > 0 or self._finished, timeout)
            if self.depth == 0:
                entry = Delivery(None, tuple(self._lost)) if self._finished else None
            else:
                entry = self._entries[self._taken % self.slots]
        yield entry
        if entry is not None and entry.frame is not None:
            with self._changed:
                self._taken += 1
                self._changed.notify_all()

    def _lose(self, counter: int) -> None:
        self.lost += 1
        if self._lost and self._lost[-1].last + 1 == counter:
            self._lost[-1] = Counters(self._lost[-1].first, counter)
        else:
            self._lost.append(Counters(counter, counter))
