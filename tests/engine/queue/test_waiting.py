"""What the burst rule and its simulation learn from the queue."""

import json
from pathlib import Path

import pytest
from tests.engine.queue.desk import NOON, SECOND, Clock, Desk, Place, target
from tests.tiering.site import Site
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.cluster.burst.rule import BurstRules, Situation, Standing, decide
from forebay.cluster.decisions import DecisionLog, decisions_path
from forebay.cluster.spending import Spending
from forebay.engine.execution.demand import DemandTeller
from forebay.engine.queue.submission import Target
from forebay.engine.queue.waiting import waiting

CLOUD = """
[clusters.cloud]
kind = "aws-ec2"
region = "eu-central-1"
subnets = ["subnet-0a"]
security_groups = ["sg-0123"]
instance_profile = "forebay-worker"
machine_image = "ami-0123"
image = "forebay:1"
instance_type = "c7i.4xlarge"
maximum_workers = 8
cost_per_worker_hour = 1.0

[clusters.cloud.burst]
threads_here = 1
most_wait_seconds = 600.0
calm_wait_seconds = 60.0
start_seconds = 60.0
step = 8
"""


def told(*words: object, code: int = 0) -> str:
    """Return what a command says, which must end with a code."""
    ended = CliRunner().invoke(app, [str(word) for word in words])
    assert ended.exit_code == code, ended.output
    assert "Traceback" not in ended.output
    return ended.output


def test_data_and_deadlines_of_what_nobody_is_at_are_known(desk: Desk, clock: Clock) -> None:
    """By the folder or bucket of the run; what is being computed is read already."""
    assert waiting(desk.database).data == {}
    archived = Target(target("old").job, "s3://archive/2026/old", "/results/old")
    desk.submit(archived, deadline=NOON + 900 * SECOND)
    desk.plan(archived, 3, size=1000)
    desk.queue_up("run", 4, size=10)
    desk.queue_up("elsewhere", 5, cluster="theirs", deadline=NOON + SECOND)
    clock.step(100)
    assert waiting(desk.database).data == {("s3://archive/2026",): 3000, ("/runs",): 40}
    assert waiting(desk.database).deadline_in == 800.0
    demand = DemandTeller(desk.database, None).demand()
    assert demand.bytes_at(["s3://archive"]) == 3000
    assert demand.deadline_in == 800.0
    # The one with a deadline goes first, and then it does not wait any more.
    desk.take(3)
    assert waiting(desk.database).data == {("/runs",): 40}
    assert waiting(desk.database).deadline_in is None


def test_data_that_were_moved_count_where_they_lie_now(desk: Desk, tmp_path: Path) -> None:
    """In both places while there are two copies, then in the new one alone."""
    with Site(tmp_path) as site:
        run = Target(target("moved").job, str(site.record("water")), "/results/moved")
        desk.submit(run)
        desk.plan(run, 3, size=1000)

        def there() -> list[int]:
            demand = DemandTeller(desk.database, None).demand()
            return [demand.bytes_at([str(tmp_path / each)]) for each in ("runs", "cold", "warm")]

        assert there() == [3000, 0, 0]
        site.move("cold", keep=True)
        assert there() == [3000, 3000, 0]
        site.move("warm")
        assert there() == [0, 3000, 3000]


def test_what_a_ledger_has_seen_is_simulated(
    desk: Desk, clock: Clock, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without burst; a unit takes as long as it took, and comes when it came."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forebay.toml").write_text(CLOUD)
    desk.queue_up("run", 3, size=50)
    clock.step(2)
    desk.publish(desk.take())
    lines, noon = told("cluster", "load", "--ledger", place).splitlines(), NOON / SECOND
    assert told("cluster", "load", "--ledger", place, "--json").splitlines() == lines
    assert [json.loads(line) for line in lines] == [
        {"at": noon + number, "seconds": 2.0, "bytes": 50, "done": noon + 2, "places": ["/runs"]}
        for number in range(3)
    ]
    path = tmp_path / "load.jsonl"
    heavy = [json.loads(line) | {"seconds": 600.0} for line in lines for _ in range(8)]
    path.write_text("\n".join(map(json.dumps, heavy)))
    outcome = json.loads(told("cluster", "simulate", "cloud", path, "--json"))
    assert outcome["without"]["makespan"] == 24 * 600.0
    assert outcome["without"]["cost"] == 0.0
    assert outcome["with"]["makespan"] < outcome["without"]["makespan"] / 4
    assert outcome["with"]["cost"] > 1.0
    assert "it pays to use 8 more" in outcome["with"]["decisions"][0]["reason"]
    assert "8 workers, a wait of" in told("cluster", "simulate", "cloud", path)
    # What reads too much for its time goes only where its data lie there.
    large = [each | {"bytes": 10**12} for each in heavy]
    path.write_text("\n".join(map(json.dumps, large)))
    assert json.loads(told("cluster", "simulate", "cloud", path, "--json"))["with"]["cost"] == 0.0
    (tmp_path / "forebay.toml").write_text(CLOUD + 'data_there = ["/runs"]\n')
    assert json.loads(told("cluster", "simulate", "cloud", path, "--json"))["with"]["cost"] > 1.0
    (tmp_path / "forebay.toml").write_text(CLOUD)
    straight = told("cluster", "simulate", "cloud", "--ledger", place, "--json")
    assert json.loads(straight)["without"]["makespan"] == 6.0
    path.write_text('{"at": -1, "seconds": 1}')
    assert "line 1 of" in told("cluster", "simulate", "cloud", path, code=3)


def test_a_load_is_simulated_with_what_was_written_down_then(
    desk: Desk, clock: Clock, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threads that the own cluster had at the time, what was paid, and how long it took."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forebay.toml").write_text(CLOUD)
    desk.queue_up("run", 8, size=50)
    began = NOON / SECOND
    words = ("cluster", "simulate", "cloud", "--ledger", place, "--recorded")
    clock.step(10)
    desk.publish(desk.take(8))
    assert "tells of no decision of the burst rule while that load was there" in told(
        *words, code=2
    )
    rules = BurstRules(most_wait_seconds=600.0, calm_wait_seconds=60.0)
    log = DecisionLog(decisions_path(None, "cloud"), now=lambda: began + 1.0)
    seen = Situation(now=1.0, backlog_seconds=10.0, backlog_bytes=0, units=1, threads_here=4)
    log.take_burst("cloud", decide(seen, rules, Standing()), seen, Standing())
    paid = Spending(Path("clusters/cloud/spending.sqlite"), now=lambda: began)
    paid.began(paid.reserve("start", price=360.0, budget_per_day=None), "i-1")
    outcome = json.loads(told(*words, "--json"))
    assert outcome["was"]["makespan"] == 10.0
    assert outcome["was"]["units_there"] is None
    assert outcome["was"]["cost"] == pytest.approx(1.0)
    # A unit of two seconds came each second: four threads keep up, the one of the settings does not.
    assert outcome["without"]["makespan"] == 9.0
    as_set = json.loads(told(*words[:-1], "--json"))
    assert as_set["without"]["makespan"] == 16.0
    assert "as it was" in told(*words)
