"""Frames that another process writes come into the ring, all of them, in order, uncopied."""

import fcntl
import os
import threading
from collections.abc import Callable

import numpy as np
import pytest
from tests.acquisition.sources.shared_memory.conftest import Connect, Deliver, Open
from tests.acquisition.sources.shared_memory.programs import PATIENT, ring_for, take_all

from forebay.acquisition import Frame, FrameFlag, Geometry, ImageMetadata
from forebay.acquisition.errors import SourceError
from forebay.acquisition.ring.ring import Arrived, FrameRing
from forebay.acquisition.ring.slot_source import SlotSource

LAYOUT = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))


def test_what_a_program_writes_is_what_the_ring_holds(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """Pixels, counter, timestamp and flags; the layout and the rate are the program's."""
    source = listen(metadata=ImageMetadata(instrument={"model": "D-12"}))
    producer = connect(frame_rate=50.0, waits=0)
    source.wait(timeout=PATIENT)
    assert isinstance(source, SlotSource)
    assert (source.geometry, source.can_wait) == (LAYOUT, False)
    assert source.metadata == ImageMetadata(frame_rate=50.0, instrument={"model": "D-12"})
    ring = ring_for(source.geometry, slots=8)
    delivered = deliver(source, ring)
    producer.answer()
    slot = producer.available()[0]
    producer.fill(slot, np.array([[1, 2, 3], [4, 5, 65535]], "<u2"))
    producer.publish(slot, 2**64 - 1, flags=FrameFlag.SATURATED)
    item = ring.take(timeout=PATIENT)
    assert isinstance(item, Arrived)
    assert (item.slot, item.counter, item.flags) == (slot, 2**64 - 1, FrameFlag.SATURATED)
    assert item.timestamp == -(2**63)
    assert ring[item.slot].pixels.tolist() == [[1, 2, 3], [4, 5, 65535]]
    producer.say_goodbye()
    delivered.result(PATIENT)
    ring.free([item.slot])
    assert (ring.depth, ring.ended) == (0, True)


def test_frames_may_be_published_in_another_order_than_their_slots_were_lent(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=32)
    deliver(source, ring)
    producer.answer()
    slots = producer.available()
    assert len(slots) == producer.entries == 8
    for counter, slot in enumerate(reversed(slots)):
        producer.fill(slot, np.full((2, 3), counter, "<u2"))
        producer.publish(slot, counter)
    producer.say_goodbye()
    taken = take_all(ring)
    assert [item.counter for item in taken] == list(range(8))
    assert [ring[item.slot].pixels[0, 0] for item in taken] == list(range(8))


def test_a_program_finds_free_slots_when_it_is_let_in(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """So that one that does not wait need not skip its first frames."""
    source, producer = listen(), connect()
    deliver(source, ring_for(source.wait(timeout=PATIENT).geometry, slots=32))
    producer.answer()
    assert os.eventfd_read(producer.free_bell) == producer.entries


def test_a_slot_whose_frame_is_not_taken_is_lent_again(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """So frames that come twice cost no room, and none is lost when the last slot is full."""
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=4)
    delivered = deliver(source, ring, lambda frame: None if frame.counter % 2 else frame)
    producer.answer()
    sending = threading.Thread(target=producer.send, args=(100,), kwargs={"goodbye": True})
    sending.start()
    assert [item.counter for item in take_all(ring)] == list(range(0, 100, 2))
    sending.join(PATIENT)
    delivered.result(PATIENT)
    assert ring.depth == 0


def test_a_full_ring_lends_nothing_until_there_is_room(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """The program sees no free slot, and gets the one that is given back."""
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=4)
    delivered = deliver(source, ring)
    producer.answer()
    producer.send(4)
    while ring.waiting < 4:
        assert not delivered.done()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(producer.free_bell)
    first = ring.take()
    assert isinstance(first, Arrived)
    ring.free([first.slot])
    assert producer.available() == [first.slot]
    source.stop()
    delivered.result(PATIENT)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("end", ["source", "ring"])
def test_delivery_ends_when_it_is_told_to(
    listen: Open, connect: Connect, deliver: Deliver, end: str, full: bool
) -> None:
    """While it waits for a frame or for room; every slot is given back and the program is told."""
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=4)
    delivered = deliver(source, ring)
    producer.answer()
    producer.send(4 if full else 1)
    while ring.waiting < (4 if full else 1):
        assert not delivered.done()
    if end == "ring":
        ring.finish()
    source.stop()
    delivered.result(PATIENT)
    assert ring.finished
    assert ring.depth == (4 if full else 1)
    assert producer.socket.recv(1) == b""


def test_a_receiver_that_fails_ends_the_delivery(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """With its own error, and no slot is lost."""
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=8)

    def fail(frame: Frame) -> Frame:
        raise RuntimeError(f"no room for {frame.counter}")

    delivered = deliver(source, ring, fail)
    producer.answer()
    producer.send(2)
    with pytest.raises(RuntimeError, match="no room for 0"):
        delivered.result(PATIENT)
    assert ring.depth == 0


def test_so_many_frames_as_are_wanted(listen: Open, connect: Connect, deliver: Deliver) -> None:
    source, producer = listen(frames=5), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=32)
    delivered = deliver(source, ring)
    producer.answer()
    producer.send(8)
    assert [item.counter for item in take_all(ring)] == list(range(5))
    delivered.result(PATIENT)


def test_the_program_cannot_take_memory_away(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """A file that became shorter would kill the recorder at the next look at it."""
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=4)
    deliver(source, ring)
    producer.answer()
    with pytest.raises(PermissionError):
        os.ftruncate(producer.memory, 0)
    assert fcntl.fcntl(producer.memory, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK


def test_a_ring_of_this_process_alone_is_refused(listen: Open) -> None:
    with pytest.raises(ValueError, match="make it with shared=True"):
        listen().deliver_into(FrameRing(LAYOUT, slots=4), lambda frame: frame)


@pytest.mark.parametrize("ask", ["frames", "deliver"])
def test_frames_are_delivered_once(listen: Open, connect: Connect, ask: str) -> None:
    source, producer = listen(frames=3), connect()

    def send() -> None:
        producer.answer()
        producer.send(3)

    sending = threading.Thread(target=send)
    sending.start()
    assert [frame.data.tolist()[0][0] for frame in source.wait().frames()] == [0, 1, 2]
    sending.join(PATIENT)
    again: dict[str, Callable[[], object]] = {
        "frames": source.frames,
        "deliver": lambda: source.deliver_into(ring_for(LAYOUT, slots=4), lambda frame: frame),
    }
    with pytest.raises(SourceError, match="has delivered its frames already; open it anew"):
        again[ask]()
