"""A bounded ring of frames between the thread that receives and the one that records."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from forebay.acquisition.errors import SourceError
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
    frame of one that may not is lost and its counter kept, to be handed over in its place: what
    is taken and what is lost together are all that was put in while the ring was open.
    """

    def __init__(self, geometry: Geometry, *, capacity_bytes: int) -> None:
        """Take the memory: room for two frames at the least.

        Raises
        ------
        SourceError
            If there is not so much memory.
        """
        slots = max(2, capacity_bytes // geometry.frame_bytes)
        try:
            self._pixels = np.empty((slots, *geometry.shape), geometry.dtype)
        except MemoryError as error:
            raise SourceError(
                f"a buffer of {slots} frames of {geometry.frame_bytes} bytes does not fit into "
                "memory: take a smaller one"
            ) from error
        self._entries: list[Delivery | None] = [None] * slots
        self._changed = threading.Condition()
        self._put = self._taken = 0
        self._lost: list[Counters] = []
        self._finished = False
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
        """Copy a frame in, or write it down as lost; False when the ring takes none any more.

        Parameters
        ----------
        frame
            The frame, with the ring's geometry.
        wait
            Whether to wait for room rather than lose the frame.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self.depth < self.slots or self._finished)
            if self._ended():
                return False
            if self.depth == self.slots:
                self._lose(frame.counter)
                return True
        slot = self._put % self.slots
        self._pixels[slot] = frame.data
        with self._changed:
            if self._ended():
                return False
            held = replace(frame, data=self._pixels[slot])
            self._entries[slot] = Delivery(held, tuple(self._lost))
            self._lost.clear()
            self._put += 1
            self.highest = max(self.highest, self.depth)
            self._changed.notify_all()
        return True

    def finish(self) -> None:
        """Take no frame any more; what is in the ring can still be taken out."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    @contextmanager
    def take(self) -> Iterator[Delivery]:
        """Wait for the next frame and give it for the time of the block.

        The last delivery has no frame; it holds what was lost behind the last one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.depth > 0 or self._finished)
            entry = self._entries[self._taken % self.slots] if self.depth else None
            if entry is None:
                entry = Delivery(None, tuple(self._lost))
        yield entry
        if entry.frame is not None:
            with self._changed:
                self._taken += 1
                self._changed.notify_all()

    def _ended(self) -> bool:
        return self._finished

    def _lose(self, counter: int) -> None:
        self.lost += 1
        if self._lost and self._lost[-1].last + 1 == counter:
            self._lost[-1] = Counters(self._lost[-1].first, counter)
        else:
            self._lost.append(Counters(counter, counter))
