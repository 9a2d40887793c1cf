"""Retries: an ordered list of rules, of which the first that fits decides."""

import math
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from forebay.engine.queue.retry import (
    DEFAULT_RULES,
    PROMPT_RULES,
    Failure,
    FailureClass,
    RetryPolicy,
    RetryRule,
    Verdict,
)

KINDS = [*FailureClass]


def decide(
    policy: RetryPolicy,
    kind: FailureClass,
    *,
    retries: int = 0,
    deaths: int = 0,
    error: str = "error",
    before: str | None = None,
) -> Verdict:
    """Let a policy decide about a failure."""
    return policy.decide(Failure(kind, error), retries=retries, deaths=deaths, error_before=before)


def lives(policy: RetryPolicy, kind: FailureClass, *, error: str | None = "same") -> int:
    """Return how many attempts a unit has that always fails, with the same error or a new one."""
    retries = deaths = 0
    before = None
    for attempt in range(1, 10_000):
        deaths += kind is FailureClass.WORKER_LOST
        now = error or f"error {attempt}"
        if not decide(policy, kind, retries=retries, deaths=deaths, error=now, before=before).retry:
            return attempt
        retries, before = retries + 1, now
    raise AssertionError("it never ends")


@pytest.mark.parametrize("rules", [DEFAULT_RULES, PROMPT_RULES], ids=["default", "prompt"])
@pytest.mark.parametrize(
    ("kind", "same", "different"),
    [
        (FailureClass.INVALID, 1, 1),
        (FailureClass.RAISED, 2, 4),
        (FailureClass.WORKER_LOST, 2, 2),
        (FailureClass.OUT_OF_MEMORY, 3, 3),
        (FailureClass.TIMED_OUT, 2, 2),
        (FailureClass.LEASE_EXPIRED, 6, 6),
    ],
)
def test_the_rules_that_come_with_it(
    rules: tuple[RetryRule, ...], kind: FailureClass, same: int, different: int
) -> None:
    """Attempts until it is given up, with the same error each time, and with another one."""
    policy = RetryPolicy(rules)
    assert (lives(policy, kind), lives(policy, kind, error=None)) == (same, different)


def test_storage_is_tried_long_unless_somebody_waits() -> None:
    """Eight times with growing waits, or twice."""
    kind = FailureClass.INPUT_OUTPUT
    assert (lives(RetryPolicy(), kind), lives(RetryPolicy(PROMPT_RULES), kind)) == (9, 3)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in {FailureClass.WORKER_LOST, "out-of-memory"}]
)
def test_only_what_takes_others_with_it_is_computed_alone(kind: FailureClass) -> None:
    """A worker that died, or memory that was not enough."""
    assert not decide(RetryPolicy(), kind).alone
    for other in (FailureClass.WORKER_LOST, FailureClass.OUT_OF_MEMORY):
        assert decide(RetryPolicy(), other, deaths=1).alone


def test_the_first_rule_that_fits_decides() -> None:
    """Those behind it do not count, nor does one of other failures or of other errors."""
    raised, invalid = FailureClass.RAISED, FailureClass.INVALID
    policy = RetryPolicy(
        [
            RetryRule(failures=(raised,), same_error=True, action="give-up"),
            RetryRule(failures=(raised,), same_error=False, retries=5, wait_seconds=0.0),
            RetryRule(failures=(raised,), action="give-up"),
            RetryRule(retries=1, wait_seconds=0.0, alone=True),
            RetryRule(action="give-up"),
        ]
    )
    assert decide(policy, raised, before="another", retries=4) == Verdict(True)
    assert decide(policy, raised, before=None) == Verdict(True)
    assert decide(policy, raised, before="error") == Verdict(False)
    assert decide(policy, invalid) == Verdict(True, alone=True)
    assert decide(policy, invalid, retries=1) == Verdict(False)


def test_what_runs_out_of_memory_gets_all_there_is_before_it_becomes_smaller() -> None:
    """All of a worker's, then a larger worker's, then half as many frames at a time."""
    policy = RetryPolicy()

    def verdict(retries: int, *, memory: int | None, pieces: int, most: int) -> Verdict:
        failure = Failure(
            FailureClass.OUT_OF_MEMORY, "MemoryError", memory=memory, most_pieces=most
        )
        return policy.decide(
            failure, retries=retries, deaths=0, error_before="MemoryError", pieces=pieces
        )

    assert verdict(0, memory=4, pieces=1, most=8) == Verdict(True, alone=True)
    larger = verdict(1, memory=4, pieces=1, most=8)
    assert larger == Verdict(True, alone=True, more_memory=True)
    smaller = verdict(2, memory=None, pieces=1, most=8)
    assert smaller == Verdict(True, alone=True, split=True)
    assert verdict(4, memory=None, pieces=4, most=8) == smaller
    assert verdict(5, memory=None, pieces=8, most=8) == Verdict(False)
    assert verdict(1, memory=None, pieces=1, most=1) == Verdict(True, alone=True)
    assert verdict(2, memory=None, pieces=1, most=1) == Verdict(False)


