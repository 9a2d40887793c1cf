"""From the numbers of blocks to a counter that grows by one for each exposure."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.sources.genicam.counter import BlockCounter

STEPS = st.lists(st.integers(1, 60_000), max_size=30)


def counted(*blocks: int) -> list[int | None]:
    counter = BlockCounter()
    return [counter.count(block) for block in blocks]


@given(first=st.integers(1, 65535), steps=STEPS)
def test_numbers_of_16_bits_wrap_to_1(first: int, steps: list[int]) -> None:
    """Wherever they begin and however many are lost, if fewer than all there are."""
    exposures = list(itertools.accumulate(steps, initial=first))
    assert counted(*((exposure - 1) % 65535 + 1 for exposure in exposures)) == exposures


@given(first=st.integers(1, 2**62), steps=st.lists(st.integers(1, 2**32), max_size=30))
def test_numbers_of_64_bits_do_not_wrap(first: int, steps: list[int]) -> None:
    """A number that needs more than 16 bits shows that they are of this kind."""
    exposures = list(itertools.accumulate(steps, initial=first))
    assert counted(*exposures) == exposures


def test_a_camera_that_counts_to_0_loses_nothing() -> None:
    """Though the standard has no block 0."""
    assert counted(65535, 0, 1) == [65535, 65536, 65537]
    assert counted(0, 1, 2) == [0, 1, 2]


def test_a_block_that_comes_again_is_not_counted() -> None:
    assert counted(5, 5, 6) == [5, None, 6]
    assert counted(70_000, 69_999, 70_001) == [70_000, None, 70_001]


def test_a_camera_that_went_on_has_its_lost_frames_counted() -> None:
    """Its first number after the connection was lost is higher than the last."""
    counter = BlockCounter()
    assert counter.count(100) == 100
    counter.reconnect()
    assert [counter.count(block) for block in (130, 131)] == [130, 131]
    assert not counter.began_anew


def test_a_camera_that_cannot_have_taken_so_many_began_anew() -> None:
    """Its first number is higher than the last, which had wrapped."""
    counter = BlockCounter()
    assert [counter.count(block) for block in (65300, 65535, 350)] == [65300, 65535, 65885]
    counter.reconnect()
    assert [counter.count(block, most=900) for block in (65300, 65303)] == [65886, 65889]
    assert counter.began_anew


def test_a_camera_that_begins_anew_is_numbered_on() -> None:
    """Each time; how many frames were lost between is unknown."""
    counter = BlockCounter()
    assert counter.count(100) == 100
    for first in (101, 105):
        counter.reconnect()
        assert [counter.count(block) for block in (1, 3, 4)] == [first, first + 2, first + 3]
        assert counter.began_anew


def test_a_connection_that_is_lost_before_the_first_frame_changes_nothing() -> None:
    counter = BlockCounter()
    counter.reconnect()
    assert [counter.count(block) for block in (7, 8)] == [7, 8]
    assert not counter.began_anew
