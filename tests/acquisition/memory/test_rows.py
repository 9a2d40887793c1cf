"""Frames that lie side by side in memory."""

import numpy as np

from forebay.acquisition import Geometry
from forebay.acquisition.memory.slots import FrameSlots, rows, stored_bytes

_PAGES = Geometry(("y", "x"), (256, 256), np.dtype("uint16"))


def _rows(slots: FrameSlots, order: list[int], *, most: int) -> list[list[int]]:
    numbers = {slots[number].begin: number for number in range(slots.count)}
    frames = [slots[number] for number in order]
    return [[numbers[frame.begin] for frame in row] for row in rows(frames, most=most)]


def test_frames_in_a_row_are_neighbours_in_memory_and_not_too_many() -> None:
    """Wherever the slots do not follow each other, or a row is as long as it may be, one ends."""
    slots, size = FrameSlots(_PAGES, 8), stored_bytes(_PAGES)
    assert _rows(slots, [0, 1, 2, 5, 6, 3], most=8 * size) == [[0, 1, 2], [5, 6], [3]]
    assert _rows(slots, [1, 0, 0, 1], most=8 * size) == [[1], [0], [0, 1]]
    assert _rows(slots, [0, 1, 2, 3, 4], most=2 * size) == [[0, 1], [2, 3], [4]]
    assert _rows(slots, [0, 1], most=size - 1) == [[0], [1]]
    assert _rows(slots, [], most=size) == []


def test_a_row_is_the_bytes_of_its_frames() -> None:
    """From the begin of the first on, nothing lies between them."""
    slots = FrameSlots(_PAGES, 3)
    for number in range(3):
        slots[number].fill(np.full((256, 256), number, np.uint16))
    (row,) = rows([slots[1], slots[2]], most=2**20)
    begin = row[0].begin
    piece = row[0].memory[begin : begin + 2 * stored_bytes(_PAGES)]
    assert bytes(piece) == b"".join(frame.stored for frame in row)


def test_frames_with_a_gap_behind_them_are_alone() -> None:
    """Tiny frames begin on lines of the processor's cache, and are not stored so."""
    slots = FrameSlots(Geometry(("y", "x"), (3, 5), np.dtype("uint8")), 3)
    assert _rows(slots, [0, 1, 2], most=2**20) == [[0], [1], [2]]


def test_frames_of_different_memory_are_never_in_a_row() -> None:
    """Though one begins where the other would end."""
    one, other = FrameSlots(_PAGES, 2), FrameSlots(_PAGES, 2)
    assert [len(row) for row in rows([one[0], other[1]], most=2**20)] == [1, 1]
