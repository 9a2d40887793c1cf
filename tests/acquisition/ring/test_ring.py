"""The ring loses nothing that it does not say, and nobody waits for ever."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition import Frame, FrameFlag, Geometry
from forebay.acquisition.errors import SourceError
from forebay.acquisition.ring.ring import Arrived, FrameRing, Lost, slots_in
from forebay.acquisition.sources.testing.clock import ManualClock

GEOMETRY = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
FRAME_BYTES = 12


def frame(counter: int) -> Frame:
    return Frame(counter, counter * 10, np.full((2, 3), counter, "u2"), FrameFlag.INCOMPLETE)


def counters_of(item: Arrived | Lost | None) -> list[int]:
    if isinstance(item, Lost):
        return list(range(item.first, item.last + 1))
    return [] if item is None else [item.counter]


def test_frames_come_out_as_they_went_in() -> None:
    """Counter, time, flags and pixels, in their order; the pixels are the ring's own copy."""
    ring = FrameRing(GEOMETRY, slots=3)
    given_frame = frame(5)
    assert ring.put(given_frame, wait=False)
    given_frame.data[:] = 0
    taken = ring.take()
    assert isinstance(taken, Arrived)
    assert (taken.counter, taken.timestamp, taken.flags) == (5, 50, FrameFlag.INCOMPLETE)
    assert (ring[taken.slot].pixels == 5).all()
    assert (ring.waiting, ring.depth) == (0, 1)
    ring.free([taken.slot])
    assert ring.depth == 0


