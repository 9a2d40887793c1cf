"""A program that does not keep to what was agreed, or dies, is named and does no harm."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from tests.acquisition.sources.shared_memory.conftest import Connect, Deliver, Open
from tests.acquisition.sources.shared_memory.programs import (
    PATIENT,
    RawProducer,
    ring_for,
    take_all,
)

from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import AnomalyKind


def a_slot_that_is_not_there(producer: RawProducer, slots: list[int]) -> None:
    producer.publish(2**32 - 1, 1)


def a_slot_that_it_was_not_lent(producer: RawProducer, slots: list[int]) -> None:
    producer.publish(next(slot for slot in range(producer.slots) if slot not in slots), 1)


def a_slot_twice(producer: RawProducer, slots: list[int]) -> None:
    producer.publish(slots[0], 1)
    producer.publish(slots[0], 2)


def more_than_it_had(producer: RawProducer, slots: list[int]) -> None:
    os.eventfd_write(producer.filled_bell, 2**63)


def what_it_did_not_write(producer: RawProducer, slots: list[int]) -> None:
    """Zeros twice: slot 0, which it has given back, if it had it."""
    os.eventfd_write(producer.filled_bell, 2)


def flags_that_are_not_its_own(producer: RawProducer, slots: list[int]) -> None:
    producer.publish(slots[0], 1, flags=1 << 16)


def a_field_that_is_reserved(producer: RawProducer, slots: list[int]) -> None:
    producer.publish(slots[0], 1, reserved=7)


def words_in_between(producer: RawProducer, slots: list[int]) -> None:
    producer.socket.sendall(b"hello?")


MISTAKES: dict[Callable[[RawProducer, list[int]], None], str] = {
    a_slot_that_is_not_there: "gives slot 4294967295 back, which it did not have",
    a_slot_that_it_was_not_lent: r"gives slot \d+ back, which it did not have",
    a_slot_twice: r"gives slot \d+ back, which it did not have",
    more_than_it_had: "says that it has filled 9223372036854775808 slots while it had 4",
    what_it_did_not_write: "gives slot 0 back, which it did not have",
    flags_that_are_not_its_own: "has given frame 1 the flags 0x10000 and 0x0",
    a_field_that_is_reserved: "has given frame 1 the flags 0x0 and 0x7",
    words_in_between: r"says b'hello\?' in between",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
@pytest.mark.parametrize("reconnect", [False, True])
def test_a_mistake_ends_the_source_and_says_whose_it_was(
    listen: Open,
    connect: Connect,
    deliver: Deliver,
    mistake: Callable[[RawProducer, list[int]], None],
    reconnect: bool,
) -> None:
    """What came before it is in the ring, and no slot is lost."""
    source, producer = listen(reconnect=reconnect), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=16)
    delivered = deliver(source, ring)
    producer.answer()
    slots = producer.available()
    producer.publish(slots.pop(), 0)
    slots += producer.available()
    mistake(producer, slots)
    with pytest.raises(SourceError, match=MISTAKES[mistake]) as refused:
        delivered.result(PATIENT)
    assert "which writes frames to shm:camera, " in str(refused.value)
    taken = take_all(ring)
    assert taken[0].counter == 0
    assert ring.depth == 0


def test_what_a_program_published_before_it_died_is_delivered(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """Then the source fails, for nobody knows how many more there would have been."""
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=64)
    delivered = deliver(source, ring)
    producer.answer()
    producer.send(16)
    producer.socket.close()
    with pytest.raises(SourceError, match=r"process \d+, which writes.* has died: what it"):
        delivered.result(PATIENT)
    assert [item.counter for item in take_all(ring)] == list(range(16))
    assert ring.depth == 0


def test_a_program_that_died_before_it_was_let_in_is_noticed(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    source, producer = listen(), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=8)
    producer.socket.close()
    with pytest.raises(SourceError, match="has died"):
        deliver(source, ring).result(PATIENT)
    assert (ring.depth, ring.ended) == (0, True)


def test_another_program_goes_on_where_one_has_died(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    """If its frames are the same; the slots that the dead one had are lent again."""
    source, first = listen(reconnect=True), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=16)
    delivered = deliver(source, ring)
    first.answer()
    first.send(3)
    first.socket.close()
    wrong = connect(height=3)
    assert wrong.answer()[2] == 1
    second = connect()
    second.answer()
    second.send(8, first=7)
    second.say_goodbye()
    delivered.result(PATIENT)
    taken = take_all(ring)
    assert [item.counter for item in taken] == [0, 1, 2, *range(7, 15)]
    values = [int(np.unique(ring[item.slot].pixels)[0]) for item in taken]
    assert values == [item.counter for item in taken]
    told = source.anomalies.counts()
    assert told == {AnomalyKind.SENDER_CHANGED: 1, AnomalyKind.SENDER_REFUSED: 1}
    assert ring.depth == 0


def test_waiting_for_another_program_can_be_ended(
    listen: Open, connect: Connect, deliver: Deliver
) -> None:
    source, producer = listen(reconnect=True), connect()
    ring = ring_for(source.wait(timeout=PATIENT).geometry, slots=16)
    delivered = deliver(source, ring)
    producer.answer()
    producer.send(1)
    producer.socket.close()
    assert ring.take(timeout=PATIENT) is not None
    source.stop()
    delivered.result(PATIENT)
