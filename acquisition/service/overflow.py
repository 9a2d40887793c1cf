"""Frames by way of a second disk, while the first one is too slow."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import RunDamagedError, StorageError
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame, FrameFlag
from forebay.acquisition.journal.spill import SpillQueue
from forebay.acquisition.ring.ring import NOT_IN_RING, Arrived, Lost
from forebay.acquisition.service.flow import RingLevel

DAMAGED_SPILL = "it was damaged on the disk that it was spilled to"

_log = logging.getLogger("forebay.acquisition")


class SpillOverflow:
    """Puts frames on the second path when the ring is too full, until all are back.

    A second path that fails costs what it held and cannot give back; the recording goes on without.

    Parameters
    ----------
    queue
        The second path.
    level
        How full the ring is.
    mark
        Fill from which on frames go there: while the second disk is slow to begin, the rest of the
        ring takes what comes.
    on_damage
        Called when a frame did not come back as it was put, before the next one is taken.
    clock
        Source of times.
    """

    def __init__(
        self,
        queue: SpillQueue,
        level: RingLevel,
        *,
        mark: float,
        on_damage: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._level = level
        self._mark = mark
        self._on_damage = on_damage
        self._clock = clock
        self._lost: list[Dropped] = []
        self._lost_waiting = 0
        self._earlier_through: int | None = None
        self._reached = self._through = -1
        self._takes = self._gives = True

    def __len__(self) -> int:
        """Return the number of frames and losses that are there."""
        return self.frames + len(self._lost)

    @property
    def frames(self) -> int:
        """Frames that are there."""
        return len(self._queue) if self._gives else 0

    @property
    def lost_waiting(self) -> int:
        """Lost frames that are there to be written down, beside those of an earlier writer."""
        return self._lost_waiting

    def wanted(self) -> bool:
        """Whether the ring is too full."""
        return self._takes and self._level.fill >= self._mark

    def put(self, frame: Arrived, pixels: npt.NDArray[Any]) -> bool:
        """Take a frame; False if there is no room for it."""
        if not self._takes:
            return False
        self._begin(frame.counter)
        spilled = Frame(frame.counter, frame.timestamp, pixels, FrameFlag(frame.flags))
        try:
            if not self._queue.put(spilled, dropped=self._lost):
                return False
        except StorageError as error:
            self._give_up(error)
            return False
        self._through = frame.counter
        self._lost.clear()
        return True

    def lose(self, lost: Lost) -> None:
        """Keep in its place that frames were lost."""
        self._begin(lost.first)
        before = self._lost[-1] if self._lost else None
        if before and before.last + 1 == lost.first and before.reason == lost.reason:
            self._lost[-1] = Dropped(before.first, lost.last, lost.reason, before.at)
        else:
            self._lost.append(Dropped(lost.first, lost.last, lost.reason, lost.at))
        self._lost_waiting += lost.last - lost.first + 1

    def take(self, out: npt.NDArray[Any]) -> tuple[Sequence[Lost], Arrived | None]:
        """Give back what was lost next, and the frame behind it, its pixels in `out`."""
        try:
            spilled = self._queue.take(out) if self._gives else None
        except RunDamagedError as error:
            _log.error("%s", error)
            self._on_damage()
            return self._damaged_end(), None
        except StorageError as error:
            self._give_up(error)
            self._gives = False
            return self._damaged_end(), None
        if spilled is None:
            left, self._lost = self._lost, []
            return self._given_back(left), None
        lost, frame = self._given_back(spilled.dropped), spilled.frame
        if frame is None:
            return lost, None
        self._reached = frame.counter
        # When it came is not kept; a frame that took this way counts from here.
        arrived = Arrived(
            NOT_IN_RING, frame.counter, frame.timestamp, int(frame.flags), self._clock.monotonic()
        )
        return lost, arrived

    def free_through(self, counter: int) -> None:
        """Remove what is taken back and committed, up to `counter`."""
        if self._takes:
            try:
                self._queue.free_through(counter)
            except StorageError as error:
                self._give_up(error)

    def remove(self) -> None:
        """Remove everything that is there: all frames are committed, or accounted for."""
        try:
            self._queue.remove()
        except StorageError as error:
            _log.error("%s; remove what is left there by hand", error)

    def _give_up(self, error: StorageError) -> None:
        """Put no more frames there."""
        if self._takes:
            self._takes = False
            _log.error(
                "%s; no frame is spilled any more, and what the ring has no room for waits or "
                "is dropped",
                error,
            )

    def _damaged_end(self) -> list[Lost]:
        """Return what is lost behind the last frame that came back, where no other will come."""
        if self.frames or self._through <= self._reached:
            return []
        first, self._reached = max(self._reached, self._earlier_through or 0) + 1, self._through
        self._lost_waiting = sum(each.count for each in self._lost)
        return [Lost(first, self._through, DAMAGED_SPILL, self._clock.time_ns())]

    def _begin(self, counter: int) -> None:
        """Remember where what an earlier writer had put there ends."""
        if self._earlier_through is None:
            self._earlier_through = counter - 1

    def _given_back(self, dropped: Sequence[Dropped]) -> list[Lost]:
        through = self._earlier_through
        if dropped:
            self._reached = max(self._reached, dropped[-1].last)
        self._lost_waiting -= sum(
            each.count for each in dropped if through is not None and each.first > through
        )
        return [Lost(each.first, each.last, each.reason, each.at) for each in dropped]
