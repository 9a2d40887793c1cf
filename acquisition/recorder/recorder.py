"""What happens to a frame between the ring and its block."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from forebay.acquisition.recorder.blocks import BlocksInFlight
from forebay.acquisition.recorder.filler import BlockFiller
from forebay.acquisition.ring.ring import Arrived, FrameRing, Item, Lost

_LOOK_AGAIN_SECONDS = 0.02
"""Time between two looks whether frames can be taken back from the overflow."""


class Step(Protocol):
    """Something that is done with each frame before it is put into a block."""

    def __call__(self, frame: Arrived, pixels: npt.NDArray[np.generic]) -> Arrived:
        """Look at a frame, or change its pixels in place; return its header."""


class Reduction(Protocol):
    """Makes the frame that is recorded out of the one that came."""

    @property
    def reason(self) -> str:
        """Why a frame is not recorded."""

    def apply(self, pixels: npt.NDArray[np.generic], out: npt.NDArray[np.generic]) -> bool:
        """Put the frame into `out`; False if it is not to be recorded."""


class Overflow(Protocol):
    """A second path for frames, when the blocks in flight and the ring are not enough."""

    def wanted(self) -> bool:
        """Whether frames are to go there while no block can be begun."""

    def put(self, frame: Arrived, pixels: npt.NDArray[np.generic]) -> bool:
        """Take a frame; False if there is no room for it."""

    def lose(self, lost: Lost) -> None:
        """Keep in its place that frames were lost."""

    def take(self, out: npt.NDArray[np.generic]) -> Item:
        """Give back what came first, the pixels of a frame in `out`."""

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
    steps
        What is done with each frame, in this order.
    reduction
        What makes the recorded frames, if they are not those of the ring.
    overflow
        Where frames go that find no block, if there is such a place.
    """

    def __init__(
        self,
        ring: FrameRing,
        blocks: BlocksInFlight,
        filler: BlockFiller,
        *,
        steps: list[Step],
        reduction: Reduction | None = None,
        overflow: Overflow | None = None,
    ) -> None:
        self._ring = ring
        self._blocks = blocks
        self._filler = filler
        self._steps = steps
        self._reduction = reduction
        self._overflow = overflow
        self._scratch: npt.NDArray[np.generic] | None = None
        if reduction is not None or overflow is not None:
            filler.use_own_memory()
        if reduction is not None and overflow is not None:
            self._scratch = np.empty(ring.memory.geometry.shape, ring.memory.geometry.dtype)

    def run(self) -> None:
        """Record until the ring is finished and empty.

        Raises
        ------
        StorageError
            If the frames cannot be written.
        """
        for item in self._from_ring():
            if isinstance(item, Lost):
                self._filler.lose(item)
            else:
                self._record(item)

    def _from_ring(self) -> Iterator[Item]:
        """Yield what comes out of the ring and need not go through the overflow."""
        while True:
            self._take_back()
            behind = self._overflow is not None and len(self._overflow) > 0
            item = self._ring.take(timeout=_LOOK_AGAIN_SECONDS if behind else None)
            if item is None:
                if self._ring.ended and not behind:
                    return
            elif self._overflow is None or not self._diverted(item, self._overflow):
                yield item

    def _take_back(self) -> None:
        """Record what is in the overflow, as long as there is a block for it."""
        overflow = self._overflow
        while overflow is not None and len(overflow) and self._filler.has_room:
            if self._scratch is not None:
                item = overflow.take(self._scratch)
                if isinstance(item, Arrived):
                    self._reduce(item, self._scratch)
                    continue
            else:
                room = self._filler.own_room()
                item = overflow.take(room.pixels)
                if isinstance(item, Arrived):
                    self._filler.add(self._step(item, room.pixels), room, slot=None)
                    continue
            self._filler.lose(item)

    def _diverted(self, item: Item, overflow: Overflow) -> bool:
        """Put an item into the overflow, if it has to go there."""
        while not len(overflow) and not self._filler.has_room and not overflow.wanted():
            self._blocks.wait_for_room(_LOOK_AGAIN_SECONDS)
        if not len(overflow) and self._filler.has_room:
            return False
        if isinstance(item, Lost):
            overflow.lose(item)
            return True
        if not overflow.put(item, self._ring[item.slot].pixels):
            self._wait_for(overflow)
            return self._diverted(item, overflow)
        self._ring.free([item.slot])
        return True

    def _wait_for(self, overflow: Overflow) -> None:
        """Wait until something has been taken back: the overflow is full, and the ring fills."""
        before = len(overflow)
        while len(overflow) == before > 0:
            self._blocks.wait_for_room(_LOOK_AGAIN_SECONDS)
            self._take_back()

    def _record(self, frame: Arrived) -> None:
        room = self._ring[frame.slot]
        if self._reduction is None:
            self._filler.add(self._step(frame, room.pixels), room, slot=frame.slot)
            return
        self._reduce(frame, room.pixels)
        self._ring.free([frame.slot])

    def _reduce(self, frame: Arrived, pixels: npt.NDArray[np.generic]) -> None:
        frame = self._step(frame, pixels)
        reduction = self._reduction
        if reduction is None:
            raise RuntimeError("there is no reduction to apply")
        room = self._filler.own_room()
        if reduction.apply(pixels, room.pixels):
            self._filler.add(frame, room, slot=None)
        else:
            self._filler.lose(Lost(frame.counter, frame.counter, reduction.reason))

    def _step(self, frame: Arrived, pixels: npt.NDArray[np.generic]) -> Arrived:
        for step in self._steps:
            frame = step(frame, pixels)
        return frame
