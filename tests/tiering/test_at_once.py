"""The same is done with several objects at a time, within a bound of bytes."""

import threading

import pytest

from forebay.tiering.moving.at_once import several_at_once


def test_no_more_objects_and_bytes_are_on_their_way_than_allowed() -> None:
    """A larger object goes alone, and nothing is left out."""
    objects = {f"k{size}": size for size in (10, 60, 50, 40, 250, 30, 20, 70)}
    lock, now, most = threading.Lock(), set[str](), []

    def work(key: str, size: int) -> int:
        with lock:
            now.add(key)
            most.append((len(now), sum(objects[each] for each in now)))
        with lock:
            now.remove(key)
        return size

    found = dict(several_at_once(objects.items(), work, streams=3, in_flight=100))
    assert found == objects
    assert max(count for count, _ in most) <= 3
    assert all(size <= 100 or count == 1 for count, size in most)


def test_what_was_done_beside_a_failure_is_told_before_it() -> None:
    """No object is begun after it, nor when nobody asks for more."""
    objects = [(str(number), 1) for number in range(50)]
    both, begun, told = threading.Barrier(2), list[str](), list[str]()

    def work(key: str, _: int) -> None:
        begun.append(key)
        if key in {"0", "1"}:
            both.wait(60)
        if key == "1":
            raise OSError("the line was cut")

    def take() -> None:
        told.extend(key for key, _ in several_at_once(objects, work, streams=2))

    with pytest.raises(OSError, match="cut"):
        take()
    assert "0" in told
    assert "1" not in told
    seen: list[str] = []
    generator = several_at_once(objects[2:], work, streams=2)
    seen.append(next(generator)[0])
    generator.close()
    assert seen[0] in {"2", "3"}
    assert len(begun) < 50
