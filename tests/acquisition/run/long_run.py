"""A run with many blocks, of which there is little more than the log."""

from pathlib import Path

import numpy as np
import pytest

from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.acquisition.format.block_row import BlockRow
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.format.record import Block, Extent, StoredObject, encode_line, line_digest

GEOMETRY = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))


def long_run(path: Path, blocks: int, *, frames_per_block: int = 1) -> Path:
    """Make a run of so many blocks, which nobody writes any more.

    The objects of the first one and the last three are there.
    """
    with RunWriter.create(path, GEOMETRY, frames_per_block=frames_per_block) as first:
        append(first, range(frames_per_block))
        first.abandon()
    append_lines(path, range(1, blocks - 3))
    with RunWriter.resume(path) as second:
        append(second, range((blocks - 3) * frames_per_block, blocks * frames_per_block))
        second.abandon()
    return path


def append(writer: RunWriter, counters: range) -> None:
    for counter in counters:
        writer.append(Frame(counter, counter, np.full((2, 3), counter, "uint16")))


def append_lines(path: Path, blocks: range) -> None:
    """Add blocks to the first log of a run, which have no objects."""
    layout = open_run(path).layout
    whole = layout.frames_per_block
    with (path / log_key(1)).open("r+b") as log:
        last = log.readlines()[-1]
        for number in blocks:
            held = tuple(StoredObject(key, 64, "0" * 64) for key in layout.object_keys(number))
            place = Extent(number * whole, (number + 1) * whole)
            counters = (place.start, place.stop - 1)
            block = Block(number, place, counters, counters, (), held)
            last = encode_line(block, previous=line_digest(last))
            log.write(last)


def blocks_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the row of the numbers of the blocks that are made of what is kept of them."""
    numbers: list[int] = []
    make = BlockRow._block

    def counted(row: BlockRow, number: int, packed: bytes) -> Block:
        numbers.append(number)
        return make(row, number, packed)

    monkeypatch.setattr(BlockRow, "_block", counted)
    return numbers
