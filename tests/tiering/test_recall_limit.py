"""Policies have recalled from archives what they may, and no more."""

from typing import Any

import pytest
from tests.tiering.site import NOON, Site, on_each_database

from forebay.tiering.catalogue.records import RunRecord, ShelfRecord, ShelfState
from forebay.tiering.recall_limit import LIMIT_DAYS
from forebay.tiering.simulation.course import simulate
from forebay.tiering.simulation.laboratory import Laboratory
from forebay.tiering.specification import PolicySpecification, TierSpecification
from forebay.tiering.wanted import wanted_now

DAY = 86_400.0
GB = 10**9
DEEP = TierSpecification(
    url="s3://lab/deep", storage_class="GLACIER", recall_cost_per_gb=1.0, cost_per_gb_read=0.5
)


def policy(**fields: Any) -> PolicySpecification:
    wanted = {"name": "back", "from": "deep", "to": "hot", **fields}
    return PolicySpecification.model_validate(wanted)


def put_into_archive(site: Site, name: str, *, size: int) -> RunRecord:
    record = RunRecord(name, name, f"{site.runs}/{name}", size, 10, NOON, NOON)
    shelf = ShelfRecord(
        f"{name} deep", name, "deep", name, False, ShelfState.AVAILABLE, size, NOON, None
    )
    site.catalogue.add(record, {}, {}, [shelf])
    return record


def wanted(site: Site, *policies: PolicySpecification) -> tuple[list[str], list[str]]:
    """Return the runs that policies move now, and what is said of those that wait."""
    settings = site.settings.model_copy(update={"policies": policies})
    found, limit = wanted_now(
        site.catalogue, {**site.specifications, "deep": DEEP}, settings, expected={}
    )
    return [each.run.name for each in found], limit.told()


@on_each_database
def test_a_policy_recalls_no_more_than_it_may_within_so_many_days(site: Site) -> None:
    """What it has asked for counts, under way or done; the rest waits, and it is said."""
    runs = [put_into_archive(site, name, size=4 * GB) for name in ("a", "b", "c", "d")]
    back = policy(recall_cost=9.0)
    assert wanted(site, policy(recall_cost=100.0)) == (["a", "b", "c", "d"], [])
    names, said = wanted(site, back)
    assert names == ["a", "b"]
    (told,) = said
    assert told == (
        "policy 'back' has 2 runs or results wait in their archive: to recall them costs about "
        "8.00, and 8.00 of the 9.00 that it may cost in 30 days (recall_cost) are spent"
    )
    moves = [
        site.moves.plan(each, tier="hot", keep=False, why="policy back", source="deep")
        for each in runs[:2]
    ]
    # What somebody has asked for by hand counts nothing.
    site.moves.plan(runs[3], tier="hot", keep=False, why="asked for by ada", source="deep")
    names, said = wanted(site, back)
    assert names == []
    assert len(said) == 1
    assert said[0].startswith("policy 'back' has 1 runs or results wait")
    for each in moves:
        site.moves.cancel(each.move)
    assert wanted(site, back)[0] == []
    site.pass_by(LIMIT_DAYS * DAY + 1)
    assert wanted(site, back)[0] == ["a", "b"]


def test_what_policies_may_recall_is_counted_over_the_years() -> None:
    """As a service would; and who reads what lies in an archive pays for its recall."""
    lab = Laboratory(instruments=1, bytes_per_day=GB / 10, years=1.0, step_days=10.0)
    tiers = {"hot": TierSpecification(url="/hot"), "deep": DEEP}
    out = PolicySpecification.model_validate({"name": "out", "from": "hot", "to": "deep"})
    back = policy(recall_cost=2.0)
    found = simulate("", [out, back], tiers, lab)
    steps = lab.steps
    # Each run of a gigabyte goes at once; two come back in three steps of ten days, and go again.
    came = (found.moved_bytes / GB - steps) / 2
    assert came == pytest.approx(2 / 3 * steps, abs=2)
    assert simulate("", [out], tiers, lab).moved_bytes == steps * GB
