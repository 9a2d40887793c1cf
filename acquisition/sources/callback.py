"""Frames that a camera's own software hands over, one call for each."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import (
    NO_FLAGS,
    Frame,
    FrameFlag,
    Geometry,
    ImageMetadata,
    OnLost,
    check_frame,
    check_geometry,
)
from forebay.acquisition.sources.parameters import real, whole

CAPACITY_FRAMES = 16
"""Frames that wait to be asked for, unless it is told otherwise."""

_LONGEST_WAIT = 1e6


class CallbackSource:
    """A bounded queue between a thread of the camera's software and the one that receives.

    The software calls `submit` for each frame, and `finish` or `fail` at the end.  A frame that
    finds the queue full is not taken, and its counter is missing from those of the others: so it
    is written down as dropped when the next one comes, or at the end.

    Parameters
    ----------
    geometry
        The layout of every frame.
    metadata
        What is known of the instrument.
    capacity_frames
        Frames that may wait to be asked for.
    can_wait
        Whether the source may be held up: True only where the software waits in `submit`, with a
        `timeout`, for as long as it takes.
    clock
        Source of the timestamps that are not given.

    Raises
    ------
    FrameError
        If a run cannot hold frames of that layout.
    SourceError
        If `capacity_frames` is out of range, or there is not so much memory.

    Notes
    -----
    A frame's pixels are copied once, while `submit` runs, into memory of the source that was
    taken beforehand: the software may use its own again when `submit` returns.  The pixels of a
    frame that is delivered cannot be written to, and are valid until the next one is asked for.

    Examples
    --------
    >>> geometry = Geometry(("y", "x"), (2, 3), np.dtype("uint8"))
    >>> with CallbackSource(geometry, capacity_frames=2) as source:
    ...     [source.submit(np.full((2, 3), value, "uint8")) for value in (5, 6, 7)]
    ...     source.finish()
    ...     [(frame.counter, int(frame.data[0, 0])) for frame in source.frames()]
    [True, True, False]
    [(0, 5), (1, 6)]
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        metadata: ImageMetadata | None = None,
        capacity_frames: int = CAPACITY_FRAMES,
        can_wait: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._geometry = check_geometry(geometry)
        self._metadata = metadata or ImageMetadata()
        self._capacity = whole("capacity_frames", capacity_frames, 1, 2**20)
        # One slot is that of the frame that was delivered last.
        self._slots = _slots(geometry, self._capacity + 1)
        self._taken = 0
        self._can_wait = can_wait
        self._clock = clock
        self._queue: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._finished = self._stopped = self._closed = self._begun = False
        self._failure: BaseException | None = None
        # Held while a frame is submitted, so that frames are queued in the order of their numbers.
        self._submitting = threading.Lock()
        self._following = 0
        self._refused = 0
        self._counted_through: int | None = None
        self.on_lost: OnLost | None = None
        """Called at the end with the last frame that was submitted and not taken, if there is one."""

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What is known of the instrument."""
        return self._metadata

    @property
    def can_wait(self) -> bool:
        """Whether the source may be held up."""
        return self._can_wait

    @property
    def refused(self) -> int:
        """Frames that found the queue full; those behind the last one that was taken, too."""
        return self._refused

    def submit(
        self,
        pixels: npt.NDArray[Any],
        *,
        counter: int | None = None,
        timestamp: int | None = None,
        flags: FrameFlag = NO_FLAGS,
        timeout: float = 0.0,
    ) -> bool:
        """Hand over a frame; calls from several threads are taken one after the other.

        Parameters
        ----------
        pixels
            The pixels, laid out as the geometry says; they are copied.
        counter
            The camera's own count.  If not given, the frame is the one after the last that was
            submitted, taken or not.
        timestamp
            When it was taken, in nanoseconds since 1970-01-01 UTC; the time of the call if not
            given.
        flags
            What is unusual about the frame.
        timeout
            Seconds to wait for room in the queue.

        Returns
        -------
        bool
            Whether it was taken.  It was not if there was no room in time, or if the source is
            finished, failed or stopped.

        Raises
        ------
        FrameError
            If it is not laid out as the geometry says; its counter is then missing from those of
            the others.
        SourceError
            If a number is out of range.
        """
        seconds = real("timeout", timeout, 0.0, _LONGEST_WAIT)
        with self._submitting:
            number = self._following if counter is None else counter
            number = whole("counter", number, 0, 2**64 - 1)
            self._following = number + 1
            if self._open:
                self._counted_through = number
            stamp = self._clock.time_ns() if timestamp is None else timestamp
            given = Frame(
                number,
                whole("timestamp", stamp, -(2**63), 2**63 - 1),
                np.asarray(pixels),
                FrameFlag(whole("flags", flags, 0, 2**32 - 1)),
            )
            check_frame(given, self._geometry, following=None)
            if not self._room(seconds):
                return False
            slot = self._slots[self._taken % len(self._slots)]
            np.copyto(slot, given.data, casting="no")
            frame = replace(given, data=slot.view())
            frame.data.flags.writeable = False
            with self._changed:
                if not self._open:
                    return False
                self._taken += 1
                self._queue.append(frame)
                self._changed.notify_all()
        return True

    def finish(self) -> None:
        """Say that no frame comes any more; those in the queue are still delivered."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Say that the camera has failed: `frames` raises behind the frames in the queue.

        Parameters
        ----------
        error
            What happened; the first one counts.
        """
        with self._changed:
            if not self._finished:
                self._failure = error
            self._finished = True
            self._changed.notify_all()

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames in the order in which they were submitted; once only.

        Raises
        ------
        SourceError
            If the frames were asked for before, or the source is closed.  While iterating: if
            the camera has failed; all frames before that have been delivered.
        """
        if self._begun or self._closed:
            state = "is closed" if self._closed else "has delivered its frames already"
            raise SourceError(f"the source {state}; open it anew")
        self._begun = True
        return self._deliver()

    def stop(self) -> None:
        """Make `frames` end after the frame that it is at; may be called from any thread.

        What waits in the queue is given up, and counts as not delivered; `submit` takes no more.
        """
        with self._changed:
            self._stopped = True
            self._queue.clear()
            self._changed.notify_all()

    def __enter__(self) -> Self:
        """Use the source within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop, and free what is in the queue."""
        self._closed = True
        self.stop()

    @property
    def _open(self) -> bool:
        return not (self._finished or self._stopped)

    def _room(self, seconds: float) -> bool:
        """Wait until there is room for a frame; False if there is none, or no more are taken."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._queue) < self._capacity or not self._open, seconds
            )
            if not self._open:
                return False
            full = len(self._queue) >= self._capacity
            self._refused += full
            return not full

    def _deliver(self) -> Iterator[Frame]:
        delivered = None
        try:
            while (frame := self._next()) is not None:
                delivered = frame.counter
                yield frame
        finally:
            counted = self._counted_through
            if self.on_lost is not None and counted is not None and counted != delivered:
                self.on_lost(counted, None)
        if self._failure is not None and not self._stopped:
            raise SourceError(f"the camera has failed: {self._failure!r}") from self._failure

    def _next(self) -> Frame | None:
        """Wait for a frame; None where there is no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or not self._open)
            if not self._queue:
                return None
            self._changed.notify_all()
            return self._queue.popleft()


def _slots(geometry: Geometry, count: int) -> npt.NDArray[Any]:
    try:
        return np.empty((count, *geometry.shape), geometry.dtype)
    except (MemoryError, ValueError) as error:
        raise SourceError(
            f"{count} frames of {geometry.frame_bytes} bytes do not fit into memory; take less "
            "capacity_frames"
        ) from error
