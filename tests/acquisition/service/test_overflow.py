"""What goes by way of the second path comes back in its place, however long that path is full."""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition import Frame, Geometry
from forebay.acquisition.frames import NO_FLAGS
from forebay.acquisition.memory.slots import FrameRoom
from forebay.acquisition.recorder.blocks import BlocksInFlight
from forebay.acquisition.recorder.filler import BlockFiller
from forebay.acquisition.recorder.recorder import Recorder
from forebay.acquisition.ring.ring import NOT_IN_RING, Arrived, FrameRing, Lost

GEOMETRY = Geometry(("y", "x"), (1, 2), np.dtype("uint16"))


class SlowBlocks:
    """Has room for one frame each time that it was waited for."""

    def __init__(self) -> None:
        self.has_room = False
        self.waits = 0

    def wait_for_room(self, seconds: float) -> None:
        self.waits += 1
        self.has_room = True


class Filler:
    """Notes what is recorded, in order."""

    def __init__(self, blocks: SlowBlocks) -> None:
        self._blocks = blocks
        self.recorded: list[int | tuple[int, int]] = []

    @property
    def has_room(self) -> bool:
        return self._blocks.has_room

    def own_room(self) -> FrameRoom:
        return FrameRing(GEOMETRY, slots=1)[0]

    def add(self, frame: Arrived, room: FrameRoom, *, slot: int | None) -> None:
        self._blocks.has_room = False
        self.recorded.append(frame.counter)

    def lose(self, lost: Lost) -> None:
        self.recorded.append((lost.first, lost.last))


class Full:
    """A second path that takes nothing until all that it held is back."""

    def __init__(self, frames: int) -> None:
        self.items: deque[int | Lost] = deque(range(frames))

    def wanted(self) -> bool:
        return True

    def put(self, frame: Arrived, pixels: npt.NDArray[Any]) -> bool:
        if self.items:
            return False
        self.items.append(frame.counter)
        return True

    def lose(self, lost: Lost) -> None:
        self.items.append(lost)

    def take(self, out: npt.NDArray[Any]) -> tuple[Sequence[Lost], Arrived | None]:
        lost = list(self._losses())
        if not self.items:
            return lost, None
        counter = cast("int", self.items.popleft())
        return lost, Arrived(NOT_IN_RING, counter, 0, int(NO_FLAGS), 0.0)

    def _losses(self) -> Iterator[Lost]:
        while self.items and isinstance(item := self.items[0], Lost):
            self.items.popleft()
            yield item

    def __len__(self) -> int:
        return len(self.items)


@pytest.mark.parametrize("spilled", [3, 2 * sys.getrecursionlimit()])
def test_frames_that_find_the_second_path_full_come_behind_what_it_holds(spilled: int) -> None:
    """Also where it is full for as long as thousands of blocks take: segments are freed whole."""
    ring = FrameRing(GEOMETRY, slots=4)
    pixels = np.zeros((1, 2), "uint16")
    ring.put(Frame(spilled, 0, pixels), wait=False)
    ring.lose(spilled + 1, spilled + 2, reason="lost")
    ring.put(Frame(spilled + 3, 0, pixels), wait=False)
    ring.finish()
    blocks = SlowBlocks()
    filler = Filler(blocks)
    recorder = Recorder(
        ring, cast("BlocksInFlight", blocks), cast("BlockFiller", filler), overflow=Full(spilled)
    )
    recorder.run()
    expected = [*range(spilled + 1), (spilled + 1, spilled + 2), spilled + 3]
    assert filler.recorded == expected
    assert blocks.waits >= spilled
