"""A block whose frames come while it is stored."""

from collections.abc import Buffer, Callable, Iterable
from pathlib import Path

import numpy as np

from forebay.acquisition import Geometry
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.format.layout import FRAMES
from forebay.acquisition.format.record import StoredObject
from forebay.acquisition.memory.slots import FrameSlots
from forebay.acquisition.run.writing.block import BlockInFlight
from forebay.acquisition.run.writing.create import create_run

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))


class Storage:
    """Keeps nothing of the objects but how often, and with how much, they were written to."""

    def __init__(self, key: str, on_part: Callable[[], object]) -> None:
        self.key = key
        """The object whose parts are told of."""
        self.on_part = on_part
        """Called when a part of it has come."""
        self.writes: list[int] = []
        """The bytes of each call to write it."""

    def new_object(self, key: str, *, expected_bytes: int = 0, large: bool = False) -> "Storage":
        return self if key == self.key else Storage("", lambda: None)

    def write(self, parts: Iterable[Buffer]) -> None:
        self.writes.append(0)
        for part in parts:
            self.writes[-1] += memoryview(part).nbytes
            self.on_part()

    def finish(self) -> StoredObject:
        return StoredObject(self.key, sum(self.writes), "0" * 64)

    def discard(self) -> None:
        """There is nothing to leave behind."""


def test_what_comes_while_frames_are_taken_is_taken_with_them(tmp_path: Path) -> None:
    """So that it is digested while the processor has it at hand, and not when the disk is done."""
    run = create_run(
        tmp_path / "run",
        GEOMETRY,
        metadata=None,
        frames_per_block=3,
        compression="zstd",
        clock=SYSTEM_CLOCK,
    )
    block = BlockInFlight(run.layout, 0)
    slots = FrameSlots(GEOMETRY, 3)

    def come() -> None:
        if not block.full:
            counter = len(block)
            slots[counter].pixels[...] = counter
            block.add(slots[counter], counter=counter, timestamp=counter, flags=0)
            if counter + 1 == slots.count:
                block.seal(())

    come()
    storage = Storage(run.layout.object_key(FRAMES, 0), come)
    stored = block.store(storage)  # type: ignore[arg-type]
    run.abandon()
    assert (stored.extent.start, stored.extent.stop) == (0, 3)
    # All frames together, and the index.
    assert len(storage.writes) == 2
