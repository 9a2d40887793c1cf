"""When work goes to a costlier cluster, and when it does not."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.cluster.burst.rule import BurstRules, Situation, Standing, decide

RULES = BurstRules(
    most_wait_seconds=600.0,
    calm_wait_seconds=60.0,
    looks=1,
    cool_down_seconds=300.0,
    maximum_workers=8,
    step=8,
    price_ceiling=2.0,
    budget=20.0,
    bytes_per_second=1e6,
    start_seconds=60.0,
)
LATE = Situation(
    now=1000.0, backlog_seconds=7200.0, backlog_bytes=0, units=72, threads_here=2, price=1.0
)


def test_a_long_wait_is_shortened_to_its_bound() -> None:
    """As many workers are asked for as bring the wait below what it may be, with their start."""
    decision = decide(LATE, RULES, Standing())
    assert decision.change == decision.workers == 8
    assert "a wait of 3600 s, above 600 s" in decision.reason
    less = decide(replace(LATE, backlog_seconds=2700.0), RULES, Standing())
    assert less.workers == 3
    assert less.figures["wait_seconds"] == 1350.0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price": 2.5}, r"a worker-hour costs 2\.5, above the ceiling of 2"),
        ({"spent": 19.5}, r"19\.50 of the day's budget of 20 are spent"),
        ({"backlog_bytes": 72 * 10**8}, "moving the data takes longer than computing"),
        ({"backlog_seconds": 1260.0, "backlog_bytes": 72 * 6 * 10**8}, "would begin there after"),
        (
            {"wait_for_threads": 30.0, "threads_coming": 64},
            "a wait of .* s is|the wait is between its bounds",
        ),
    ],
)
def test_it_is_not_done_where_it_does_not_pay(change: dict[str, float], why: str) -> None:
    """Each bound holds by itself, and the reason names its figures."""
    decision = decide(replace(LATE, **change), RULES, Standing())  # type: ignore[arg-type]
    assert decision.workers == 0
    assert re.search(why, decision.reason), decision.reason


def test_data_that_lie_there_need_no_moving() -> None:
    """What kept the work here was the way of its data."""
    heavy = replace(LATE, backlog_bytes=72 * 10**8)
    assert decide(heavy, RULES, Standing()).workers == 0
    assert decide(replace(heavy, bytes_there=72 * 10**8), RULES, Standing()).workers == 8


def test_only_units_whose_data_are_there_in_time_count() -> None:
    """However much the others read: they stay here, and so many workers as the rest keeps busy go."""
    heavy = replace(LATE, backlog_bytes=72 * 10**8)
    none = decide(replace(heavy, units_paying=0), RULES, Standing())
    assert none.workers == 0
    assert "moving the data takes longer than computing" in none.reason
    some = decide(replace(heavy, units_paying=3), RULES, Standing())
    assert some.workers == 3
    assert some.figures["units_paying"] == 3
    # They are there sooner than a unit of the mean would be.
    assert some.figures["move_seconds"] == 50.0


def test_a_deadline_that_would_be_missed_counts_below_the_bound() -> None:
    """Nine minutes may wait, but not if five are left."""
    soon = replace(LATE, backlog_seconds=1080.0)
    assert decide(soon, RULES, Standing()).workers == 0
    decision = decide(replace(soon, deadline_in=300.0), RULES, Standing())
    assert decision.workers > 0
    assert "the deadline in 300 s would be missed" in decision.reason


def test_the_budget_bounds_how_many() -> None:
    """No more are asked for than what is left pays for an hour of each."""
    assert decide(replace(LATE, spent=17.0), RULES, Standing()).workers == 3


def test_several_looks_in_a_row_have_to_agree() -> None:
    """One long wait is not enough, and a short one in between begins the count anew."""
    rules = replace(RULES, looks=3)
    standing = Standing()
    for backlog in (7200.0, 7200.0, 600.0, 7200.0, 7200.0):
        decision = decide(replace(LATE, backlog_seconds=backlog), rules, standing)
        standing = decision.standing
        assert decision.workers == 0
    assert decide(LATE, rules, standing).workers == 8


def test_workers_are_kept_until_it_is_calm_and_has_been_for_a_while() -> None:
    """Between the two bounds nothing changes, and nothing goes before the cool-down is over."""
    standing = decide(LATE, RULES, Standing()).standing
    between = replace(LATE, now=5000.0, backlog_seconds=2000.0)
    assert decide(between, RULES, standing).change == 0
    calm = replace(LATE, now=1100.0, backlog_seconds=100.0)
    early = decide(calm, RULES, standing)
    assert early.change == 0
    assert "they stay for another 200 s" in early.reason
    assert decide(replace(calm, now=1301.0), RULES, standing).workers == 0


def test_workers_whose_going_would_bring_the_wait_back_stay() -> None:
    """A wait that is short because of them is no reason to let them go."""
    standing = Standing(workers=30, changed_at=0.0)
    calm = replace(LATE, now=5000.0, backlog_seconds=1600.0)
    decision = decide(calm, replace(RULES, maximum_workers=40), standing)
    assert decision.workers == 30
    assert "without those workers it would be long again" in decision.reason


@given(st.lists(st.floats(0.0, 20_000.0), min_size=1, max_size=60))
def test_it_does_not_flap(backlogs: list[float]) -> None:
    """However the work comes, workers never go within the cool-down after they were asked for."""
    standing = Standing()
    asked_at = None
    for number, backlog in enumerate(backlogs):
        now = number * 30.0
        decision = decide(
            replace(LATE, now=now, backlog_seconds=backlog, units=100), RULES, standing
        )
        standing = decision.standing
        assert 0 <= decision.workers <= RULES.maximum_workers
        if decision.change > 0:
            asked_at = now
        elif decision.change < 0:
            assert asked_at is not None
            assert now - asked_at >= RULES.cool_down_seconds
