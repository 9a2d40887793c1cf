"""How fast moves may go: what they give way to, and when they have to hurry."""

import math
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.tiering.continuous.filling import Committed, committed_rate
from forebay.tiering.continuous.rule import Allowed, Outlook, Situation, allowed
from forebay.tiering.moving.pace import Pace

GENTLE = 50.0
CALM = Outlook(
    tier="hot",
    used_bytes=500,
    capacity=10_000,
    bytes_per_second=1.0,
    seconds_to_high=8000.0,
    seconds_to_full=9500.0,
    leaving_bytes=100,
)
PRESSING = replace(CALM, seconds_to_high=1.0)


def pace(situation: Situation, *, grace: float = 0.0) -> Allowed:
    return allowed(situation, gentle=GENTLE, grace_seconds=grace)


@pytest.mark.parametrize(
    ("situation", "rate", "because"),
    [
        (Situation(), math.inf, "nothing is recorded"),
        (Situation(realtime_waits=True), 0.0, "real-time work waits"),
        (Situation(flows=["normal"]), GENTLE, "something is recorded"),
        (Situation(flows=["holding"], realtime_waits=True), 0.0, "real-time work waits"),
        (Situation(outlooks=[CALM]), GENTLE, "something is recorded"),
        (Situation(outlooks=[PRESSING], flows=["normal"]), 100.0, "hot reaches its watermark"),
        (Situation(outlooks=[PRESSING], realtime_waits=True), 100.0, "hot reaches its watermark"),
        (Situation(outlooks=[PRESSING], flows=["normal", "dropping"]), 0.0, "(dropping)"),
        (Situation(flows=["spilling", "waiting for space"]), math.inf, "waits for space"),
    ],
)
def test_what_moves_give_way_to(situation: Situation, rate: float, because: str) -> None:
    """A recorder that is behind, then real-time work, then a recorder that keeps up."""
    found = pace(situation)
    assert found.bytes_per_second == rate
    assert because in found.because


def test_copying_is_done_before_the_grace_has_to_begin() -> None:
    """An old copy takes room until its grace is over."""
    assert pace(Situation(outlooks=[PRESSING]), grace=1.0).bytes_per_second == math.inf
    late = replace(CALM, seconds_to_high=3601.0)
    assert pace(Situation(outlooks=[late]), grace=3600.0).bytes_per_second == 100.0


@given(
    leaving=st.integers(0, 10**6),
    left=st.floats(0, 10**5),
    less=st.floats(0, 10**5),
    more=st.integers(0, 10**6),
    grace=st.floats(0, 10**4),
)
def test_the_less_time_is_left_the_faster_it_goes(
    leaving: int, left: float, less: float, more: int, grace: float
) -> None:
    """Never slower than what disturbs nobody; as fast as can be when it is too late."""
    now = replace(CALM, leaving_bytes=leaving, seconds_to_high=left)
    rate = pace(Situation(outlooks=[now]), grace=grace).bytes_per_second
    assert rate >= GENTLE
    worse = replace(now, leaving_bytes=leaving + more, seconds_to_high=max(0.0, left - less))
    assert pace(Situation(outlooks=[worse]), grace=grace).bytes_per_second >= rate
    if leaving and left <= grace:
        assert rate == math.inf


@given(
    leaving=st.integers(1, 10**6),
    left=st.floats(1, 10**5),
    grace=st.floats(0, 1000),
    fastest=st.floats(GENTLE, 10**5),
)
def test_what_is_to_leave_has_gone_in_time_if_it_can(
    leaving: int, left: float, grace: float, fastest: float
) -> None:
    """Looked at a hundred times on the way, on a disk of any speed that suffices."""
    time = left - grace
    possible = time > 0 and leaving <= 0.9 * fastest * time
    step = max(time, 0.0) / 100
    rest, at = float(leaving), 0.0
    for _ in range(100):
        now = replace(CALM, leaving_bytes=math.ceil(max(rest, 0)), seconds_to_high=left - at)
        rate = pace(Situation(outlooks=[now]), grace=grace).bytes_per_second
        rest -= min(rate, fastest) * step
        at += step
    if possible:
        assert rest <= max(1e-6 * leaving, 1.0)


@given(
    rate=st.floats(1.0, 1e9),
    every=st.floats(0.01, 300.0),
    count=st.integers(2, 200),
    late=st.floats(0, 3.9),
)
def test_the_rate_is_what_was_committed_lately(
    rate: float, every: float, count: int, late: float
) -> None:
    """It falls when blocks come late, and is zero when none has come for long."""
    blocks = [Committed(1e6 + number * every, int(rate * every) + 1) for number in range(count)]
    last = blocks[-1].at
    size = blocks[0].bytes
    assert committed_rate(blocks, now=last) == pytest.approx(size / every, rel=1e-3)
    found = committed_rate(blocks, now=last + late * every)
    assert 0 < found <= committed_rate(blocks, now=last) * (1 + 1e-6)
    assert committed_rate(blocks, now=last + 10 + 5 * every) == 0.0
    assert committed_rate(blocks[:1], now=last) == 0.0


def test_only_the_last_minute_counts() -> None:
    """A recorder that has become faster is believed so a minute later."""
    slow = [Committed(float(second), 10) for second in range(600)]
    fast = [Committed(600.0 + second, 1000) for second in range(61)]
    assert committed_rate([*slow, *fast], now=660.0) == pytest.approx(1000.0)


class Hands:
    """A clock that is set by hand."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_bytes_go_through_at_the_pace_that_is_set() -> None:
    """What was taken in at one rate is let through by the next one."""
    clock = Hands()
    pace = Pace(100.0, clock=clock)
    pace.take(500)
    assert not pace.wait(timeout=0.0)
    clock.time = 4.0
    assert not pace.wait(timeout=0.0)
    pace.set(0.0)
    clock.time = 100.0
    assert not pace.wait(timeout=0.0)
    pace.set(10.0)
    clock.time = 110.0
    assert pace.wait(timeout=0.0)


def test_whoever_waits_goes_on_at_once_when_the_pace_changes() -> None:
    """It does not wait out what the old pace would have taken."""
    pace = Pace(0.0)
    pace.take(1000)
    through: list[bool] = []
    waiting = threading.Thread(target=lambda: through.append(pace.wait(timeout=60.0)))
    waiting.start()
    pace.set(math.inf)
    waiting.join(30.0)
    assert through == [True]
