"""Policies say which runs should move, and change nothing."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize, ValidationError

from forebay.tiering.agreement import check_places, check_policies
from forebay.tiering.catalogue.records import Protection, RunRecord, ShelfRecord, ShelfState
from forebay.tiering.policy import Suggestion, suggestions
from forebay.tiering.specification import PolicySpecification, TierSpecification

DAY = 86_400 * 10**9
NOW = 20_000 * DAY
TIERS = {
    "hot": TierSpecification(url="/hot", capacity=ByteSize(1000), cost_per_gb_month=0.2),
    "cold": TierSpecification(url="s3://lab/cold", cost_per_gb_month=0.004, cost_per_gb_read=0.09),
}


def policy(**fields: Any) -> PolicySpecification:
    """Return a policy from hot to cold."""
    return PolicySpecification.model_validate(
        {"name": "age", "from": "hot", "to": "cold", **fields}
    )


def run(name: str, *, size: int = 100, age: float = 100, unread: float = 100) -> RunRecord:
    """Return a run that was closed and last read so many days ago."""
    closed, read = NOW - int(age * DAY), NOW - int(unread * DAY)
    return RunRecord(name, name, f"/hot/{name}", size, 10, closed, read)


def shelf(record: RunRecord, tier: str = "hot") -> ShelfRecord:
    """Return a copy of a run in a tier."""
    state = ShelfState.AVAILABLE
    return ShelfRecord(
        f"{record.name} {tier}",
        record.run_id,
        tier,
        "",
        tier == "hot",
        state,
        record.bytes,
        1,
        None,
    )


def moved(
    policies: list[PolicySpecification],
    runs: list[RunRecord],
    shelves: list[ShelfRecord] | None = None,
    protections: list[Protection] | None = None,
) -> list[Suggestion]:
    """Return what the policies would move."""
    copies = [shelf(each) for each in runs] if shelves is None else shelves
    return list(suggestions(policies, TIERS, runs, copies, protections or [], now=NOW))


def names(found: list[Suggestion]) -> list[str]:
    return [each.run.name for each in found]


def test_how_long_a_move_takes_is_told_by_the_bandwidths() -> None:
    """The slower end lets through what is copied, and the target what is read back; recalls wait."""
    known = run("a", size=6000)
    slow = TierSpecification(url="s3://lab/slow", bandwidth=ByteSize(100))
    deep = TierSpecification(
        url="s3://lab/deep", storage_class="DEEP_ARCHIVE", bandwidth=ByteSize(300)
    )
    tiers = {"slow": slow, "deep": deep, "hot": TierSpecification(url="/hot")}

    def told(source: str, target: str) -> tuple[float, float | None]:
        moving = policy(**{"from": source, "to": target})
        (found,) = suggestions([moving], tiers, [known], [shelf(known, source)], [], now=NOW)
        return found.recall_seconds, found.copy_seconds

    assert told("slow", "deep") == (0.0, 60.0 + 20.0)
    assert told("deep", "slow") == (12 * 3600.0, 60.0 + 60.0)
    assert told("deep", "hot") == (12 * 3600.0, 20.0)
    assert told("hot", "slow") == (0.0, 120.0)
    (unknown,) = moved([policy()], [known])
    assert unknown.copy_seconds is None


def test_what_fits_all_conditions_moves() -> None:
    """Age, last reading, name and size, each for itself."""
    runs = [
        run("a/young", age=5, unread=5),
        run("a/read", age=50, unread=1),
        run("a/small", size=9),
        run("b/other"),
        run("a/old"),
    ]
    chosen = policy(runs="a/*", older_than_days=30, unread_days=10, larger_than=10)
    assert names(moved([chosen], runs)) == ["a/old"]
    assert names(moved([policy()], runs)) == [each.name for each in runs]


def test_the_first_policy_that_fits_decides() -> None:
    """So an exception stands before the rule."""
    runs = [run("development/a"), run("b")]
    stay = policy(name="stay", runs="development/*", older_than_days=10**4)
    keep = policy(name="copy", runs="development/*", keep=True)
    found = moved([stay, keep, policy()], runs)
    assert [(each.run.name, each.policy, each.keep) for each in found] == [
        ("development/a", "copy", True),
        ("b", "age", False),
    ]


def test_what_is_protected_is_not_suggested() -> None:
    """A hold keeps it everywhere, a pin in its tier; a copy may be made all the same."""
    runs = [run("held"), run("pinned"), run("pinned elsewhere")]
    protections = [
        Protection(1, "held", "hold", None, "ada", "", None),
        Protection(2, "pinned", "pin", "hot", "ada", "", None),
        Protection(3, "pinned elsewhere", "pin", "cold", "ada", "", None),
    ]
    assert names(moved([policy()], runs, protections=protections)) == ["pinned elsewhere"]
    assert len(moved([policy(keep=True)], runs, protections=protections)) == 3


def test_what_lies_there_already_is_not_copied_again() -> None:
    """But its copy in the first tier goes, where the policy says so."""
    runs = [run("a")]
    both = [shelf(runs[0]), shelf(runs[0], "cold")]
    assert moved([policy(keep=True)], runs, both) == []
    assert names(moved([policy()], runs, both)) == ["a"]
    assert moved([policy()], runs, both[1:]) == []


def test_a_tier_is_freed_only_above_its_watermark() -> None:
    """And only until it is below the lower one, those that nobody has read for longest first."""
    runs = [run(f"r{number}", unread=number) for number in range(8)]
    full = policy(when="full")
    assert moved([full], runs) == []
    runs.append(run("r8", unread=8))
    assert names(moved([full], runs)) == ["r8", "r7"]


def test_costs_are_those_of_the_tiers() -> None:
    """What is read once, and what is paid in each month, more or less."""
    (found,) = moved([policy()], [run("a", size=2 * 10**9)])
    assert found.cost == 0.0
    assert found.cost_per_month == pytest.approx(2 * (0.004 - 0.2))
    (kept,) = moved([policy(keep=True)], [run("a", size=2 * 10**9)])
    assert kept.cost_per_month == pytest.approx(2 * 0.004)
    back = PolicySpecification.model_validate({"name": "back", "from": "cold", "to": "hot"})
    record = run("a", size=2 * 10**9)
    (read,) = moved([back], [record], [shelf(record, "cold")])
    assert read.cost == pytest.approx(2 * 0.09)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.floats(0, 400), st.floats(0, 400)), max_size=12),
    st.floats(0, 300),
    st.sampled_from(["always", "full"]),
)
def test_no_run_moves_that_does_not_fit(
    given_runs: list[tuple[int, float, float]], unread: float, when: str
) -> None:
    """Nor twice, and freeing a tier never goes further than it has to."""
    runs = [
        run(f"r{number}", size=size, age=age, unread=read)
        for number, (size, age, read) in enumerate(given_runs)
    ]
    found = moved([policy(unread_days=unread, when=when), policy(name="second", when=when)], runs)
    assert len(set(names(found))) == len(found)
    used = sum(each.bytes for each in runs)
    if when == "full":
        freed = sum(each.run.bytes for each in found)
        last = found[-1].run.bytes if found else 0
        assert used - freed + last > 700 or not found
        assert used > 850 or not found
    else:
        assert len(found) == len(runs)


def test_ten_thousand_runs_are_decided_on_in_no_time() -> None:
    """Objects are not looked at one by one: ten million of them are ten thousand runs."""
    runs = [run(f"r{number}", unread=number % 400) for number in range(10_000)]
    began = time.process_time()
    assert len(moved([policy(unread_days=200), policy(name="second", when="full")], runs)) > 4000
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memory://x", "a tier is a folder, or one of"),
        ("s3://", "a tier is a folder, or one of"),
        ("s3://bucket/a?b=c", "a tier is a folder, or one of"),
        ("s3://AKIA:secret@bucket/a", "credentials come from the environment"),
    ],
)
def test_a_place_that_can_be_no_tier_is_refused(url: str, told: str) -> None:
    """What is secret in it is not shown again by the configuration."""
    with pytest.raises(ValidationError, match=told):
        TierSpecification(url=url)


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", True),
        ("/a/b", "/a", True),
        ("/a", "/ab", False),
        ("s3://x/a", "s3://x/a/", True),
        ("s3://x/a", "s3://x/a/b", True),
        ("s3://x/a", "s3://x/ab", False),
        ("s3://x/a", "/x/a", False),
    ],
)
def test_no_two_tiers_share_a_place(one: str, other: str, share: bool) -> None:
    """Deleting in one would delete in the other."""
    tiers = {"one": TierSpecification(url=one), "other": TierSpecification(url=other)}
    if share:
        with pytest.raises(ValueError, match="share a place"):
            check_places(tiers)
    else:
        check_places(tiers)


def test_policies_that_never_end_are_refused() -> None:
    """Also where it takes three of them; not where no run can go all the way round."""
    tiers = {name: TierSpecification(url=f"/{name}") for name in ("a", "b", "c")}

    def step(start: str, end: str, runs: str = "*") -> PolicySpecification:
        return PolicySpecification.model_validate(
            {"name": start + end, "from": start, "to": end, "runs": runs}
        )

    with pytest.raises(ValueError, match="'ab', 'bc', 'ca' move the same runs round and round"):
        check_policies([step("a", "b"), step("b", "c"), step("c", "a", "x*")], tiers)
    check_policies([step("a", "b", "x/*"), step("b", "a", "y/*")], tiers)
    with pytest.raises(ValidationError, match="moves runs from 'a' to itself"):
        step("a", "a")
    with pytest.raises(ValidationError, match=r"low = 0\.9 is above high = 0\.85"):
        TierSpecification(url="/a", low=0.9)
