"""What the rule would have done with a recorded load, at what cost."""

from dataclasses import replace
from pathlib import Path

import pytest

from forebay.cluster import ClusterError
from forebay.cluster.burst.load import LoadUnit, load_lines, read_load
from forebay.cluster.burst.rule import BurstRules
from forebay.cluster.burst.simulation import Own, Site, simulate

RULES = BurstRules(
    most_wait_seconds=600.0, calm_wait_seconds=60.0, looks=2, maximum_workers=8, step=8,
    start_seconds=120.0, cool_down_seconds=60.0,
)  # fmt: skip
RUSH = [LoadUnit(at=0.0, seconds=60.0, bytes=10**6, deadline=1800.0) for _ in range(200)]


def test_without_a_burst_the_load_takes_what_it_takes() -> None:
    """Two hundred minutes of work for four threads are fifty minutes, and cost nothing there."""
    outcome = simulate(RUSH, Site(threads=4, price_there=1.2, burst=False, price_here=0.1), RULES)
    assert (outcome.units, outcome.units_there, outcome.makespan) == (200, 0, 3000.0)
    assert outcome.mean == pytest.approx(1530.0)
    assert outcome.late == 80
    assert outcome.cost == pytest.approx(4 * 0.1 * 3000 / 3600)


def test_a_burst_meets_the_deadline_and_is_paid_for() -> None:
    """What it brings and what it costs both come from when the rule asked for workers."""
    outcome = simulate(RUSH, Site(threads=4, price_there=1.2), RULES)
    assert outcome.units == 200
    assert outcome.late == 0
    assert outcome.makespan < 1800
    first, decision = outcome.decisions[0]
    assert decision.workers == 8
    # Each is paid for from then on, until it has nothing to do any more.
    most = 8 * 1.2 * (outcome.makespan - first) / 3600
    assert 0.8 * most < outcome.cost_there <= most + 1e-9
    assert outcome.units_there is not None
    assert outcome.units_there * 60 / 3600 * 1.2 < outcome.cost_there


def test_the_scheduler_is_paid_for_as_long_as_there_is_work() -> None:
    """Also where no worker is asked for; without a burst there is none."""
    load = [LoadUnit(at=20.0 * number, seconds=60.0) for number in range(50)]
    site = Site(threads=4, price_there=1.2, price_besides=0.1)
    outcome = simulate(load, site, RULES)
    assert outcome.cost == outcome.cost_there == pytest.approx(0.1 * outcome.makespan / 3600)
    assert simulate(load, replace(site, burst=False), RULES).cost == 0.0


def test_work_that_comes_slowly_brings_no_burst() -> None:
    """Four threads keep up with it by themselves."""
    load = [LoadUnit(at=20.0 * number, seconds=60.0) for number in range(50)]
    outcome = simulate(load, Site(threads=4, price_there=1.2), RULES)
    assert not outcome.decisions
    assert outcome.cost == 0.0
    assert outcome.worst == pytest.approx(60.0)


def test_workers_go_between_two_rushes() -> None:
    """A quiet hour is not paid for."""
    later = [unit.model_copy(update={"at": 9000.0, "deadline": None}) for unit in RUSH]
    outcome = simulate([*RUSH, *later], Site(threads=4, price_there=1.2), RULES)
    assert [decision.workers for _, decision in outcome.decisions][:3] == [8, 0, 8]
    assert outcome.cost_there < 8 * 1.2 * 3600 / 3600


def test_units_that_do_not_pay_are_computed_at_home() -> None:
    """A minute's unit that reads 1 GB at 100 MB/s goes; one that reads 2 GB stays, for four threads."""
    light = [LoadUnit(at=0.0, seconds=60.0, bytes=10**9) for _ in range(100)]
    heavy = [LoadUnit(at=0.0, seconds=60.0, bytes=2 * 10**9) for _ in range(100)]
    site = Site(threads=4, price_there=1.2)
    outcome = simulate([*heavy, *light], site, RULES)
    assert outcome.units == 200
    assert 0 < (outcome.units_there or 0) <= 100
    assert outcome.decisions[0][1].figures["units_paying"] == 100
    assert not simulate(heavy, site, RULES).decisions
    there = [unit.model_copy(update={"there": True}) for unit in heavy]
    assert (simulate(there, site, RULES).units_there or 0) > 50


def test_other_lanes_wait_for_their_own_cluster() -> None:
    """Their work brings no burst, and does not go where another lane's has brought one."""
    live = [unit.model_copy(update={"lane": "realtime"}) for unit in RUSH]
    site = Site(threads=4, price_there=1.2, lanes=("realtime",))
    assert not simulate(RUSH, site, RULES).decisions
    both = simulate([*RUSH, *live], site, RULES)
    assert 100 < (both.units_there or 0) <= 200
    assert both.decisions[0][1].figures["units"] == 200


def test_threads_come_and_go_as_they_did() -> None:
    """What had begun goes on; times are those of any clock."""
    load = [LoadUnit(at=5000.0, seconds=100.0) for _ in range(6)]
    own = (Own(at=5000.0, threads=3), Own(at=5050.0, threads=1), Own(at=5250.0, threads=2))
    site = Site(threads=9, own=own, price_there=1.0, price_here=36.0, burst=False)
    outcome = simulate(load, site, RULES)
    # Three end after 100 s, and then one runs at a time, until there is room for another at 250 s.
    assert outcome.makespan == 350.0
    assert outcome.mean == pytest.approx((3 * 100 + 200 + 300 + 350) / 6)
    assert outcome.cost == pytest.approx(36.0 * (50 * 3 + 200 * 1 + 100 * 2) / 3600)


def test_a_load_is_written_and_read_again(tmp_path: Path) -> None:
    """What a ledger has seen on one machine is simulated on another."""
    path = tmp_path / "load.jsonl"
    path.write_text("\n".join(load_lines(reversed(RUSH))))
    assert read_load(path) == RUSH


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no work in"),
        ("{", "line 1 of .* is no unit of work"),
        ('{"at": 0, "seconds": 1}\n{"at": 0}', "line 2 of .*: seconds: Field required; a line is"),
        ('{"at": 0, "seconds": -1}', "seconds: Input should be greater than 0"),
    ],
)
def test_a_load_that_cannot_be_used_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """With the line and what it lacks."""
    path = tmp_path / "load.jsonl"
    path.write_text(text)
    with pytest.raises(ClusterError, match=why):
        read_load(path)
    with pytest.raises(ClusterError, match="cannot be read"):
        read_load(tmp_path / "none.jsonl")


def test_the_rule_is_asked_as_often_as_in_a_service() -> None:
    """At the pace of the cluster's own looks: the first one comes before the work."""
    site = Site(threads=4, price_there=1.2, look_seconds=40.0)
    assert simulate(RUSH, site, RULES).decisions[0][0] == 80.0


def test_a_unit_is_looked_at_as_it_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at every look again: a load of tens of thousands took minutes."""
    takes, asked = Site.takes, []

    def counted(site: Site, unit: LoadUnit, rules: BurstRules, now: float) -> bool:
        asked.append(unit)
        return takes(site, unit, rules, now)

    monkeypatch.setattr(Site, "takes", counted)
    outcome = simulate(RUSH, Site(threads=4, price_there=1.2), RULES)
    assert outcome.units == len(RUSH)
    assert len(asked) <= 2 * len(RUSH)