def test_a_rule_may_be_for_the_first_failures_alone() -> None:
    """Those behind it decide about later ones."""
    policy = RetryPolicy([RetryRule(up_to=2, wait_seconds=0.0), RetryRule(action="give-up")])
    assert [decide(policy, FailureClass.RAISED, retries=n).retry for n in (0, 1, 2)] == [
        True,
        True,
        False,
    ]


def test_what_no_rule_fits_is_not_tried_again() -> None:
    """Nor is anything where there are no rules."""
    only = RetryPolicy([RetryRule(failures=(FailureClass.RAISED,))])
    assert not decide(only, FailureClass.INVALID).retry
    assert not decide(RetryPolicy([]), FailureClass.RAISED).retry


def test_deaths_are_counted_by_themselves() -> None:
    """Retries after other failures do not use up those after a death, nor spare it a third one."""
    lost = FailureClass.WORKER_LOST
    assert decide(RetryPolicy(), lost, retries=5, deaths=1).retry
    assert not decide(RetryPolicy(), lost, retries=0, deaths=2).retry


rules = st.builds(
    RetryRule,
    failures=st.lists(st.sampled_from(KINDS), unique=True).map(tuple),
    action=st.sampled_from(["retry", "give-up"]),
    same_error=st.sampled_from([None, True, False]),
    retries=st.integers(0, 3000),
    wait_seconds=st.floats(0.0, 1e6),
    most_wait_seconds=st.floats(0.0, 1e6),
    alone=st.booleans(),
)


@example(
    [RetryRule(retries=3000, most_wait_seconds=1e6)], 3000, FailureClass.RAISED, 2000, 0, None, 1
)
@given(
    st.lists(rules, max_size=5),
    st.integers(0, 3000),
    st.sampled_from(KINDS),
    st.integers(0, 3000),
    st.integers(0, 5),
    st.sampled_from([None, "error", "another"]),
    st.integers(),
)
def test_every_verdict_follows_from_one_rule(
    listed: list[RetryRule],
    most: int,
    kind: FailureClass,
    retries: int,
    deaths: int,
    before: str | None,
    seed: int,
) -> None:
    """Caps hold whatever the rules say, and waits are within their bounds."""
    policy = RetryPolicy(listed, most_retries=most, chance=random.Random(seed))
    deaths = max(deaths, kind is FailureClass.WORKER_LOST)
    verdict = decide(policy, kind, retries=retries, deaths=deaths, before=before)
    same = before == "error"
    fitting = [each for each in listed if kind in each.failures and each.same_error in {None, same}]
    if not fitting:
        assert verdict == Verdict(False)
        return
    rule = fitting[0]
    had = deaths - 1 if kind is FailureClass.WORKER_LOST else retries
    assert verdict.retry == (rule.action == "retry" and had < rule.retries and retries < most)
    if not verdict.retry:
        assert verdict == Verdict(False)
        return
    longest = min(rule.most_wait_seconds, rule.wait_seconds * 2.0 ** min(retries, 1000))
    assert 0.0 <= verdict.wait_seconds <= longest
    assert math.isfinite(verdict.wait_seconds)
    assert verdict.alone == rule.alone


def test_waits_are_spread_over_all_of_their_length() -> None:
    """So that what failed together does not come back together."""
    policy = RetryPolicy([RetryRule(wait_seconds=8.0)], chance=random.Random(7))
    waits = [decide(policy, FailureClass.INPUT_OUTPUT).wait_seconds for _ in range(400)]
    assert min(waits) < 0.5
    assert max(waits) > 7.5
    assert sum(waits) / len(waits) == pytest.approx(4.0, abs=0.5)


@given(st.integers(0, 12))
def test_waits_double_up_to_the_longest(retries: int) -> None:
    """Each may be twice as long as the one before."""

    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    rule = RetryRule(retries=100, wait_seconds=1.5, most_wait_seconds=600.0)
    policy = RetryPolicy([rule], most_retries=100, chance=Longest())
    wait = decide(policy, FailureClass.INPUT_OUTPUT, retries=retries).wait_seconds
    assert wait == min(600.0, 1.5 * 2**retries)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": ("tired",)},
        {"action": "perhaps"},
        {"retries": -1},
        {"wait_seconds": -1.0},
        {"wait_seconds": math.inf},
        {"wait_seconds": math.nan},
        {"most_wait_seconds": -1.0},
        {"most_wait_seconds": math.inf},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Rules come from configuration files."""
    with pytest.raises(ValidationError):
        RetryRule.model_validate(wrong)
