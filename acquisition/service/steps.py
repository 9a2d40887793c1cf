"""What is done with frames on their way through the recorder."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from forebay.acquisition.clock import Clock
from forebay.acquisition.errors import StorageNotReadyError
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame, FrameFlag
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.recorder.blocks import BlocksInFlight
from forebay.acquisition.recorder.filler import BlockFiller
from forebay.acquisition.ring.ring import Arrived, Lost
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service.flow import RingLevel
from forebay.acquisition.service.raw_frames import NOT_KEPT_RAW

if TYPE_CHECKING:
    from forebay.acquisition.reduction import OverloadSteps


class OverloadReduction:
    """Switches the declared reductions on, one after the other, while the ring is too full.

    Some of them are also on for as long as somebody asks for that.

    Parameters
    ----------
    steps
        The reductions.
    level
        How full the ring is.
    clock
        Source of times.
    """

    _STEP_SECONDS = 1.0
    """Time that a reduction is given to help before the next one is switched on."""

    def __init__(self, steps: "OverloadSteps", level: RingLevel, *, clock: Clock) -> None:
        self._steps = steps
        self._level = level
        self._clock = clock
        self._changed = clock.monotonic() - self._STEP_SECONDS
        self._asked = 0, 0.0
        self.applied = 0
        """How many of them are switched on."""

    def ask(self, level: int, seconds: float) -> None:
        """Have at least so many switched on for some time; may be called by any thread."""
        self._asked = min(level, self._steps.levels), self._clock.monotonic() + seconds

    def __call__(self, frame: Arrived, pixels: npt.NDArray[Any]) -> Arrived:
        """Reduce a frame in its place, and say so in its flags."""
        self._adapt()
        if not self.applied:
            return frame
        flags = self._steps.apply(pixels, self.applied)
        return replace(frame, flags=frame.flags | int(flags))

    def _adapt(self) -> None:
        now = self._clock.monotonic()
        level, until = self._asked
        asked = level if now < until else 0
        more = self._level.too_full() or self.applied < asked
        if not more and self.applied == asked:
            return
        if now - self._changed < self._STEP_SECONDS:
            return
        applied = min(self._steps.levels, self.applied + 1) if more else self.applied - 1
        if applied != self.applied:
            self.applied, self._changed = applied, now


class RawTap:
    """Records every so-many-th frame as it came into a run of its own.

    Parameters
    ----------
    run
        That run.
    blocks
        Its blocks in flight.
    own
        Memory for all its blocks that may be in flight.
    every
        Which frames are kept: those whose counter is divisible by it.
    """

    def __init__(
        self, run: WritableRun, blocks: BlocksInFlight, *, own: FrameSlots, every: int
    ) -> None:
        self._every = every
        self._run = run
        self._blocks = blocks
        self._own = own
        self._filler = BlockFiller(run, blocks, own=own)
        # An earlier writer may have come further here than with the reduced frames.
        self._following = run.account.next_counter or 0

    def __call__(self, frame: Arrived, pixels: npt.NDArray[Any]) -> Arrived:
        """Keep a copy of the frame, if it is one of those."""
        if frame.counter % self._every or frame.counter < self._following:
            return frame
        if frame.counter - self._following < self._every:
            # What lies between is as between all others, also where an earlier writer has died.
            self._run.account.explain_gap(NOT_KEPT_RAW.format(every=self._every))
        room = self._filler.own_room()
        room.pixels[...] = pixels
        self._filler.add(frame, room, slot=None)
        return frame

    def close(self, *, reason: str) -> None:
        """Commit what there is, and close that run."""
        self._filler.close(reason=reason)

    def end(self) -> None:
        """Wait for the storage no longer than patience allows."""
        self._blocks.end()

    def abandon(self) -> None:
        """End without committing anything more; does nothing to a closed run."""
        self._blocks.abandon()

    def release(self) -> None:
        """Give the memory for frames back."""
        self._own.release()

    @property
    def failure(self) -> BaseException | None:
        """What kept frames from being written, if anything did."""
        return self._run.committer.failure or self._blocks.failure

    @property
    def not_ready(self) -> StorageNotReadyError | None:
        """Why the storage takes nothing now, if that is waited for."""
        return self._blocks.not_ready


class Journalling:
    """Puts each frame into the journal before it is put into a block.

    Parameters
    ----------
    journal
        The journal.
    blocks
        The blocks in flight, which know what to do where there is no room.
    frame_bytes
        Bytes of a frame.
    clock
        Source of times.
    """

    _LOOK_AGAIN_SECONDS = 0.1
    """Time between two looks for room, for which the storage is asked."""

    def __init__(
        self, journal: FrameJournal, blocks: BlocksInFlight, *, frame_bytes: int, clock: Clock
    ) -> None:
        self._journal = journal
        self._blocks = blocks
        self._frame_bytes = frame_bytes
        self._clock = clock
        self._full_until = clock.monotonic()

    def has_room(self) -> bool:
        """Tell whether a frame can be put in without waiting."""
        if self._clock.monotonic() < self._full_until:
            return False
        if self._journal.has_room(self._frame_bytes):
            return True
        self._full_until = self._clock.monotonic() + self._LOOK_AGAIN_SECONDS
        return False

    def __call__(self, frame: Arrived, pixels: npt.NDArray[Any]) -> Arrived:
        """Put a frame into the journal."""
        journalled = Frame(frame.counter, frame.timestamp, pixels, FrameFlag(frame.flags))
        while not self._blocks.until_ready(lambda: self._journal.append(journalled)):
            # The journal is full until blocks are committed, and frames wait for that.
            self._blocks.wait_for_commit()
        return frame

    def lose(self, lost: Lost) -> None:
        """Put down in the journal what was lost."""
        dropped = Dropped(lost.first, lost.last, lost.reason, lost.at)
        while not self._blocks.until_ready(lambda: self._journal.drop(dropped)):
            self._blocks.wait_for_commit()