@pytest.mark.parametrize(
    ("dtype", "shape"), [(">u2", (3, 5)), ("<f4", (1, 1)), ("u1", (600, 1000)), ("u2", (2, 3, 4))]
)
def test_a_slot_is_laid_out_as_a_frame_is_stored(dtype: str, shape: tuple[int, ...]) -> None:
    """Little-endian pixels, four bytes for the checksum, and zeros up to a page for large frames."""
    dims = ("c", "y", "x")[-len(shape) :]
    geometry = Geometry(dims, shape, np.dtype(dtype))
    ring = FrameRing(geometry, slots=3)
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for counter in range(3):
        ring.put(Frame(counter, 0, pixels + np.array(counter, dtype)), wait=False)
    item = ring.take()
    assert isinstance(item, Arrived)
    room = ring[item.slot]
    size = geometry.frame_bytes
    little = np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(np.frombuffer(room.stored[:size], little), pixels.ravel())
    assert bytes(room.stored[size:]) == bytes(len(room.stored) - size)
    assert len(room.stored) == (-(-(size + 4) // 4096) * 4096 if size >= 2**17 else size + 4)
    assert np.shares_memory(room.pixels, np.frombuffer(room.stored, "u1"))


def test_the_capacity_is_in_bytes() -> None:
    """As many frames as fit; of very small ones not more than anybody can need."""
    assert slots_in(GEOMETRY, capacity_bytes=FRAME_BYTES * 7 + 5) == 7
    assert slots_in(GEOMETRY, capacity_bytes=2**40) == 2**16


def test_a_ring_that_does_not_fit_is_refused() -> None:
    """The message says how large it would have been."""
    with pytest.raises(
        SourceError, match=r"of [\d.]+ \w+B does not fit into memory.*a smaller one"
    ):
        FrameRing(GEOMETRY, slots=2**50)


@given(
    st.lists(st.sampled_from(["put", "prefer", "lose", "take", "free"]), max_size=60),
    st.integers(2, 5),
)
def test_what_is_taken_and_what_is_lost_are_all_that_was_put(steps: list[str], slots: int) -> None:
    """Whatever the order of putting, losing and taking: each counter comes out once, in its place."""
    ring = FrameRing(GEOMETRY, slots=slots)
    seen: list[int] = []
    held: list[int] = []
    counter = 0

    def take() -> bool:
        item = ring.take()
        seen.extend(counters_of(item))
        if isinstance(item, Arrived):
            assert (ring[item.slot].pixels == item.counter).all()
            held.append(item.slot)
        return item is not None

    for step in steps:
        if step == "put" and not ring.put(frame(counter), wait=False):
            ring.lose(counter, counter, reason="full")
        elif step == "prefer":
            slot = ring.reserve(wait=False)
            slot = ring.reserve_oldest(reason="old") if slot is None else slot
            if slot is None:
                ring.lose(counter, counter, reason="full")
            else:
                ring.fill(slot, frame(counter))
        elif step == "lose":
            ring.lose(counter, counter, reason="full")
        if step in {"put", "prefer", "lose"}:
            counter += 1
        elif step == "take" and counter > len(seen):
            take()
        elif step == "free":
            ring.free(held)
            held.clear()
        assert ring.waiting + len(held) == ring.depth <= ring.highest <= slots
    ring.finish()
    while take():
        pass
    assert seen == list(range(counter))
    assert ring.ended


def test_lost_frames_that_follow_each_other_are_one_item() -> None:
    """So a recorder that stands still for hours costs no memory."""
    ring = FrameRing(GEOMETRY, slots=2)
    for counter in range(1000):
        if not ring.put(frame(counter), wait=False):
            ring.lose(counter, counter, reason="full")
    items = [ring.take() for _ in range(3)]
    assert isinstance(items[2], Lost)
    assert (items[2].first, items[2].last, items[2].reason) == (2, 999, "full")
    for counter in range(1000, 2000):
        slot = ring.reserve(wait=False) or ring.reserve_oldest(reason="old")
        if slot is None:
            ring.lose(counter, counter, reason="full")
    assert counters_of(ring.take()) == list(range(1000, 2000))


def test_lost_frames_are_one_item_only_where_nothing_is_between_them() -> None:
    """What the camera did not deliver between them was lost for another reason."""
    clock = ManualClock()
    ring = FrameRing(GEOMETRY, slots=1, clock=clock)
    times = []
    for first, last, reason in ((1, 3, "full"), (4, 4, "full"), (6, 6, "full"), (7, 7, "late")):
        clock.advance(60)
        times.append(clock.time_ns())
        ring.lose(first, last, reason=reason)
    assert ring.lost_waiting == 6
    assert ring.take() == Lost(1, 4, "full", times[0])
    assert ring.lost_waiting == 2
    assert [ring.take(), ring.take()] == [
        Lost(6, 6, "full", times[2]),
        Lost(7, 7, "late", times[3]),
    ]
    assert ring.lost_waiting == 0


def test_a_frame_that_is_overtaken_waits_as_a_lost_one() -> None:
    ring = FrameRing(GEOMETRY, slots=2)
    for counter in (3, 4):
        ring.put(frame(counter), wait=False)
    slot = ring.reserve_oldest(reason="overtaken")
    assert slot is not None
    assert (ring.waiting, ring.lost_waiting) == (1, 1)
    ring.fill(slot, frame(5))
    assert (ring.waiting, ring.lost_waiting) == (2, 1)
    taken = [ring.take() for _ in range(3)]
    assert [counters_of(each) for each in taken] == [[3], [4], [5]]
    assert (ring.waiting, ring.lost_waiting) == (0, 0)


@pytest.mark.parametrize("how", ["free", "finish"])
def test_whoever_waits_for_room_is_woken(how: str) -> None:
    """By a slot that is given back, or by the end; then there is none."""
    ring = FrameRing(GEOMETRY, slots=2)
    for counter in range(2):
        ring.put(frame(counter), wait=False)
    item = ring.take()
    assert isinstance(item, Arrived)
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(ring.put(frame(2), wait=True)))
    waiting.start()
    if how == "free":
        ring.free([item.slot])
    else:
        ring.finish()
    waiting.join(60)
    assert results == [how == "free"]


@pytest.mark.parametrize("how", ["put", "lose", "finish"])
def test_whoever_waits_for_a_frame_is_woken(how: str) -> None:
    """By a frame, by news of lost ones, or by the end."""
    ring = FrameRing(GEOMETRY, slots=2)
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(ring.take()))
    waiting.start()
    {
        "put": lambda: ring.put(frame(7), wait=False),
        "lose": lambda: ring.lose(7, 8, reason="full"),
        "finish": ring.finish,
    }[how]()
    waiting.join(60)
    expected = {"put": [7], "lose": [7, 8], "finish": []}
    assert counters_of(results[0]) == expected[how]


def test_a_finished_ring_takes_nothing_and_gives_what_it_has() -> None:
    """So that what has come is recorded when the source is stopped."""
    ring = FrameRing(GEOMETRY, slots=3)
    ring.put(frame(0), wait=False)
    ring.finish()
    assert not ring.put(frame(1), wait=True)
    assert counters_of(ring.take()) == [0]
    assert ring.take() is None
    assert ring.ended


def test_waiting_for_a_frame_has_an_end() -> None:
    """After the time that is given there is none."""
    assert FrameRing(GEOMETRY, slots=2).take(timeout=0.01) is None
