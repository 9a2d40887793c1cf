"""How fast frames are committed, and when a disk is said to fill."""

import pytest

from forebay.acquisition.service.rates import DiskWatch, RateMeter
from forebay.acquisition.sources.testing.clock import ManualClock


def test_a_rate_is_that_of_blocks_however_seldom_they_come() -> None:
    """Ten frames each second, committed each ten seconds: it is so at any moment in between."""
    clock = ManualClock()
    meter = RateMeter(clock)
    for block in range(1, 5):
        clock.advance(1 if block > 1 else 10)
        assert meter.of(100 * block, 1000 * block) == (10, 100)
        clock.advance(9)
        assert meter.of(100 * block, 1000 * block) == (10, 100)


def test_a_rate_falls_when_nothing_is_committed_any_more() -> None:
    """As soon as that takes longer than it did before."""
    clock = ManualClock()
    meter = RateMeter(clock, frames=500)
    assert meter.of(500, 0) == (0, 0)
    clock.advance(10)
    assert meter.of(600, 1000) == (10, 100)
    clock.advance(40)
    assert meter.of(600, 1000) == (2, 20)


def test_many_commits_a_second_are_seen_over_the_last_seconds() -> None:
    """So it follows a camera that becomes faster."""
    clock = ManualClock()
    meter = RateMeter(clock)
    frames = 0
    for step in (1, 10):
        for _ in range(100):
            clock.advance(0.1)
            frames += step
            rate, _ = meter.of(frames, frames)
        assert rate == pytest.approx(10 * step)


def test_a_disk_that_fills_is_warned_of_more_and_more_urgently() -> None:
    """Once each: an hour, ten minutes and a minute before it is full at this rate."""
    watch = DiskWatch()
    left = (400_000, 359_000, 300_000, 59_000, 50_000, 5_900, 5_000)
    told = [watch.look(megabytes * 10**6, 10**8) for megabytes in left]
    assert [bool(each) for each in told] == [False, True, False, True, False, True, False]
    assert "which last 60 min at this rate" in str(told[1])
    assert "which last 59 s at this rate" in str(told[5])


def test_a_disk_on_which_room_was_made_is_warned_of_again() -> None:
    """And not each time that a rate wavers."""
    watch = DiskWatch()
    told = [watch.look(megabytes * 10**6, 10**8) for megabytes in (50_000, 70_000, 50_000)]
    assert [bool(each) for each in told] == [True, False, False]
    told = [watch.look(megabytes * 10**6, 10**8) for megabytes in (900_000, 50_000, 5_000)]
    assert [bool(each) for each in told] == [False, True, True]


def test_a_disk_that_does_not_last_for_what_is_to_come_is_warned_of_at_once() -> None:
    """However long it lasts at this rate; once, unless room was made."""
    watch = DiskWatch()
    rest = 600 * 10**9
    told = [watch.look(free * 10**9, 10**6, rest) for free in (700, 599, 598, 650, 590, 1300, 590)]
    assert [bool(each) for each in told] == [False, True, False, False, False, False, True]
    assert "are still to come" in str(told[1])
