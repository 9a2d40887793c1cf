"""The ring loses nothing that it does not say, and nobody waits for ever."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition import Frame, FrameFlag, Geometry
from forebay.acquisition.errors import SourceError
from forebay.acquisition.service.ring import Counters, FrameRing

GEOMETRY = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
FRAME_BYTES = 12


def frame(counter: int) -> Frame:
    return Frame(counter, counter * 10, np.full((2, 3), counter, "u2"), FrameFlag.INCOMPLETE)


def take_all(ring: FrameRing) -> tuple[list[int], list[Counters]]:
    taken: list[int] = []
    lost: list[Counters] = []
    while True:
        with ring.take() as delivery:
            lost += delivery.lost
            if delivery.frame is None:
                return taken, lost
            assert (delivery.frame.data == delivery.frame.counter).all()
            taken.append(delivery.frame.counter)


def test_frames_come_out_as_they_went_in() -> None:
    """Counter, time, flags and pixels, in their order; the pixels are the ring's own copy."""
    ring = FrameRing(GEOMETRY, capacity_bytes=3 * FRAME_BYTES)
    given_frame = frame(5)
    assert ring.put(given_frame, wait=False)
    given_frame.data[:] = 0
    with ring.take() as delivery:
        taken = delivery.frame
        assert taken is not None
        assert (taken.counter, taken.timestamp, taken.flags) == (5, 50, FrameFlag.INCOMPLETE)
        assert (taken.data == 5).all()
        assert ring.depth == 1
    assert ring.depth == 0


@pytest.mark.parametrize(("capacity", "slots"), [(0, 2), (FRAME_BYTES * 7 + 5, 7)])
def test_the_capacity_is_in_bytes(capacity: int, slots: int) -> None:
    """As many frames as fit, and two at the least."""
    assert FrameRing(GEOMETRY, capacity_bytes=capacity).slots == slots


def test_a_ring_that_does_not_fit_is_refused() -> None:
    """The message says how large it would have been."""
    with pytest.raises(SourceError, match="does not fit into memory: take a smaller one"):
        FrameRing(GEOMETRY, capacity_bytes=2**62)


@given(st.lists(st.sampled_from(["put", "take"]), max_size=60), st.integers(2, 5))
def test_what_is_taken_and_what_is_lost_are_all_that_was_put(steps: list[str], slots: int) -> None:
    """Whatever the order of putting and taking: each counter comes out once, in its place."""
    ring = FrameRing(GEOMETRY, capacity_bytes=slots * FRAME_BYTES)
    seen: list[int] = []
    counter = highest = 0

    def take() -> bool:
        with ring.take() as delivery:
            for lost in delivery.lost:
                seen.extend(range(lost.first, lost.last + 1))
            if delivery.frame is None:
                return False
            seen.append(delivery.frame.counter)
        return True

    for step in steps:
        if step == "put":
            assert ring.put(frame(counter), wait=False)
            counter += 1
        elif ring.depth:
            take()
        highest = max(highest, ring.depth)
    ring.finish()
    while take():
        pass
    assert seen == list(range(counter))
    assert ring.highest == highest <= slots
    assert ring.lost + ring._taken == counter


def test_a_source_that_can_wait_loses_nothing() -> None:
    """It is held up until there is room."""
    ring = FrameRing(GEOMETRY, capacity_bytes=2 * FRAME_BYTES)

    def put() -> None:
        for counter in range(200):
            assert ring.put(frame(counter), wait=True)
        ring.finish()

    thread = threading.Thread(target=put)
    thread.start()
    assert take_all(ring) == (list(range(200)), [])
    thread.join(10)
    assert ring.lost == 0
    assert ring.highest == 2


def test_a_finished_ring_lets_everybody_go() -> None:
    """A waiting `put` returns, and says that the frame was not taken."""
    ring = FrameRing(GEOMETRY, capacity_bytes=2 * FRAME_BYTES)
    for counter in range(2):
        ring.put(frame(counter), wait=True)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ring.put(frame(2), wait=True)))
    thread.start()
    ring.finish()
    thread.join(10)
    assert answers == [False]
    assert ring.put(frame(3), wait=False) is False
    assert take_all(ring) == ([0, 1], [])


def test_what_is_lost_behind_the_last_frame_comes_with_the_end() -> None:
    """Ranges are joined where the counters follow each other, and only there."""
    ring = FrameRing(GEOMETRY, capacity_bytes=2 * FRAME_BYTES)
    for counter in (0, 1, 2, 3, 7):
        ring.put(frame(counter), wait=False)
    ring.finish()
    assert take_all(ring) == ([0, 1], [Counters(2, 3), Counters(7, 7)])


def test_a_frame_whose_recording_failed_stays() -> None:
    """An exception while a frame is used does not take it out of the ring."""
    ring = FrameRing(GEOMETRY, capacity_bytes=2 * FRAME_BYTES)
    ring.put(frame(0), wait=False)

    def fail() -> None:
        with ring.take():
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 (any)
        fail()
    assert ring.depth == 1
