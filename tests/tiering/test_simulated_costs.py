"""What policies would cost over years, by the code that movers go by."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ByteSize
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.tiering.simulation.course import Course, simulate
from forebay.tiering.simulation.laboratory import MONTH_DAYS, Laboratory
from forebay.tiering.specification import PolicySpecification, TierSpecification

TB = 10**12
TIERS = {
    "hot": TierSpecification(url="/hot", capacity=ByteSize(10 * TB), cost_per_gb_month=0.1),
    "cold": TierSpecification(url="/cold", cost_per_gb_month=0.01, cost_per_gb_read=0.02),
}
SMALL = Laboratory(instruments=2, bytes_per_day=0.1 * TB, years=1.0)


def policy(**fields: Any) -> PolicySpecification:
    return PolicySpecification.model_validate({"name": "p", "from": "hot", "to": "cold", **fields})


def course(*policies: PolicySpecification, of: Laboratory = SMALL, **options: Any) -> Course:
    return simulate("", policies, {**TIERS, **options.pop("tiers", {})}, of, **options)


def test_what_is_never_moved_costs_more_each_month() -> None:
    """The sum is that of the months, and a tier that is too small is told of."""
    found = course()
    steps, size = SMALL.steps, 2 * 0.7 * TB
    each = [size * (step + 1) / 1e9 * 0.1 for step in range(steps)]
    assert found.cost == pytest.approx(sum(each) * 7 / MONTH_DAYS)
    assert found.points[-1].cost_per_month == pytest.approx(each[-1])
    assert found.full_days == {"hot": 7.0 * (steps - 7)}
    assert found.moved_bytes == 0


def test_a_policy_by_age_keeps_so_many_days_in_the_first_tier() -> None:
    """All else lies in the other one."""
    found = course(policy(older_than_days=30))
    last = found.points[-1].bytes
    # Five steps of seven days are the first that are thirty days old.
    assert last["hot"] == 5 * 2 * 0.7 * TB
    assert last["hot"] + last["cold"] == SMALL.steps * 2 * 0.7 * TB
    assert found.moved_bytes == last["cold"]
    assert found.full_days == {}


def test_what_is_read_stays_and_what_is_read_again_is_paid_for() -> None:
    """By last reading, a run goes when it was not read for as long."""
    found = course(policy(unread_days=30))
    assert (
        found.points[-1].bytes["hot"] > course(policy(older_than_days=30)).points[-1].bytes["hot"]
    )
    assert found.reading == 0.0
    again = course(
        policy(older_than_days=30),
        of=Laboratory(instruments=2, bytes_per_day=0.1 * TB, years=1.0, read_again=0.2),
    )
    assert again.reading > 0.0


def test_copies_room_and_bandwidth_are_kept_to() -> None:
    """Nothing goes for which there is no room or time, nor a copy that must be there."""
    kept = course(policy(keep=True))
    assert kept.points[-1].bytes["hot"] == kept.points[-1].bytes["cold"]
    assert course(policy(), min_copies=2).points[-1].bytes == kept.points[-1].bytes
    small = TierSpecification(url="/cold", capacity=ByteSize(TB))
    assert course(policy(), tiers={"cold": small}).points[-1].bytes["cold"] <= TB
    slow = TierSpecification(url="/cold", bandwidth=ByteSize(2 * 10**6))
    moved = course(policy(), tiers={"cold": slow}).moved_bytes
    assert 0.5 * 2e6 * 365 * 86_400 < moved <= 2e6 * 366 * 86_400


@given(
    older=st.floats(0, 200), full=st.booleans(), keep=st.booleans(), instruments=st.integers(1, 3)
)
def test_nothing_is_lost_or_made_up(older: float, full: bool, keep: bool, instruments: int) -> None:
    """At each moment every run that was recorded lies somewhere."""
    lab = Laboratory(instruments=instruments, bytes_per_day=0.1 * TB, years=0.5, step_days=14.0)
    chosen = policy(older_than_days=older, keep=keep, when="full" if full else "always")
    for number, point in enumerate(course(chosen, of=lab).points):
        recorded = (number + 1) * instruments * round(1.4 * TB)
        if keep:
            assert point.bytes["hot"] == recorded
            assert point.bytes["cold"] <= recorded
        else:
            assert point.bytes["hot"] + point.bytes["cold"] == recorded


CONFIGURATION = """
runs = "runs"
[tiers.hot]
url = "runs"
cost_per_gb_month = 0.1
[tiers.cold]
url = "cold"
[tiering]
policies = [
    {name = "old", from = "hot", to = "cold", older_than_days = 60},
    {name = "large", from = "hot", to = "cold", larger_than = "1 GB"},
]
"""


def test_costs_are_shown_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now, and by each policy over years; what cannot be simulated is told in one line."""
    (tmp_path / "forebay.toml").write_text(CONFIGURATION)
    for name in ("runs", "cold"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)

    def told(*words: str, code: int = 0) -> str:
        ended = CliRunner().invoke(app, ["tier", "costs", *words])
        assert ended.exit_code == code, ended.output
        assert "Traceback" not in ended.output
        return ended.output

    assert "in all 0.00 in each month" in told()
    assert [json.loads(line)["tier"] for line in told("--json").splitlines()] == ["hot", "cold"]
    lab = ("--instruments", "2", "--years", "0.5", "--rate", "100 GB")
    assert "as configured" in told(*lab, "--picture", "costs.png")
    assert Image.open(tmp_path / "costs.png").size[0] > 800
    found = [json.loads(line) for line in told(*lab, "--json").splitlines()]
    assert [each["policies"] for each in found] == [
        "nothing moves", "'old' alone", "'large' alone", "as configured",
    ]  # fmt: skip
    assert found[3]["cost"] < found[1]["cost"] < found[0]["cost"]
    assert "--rate 'much' is no size" in told("--instruments", "2", "--rate", "much", code=2)
    assert "is nothing: give more" in told("--instruments", "2", "--rate", "0 B", code=2)
    assert "give --instruments" in told("--picture", "x.png", code=2)
    assert "give a longer --step" in told("--instruments", "99999", code=2)
