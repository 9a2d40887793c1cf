"""What happens to a frame between the ring and its block."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Frame
from forebay.acquisition.recorder.blocks import BlocksInFlight
from forebay.acquisition.recorder.filler import BlockFiller
from forebay.acquisition.ring.ring import Arrived, FrameRing, Item, Lost

_LOOK_AGAIN_SECONDS = 0.02
"""Time between two looks whether frames can be taken back from the overflow."""


class Step(Protocol):
    """Something that is done with each frame."""

    def __call__(self, frame: Arrived, pixels: npt.NDArray[Any]) -> Arrived:
        """Look at a frame, or change its pixels in place; return its header."""


class Reduction(Protocol):
    """Makes the frame that is recorded out of the one that came."""

    @property
    def reason(self) -> str | None:
        """Why the last frame is not to be recorded."""

    def apply(self, pixels: npt.NDArray[Any], out: npt.NDArray[Any]) -> bool:
        """Put the frame into `out`; False if it is not to be recorded."""


class Overflow(Protocol):
    """A second path for frames, when the blocks in flight and the ring are not enough."""

    def wanted(self) -> bool:
        """Whether frames are to go there while none can be recorded."""

    def put(self, frame: Arrived, pixels: npt.NDArray[Any]) -> bool:
        """Take a frame; False if there is no room for it."""

    def lose(self, lost: Lost) -> None:
        """Keep in its place that frames were lost."""

    def take(self, out: npt.NDArray[Any]) -> tuple[Sequence[Lost], Arrived | None]:
        """Give back what was lost next, and the frame behind it, its pixels in `out`."""

    def __len__(self) -> int:
        """Return the number of frames and losses that are there."""


class Recorder:
    """Takes frames out of the ring, in one thread, until it is finished and empty.

    Parameters
    ----------
    ring
        Where the frames come from.
    blocks
        The blocks in flight.
    filler
        What puts frames into them.
    taps
        What is done with each frame as it came, in this order.
    reduction
        What makes the recorded frames, if they are not those that came.
    steps
        What is done with each frame that is recorded, in this order.
    overflow
        Where frames go that cannot be recorded without waiting, if there is such a place.
    ready
        Tells whether the steps can be done without waiting; they always can if not given.
    on_lost
        Called with what is written down as lost.
    recovered
        What an earlier writer of the run had not committed, as it is to be recorded.
    clock
        Source of times.
    """

    def __init__(
        self,
        ring: FrameRing,
        blocks: BlocksInFlight,
        filler: BlockFiller,
        *,
        taps: Sequence[Step] = (),
        reduction: Reduction | None = None,
        steps: Sequence[Step] = (),
        overflow: Overflow | None = None,
        ready: Callable[[], bool] | None = None,
        on_lost: Callable[[Lost], None] | None = None,
        recovered: Iterable[Frame | Dropped] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._ring = ring
        self._blocks = blocks
        self._filler = filler
        self._taps = taps
        self._reduction = reduction
        self._steps = steps
        self._overflow = overflow
        self._ready = ready
        self._on_lost = on_lost
        self._recovered = recovered
        self._clock = clock
        self._taken_back: npt.NDArray[Any] | None = None
        if overflow is not None and reduction is not None:
            # Frames come back from there as they came, and are reduced then.
            came = ring.memory.geometry
            self._taken_back = np.empty(came.shape, came.dtype.newbyteorder("<"))

    def run(self) -> None:
        """Record until the ring is finished and empty.

        Raises
        ------
        StorageError
            If the frames cannot be written.
        """
        for entry in self._recovered:
            if isinstance(entry, Dropped):
                self._filler.lose(Lost(entry.first, entry.last, entry.reason, entry.at))
            else:
                self._filler.add_copy(entry)
        for item in self._from_ring():
            if isinstance(item, Lost):
                self._lose(item)
            else:
                self._record(item)

    def _from_ring(self) -> Iterator[Item]:
        """Yield what comes out of the ring and need not go through the overflow."""
        while True:
            self._take_back(wait=self._ring.ended)
            behind = self._overflow is not None and len(self._overflow) > 0
            item = self._ring.take(timeout=_LOOK_AGAIN_SECONDS if behind else None)
            if item is None:
                if self._ring.ended and not behind:
                    return
                if self._ring.ended:
                    # It does not wait any more; nor is anything to come if the writing has ended.
                    self._wait()
            elif self._overflow is None or not self._diverted(item, self._overflow):
                yield item

    def _has_room(self) -> bool:
        """Tell whether a frame can be recorded without waiting."""
        return self._filler.has_room and (self._ready is None or self._ready())

    def _wait(self) -> None:
        """Wait a little for room."""
        if self._filler.has_room:
            # A commit may make it, or somebody else, who tells nobody.
            self._blocks.wait_for_commit(_LOOK_AGAIN_SECONDS)
        else:
            self._blocks.wait_for_room(_LOOK_AGAIN_SECONDS)

    def _take_back(self, *, wait: bool) -> None:
        """Record what is in the overflow, as long as there is a block for it.

        Parameters
        ----------
        wait
            Whether to wait for room in the steps, as long as there is patience for that.
        """
        overflow = self._overflow
        while (
            overflow is not None
            and len(overflow)
            and (self._filler.has_room if wait else self._has_room())
        ):
            into = self._taken_back
            if into is None:
                into = self._filler.own_room().pixels
            lost, frame = overflow.take(into)
            for each in lost:
                self._lose(each)
            if frame is not None:
                self._record_copy(frame, into)

    def _diverted(self, item: Item, overflow: Overflow) -> bool:
        """Put an item into the overflow, if it has to go there."""
        while True:
            while not len(overflow) and not self._has_room() and not overflow.wanted():
                if self._ring.finished and self._filler.has_room:
                    break  # The ring gets no fuller, and who waits for the steps is not waited for.
                self._wait()
            if not len(overflow) and self._has_room():
                return False
            if isinstance(item, Lost):
                overflow.lose(item)
                return True
            if overflow.put(item, self._ring[item.slot].pixels):
                self._ring.free([item.slot])
                return True
            self._wait_for(overflow)

    def _wait_for(self, overflow: Overflow) -> None:
        """Wait until something has been taken back: the overflow is full, and the ring fills."""
        before = len(overflow)
        self._wait()
        self._take_back(wait=self._ring.finished)
        while len(overflow) == before > 0:
            self._wait()
            self._take_back(wait=self._ring.finished)

    def _record(self, frame: Arrived) -> None:
        room = self._ring[frame.slot]
        if self._reduction is not None:
            self._record_copy(frame, room.pixels)
            self._ring.free([frame.slot])
            return
        frame = _through(self._taps, frame, room.pixels)
        frame = _through(self._steps, frame, room.pixels)
        self._filler.add(frame, room, slot=frame.slot)

    def _record_copy(self, frame: Arrived, pixels: npt.NDArray[Any]) -> None:
        """Record a frame from the filler's own memory, where it is or is put reduced."""
        frame = _through(self._taps, frame, pixels)
        room = self._filler.own_room()
        if self._reduction is not None and not self._reduction.apply(pixels, room.pixels):
            reason = self._reduction.reason or "the reduction left it out"
            self._lose(Lost(frame.counter, frame.counter, reason, self._clock.time_ns()))
            return
        frame = _through(self._steps, frame, room.pixels)
        self._filler.add(frame, room, slot=None)

    def _lose(self, lost: Lost) -> None:
        self._filler.lose(lost)
        if self._on_lost is not None:
            self._on_lost(lost)


def _through(steps: Sequence[Step], frame: Arrived, pixels: npt.NDArray[Any]) -> Arrived:
    for step in steps:
        frame = step(frame, pixels)
    return frame
