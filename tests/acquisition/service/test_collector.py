"""The garbage collector runs when it is told to, and is as before afterwards."""

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from forebay.acquisition.service.collector import QuietCollector
from forebay.acquisition.sources.testing import ManualClock


class Node:
    """Something that keeps itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The collector is on before and after, and nothing is set aside after."""
    assert gc.isenabled()
    yield
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that were collected."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def make_garbage(count: int) -> Callable[[], object]:
    nodes = [Node() for _ in range(count)]
    return weakref.ref(nodes[-1])


def test_nothing_is_collected_unless_it_is_told_to(collections: list[int]) -> None:
    """Whatever is made; then at once."""
    with QuietCollector() as collector:
        collections.clear()
        last = make_garbage(20_000)
        assert collections == []
        assert last() is not None
        collector.collect()
        assert collections == [0]
        assert last() is None


def test_older_objects_have_their_turn_seldom(collections: list[int]) -> None:
    """Every tenth and every hundredth time, so that nothing stays for ever."""
    with QuietCollector(longest_pause=1e6) as collector:
        collections.clear()
        for _ in range(200):
            collector.collect()
    assert [collections.count(generation) for generation in (0, 1, 2)] == [180, 18, 2]


def test_a_look_at_all_that_takes_too_long_is_not_repeated() -> None:
    """What it left is set aside until the end."""

    class SlowClock(ManualClock):
        def monotonic(self) -> float:
            self.advance(0.5)
            return super().monotonic()

    with QuietCollector(longest_pause=0.1, clock=SlowClock()) as collector:
        kept = [Node() for _ in range(1000)]
        before = gc.get_freeze_count()
        for _ in range(99):
            assert collector.collect() == 0.5
        assert gc.get_freeze_count() == before
        collector.collect()
        assert gc.get_freeze_count() >= before + len(kept)
        assert (collector.set_aside, collector.longest) == (1, 0.5)


def test_blocks_may_overlap() -> None:
    """The collector is on again when the last one is left, in whatever order."""
    first, second = QuietCollector(), QuietCollector()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    """Somebody else has their reasons."""
    gc.disable()
    try:
        with QuietCollector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
