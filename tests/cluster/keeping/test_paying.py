"""A cluster that costs money, while it is kept: what it learns, and what it may spend."""

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.keeping.batch import RUNNING, Batch, People
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.cluster.aws.account import of_a_pool
from forebay.cluster.aws.specification import Ec2ClusterSpecification
from forebay.cluster.burst.settings import BurstSettings
from forebay.cluster.decisions import read_decisions
from forebay.cluster.errors import ClusterError
from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.paying import PaidCluster
from forebay.cluster.keeping.service import KeptCluster
from forebay.cluster.sizing import Demand, Limits
from forebay.cluster.spending import Spending

HOUR = 3600.0
GIVEN: dict[str, Any] = {
    "region": "eu-central-1",
    "image": "forebay:1",
    "subnets": ["subnet-0"],
    "security_groups": ["sg-0"],
    "machine_image": "ami-0",
    "instance_profile": "forebay-worker",
    "instance_type": "c5.large",
    "maximum_workers": 8,
    "look_seconds": 0.01,
    "work_seconds": 60.0,
    "idle_seconds": 60.0,
    "cost_per_worker_hour": 1.0,
}


class Charged(Batch):
    """Machines that are charged for, as those of AWS are."""

    def __init__(self, spending: Spending, budget: float | None) -> None:
        super().__init__()
        self.spending = spending
        self.budget = budget

    async def ask(self, name: str, *, without: Collection[str]) -> str:
        try:
            token = self.spending.reserve("start", price=1.0, budget_per_day=self.budget)
        except ClusterError as error:
            raise of_a_pool(error) from error
        job = await super().ask(name, without=without)
        self.spending.began(token, job)
        return job

    async def give_up(self, jobs: Collection[str]) -> None:
        await super().give_up(jobs)
        self.spending.ended(jobs)


class Paid:
    """A cluster over such machines, by a clock that stands still."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self.now = 12 * HOUR
        specification = Ec2ClusterSpecification.model_validate(
            {**GIVEN, "folder": folder / "clusters", **given}
        )
        spending = Spending(folder / "spending.sqlite", now=lambda: self.now)
        self.pool = Charged(spending, specification.budget_per_day)
        self.crew = People()
        keeper = Keeper(self.pool, self.crew, "cloud", clock=lambda: self.now)
        self.cluster = PaidCluster(
            keeper,
            paying=specification,
            name="cloud",
            spending=spending,
            look_seconds=0.005,
            clock=lambda: self.now,
        )

    async def settle(self, turns: int = 4) -> None:
        """Let the cluster look some times."""
        for _ in range(turns):
            await asyncio.sleep(0.01)
        for job in self.pool.there():
            if self.pool.names[job] not in self.crew.members:
                self.pool.jobs[job] = RUNNING
                self.crew.come(self.pool.names[job])
        await asyncio.sleep(0.02)

    @property
    def decisions(self) -> list[tuple[str, int | None]]:
        path = self.cluster._written.path
        return [(each.event, each.workers) for each in read_decisions(path)]


def test_a_budget_holds_while_the_cluster_runs(tmp_path: Path) -> None:
    """Of eight workers that are wanted there are three; on the next day there may be more."""
    paid = Paid(tmp_path, budget_per_day=3.5)

    async def lived() -> None:
        async with paid.cluster.kept():
            for _ in range(3):
                paid.cluster.take_demand("engine", Demand(4800.0, 100))
                await paid.settle()
                assert len(paid.pool.there()) == 3
            assert paid.decisions == [("size", 8), ("budget", 3)]
            # What runs costs on; at midnight the budget is new, less what the three promise.
            paid.now += 13 * HOUR
            for _ in range(3):
                paid.cluster.take_demand("engine", Demand(4800.0, 100))
                await paid.settle()
            assert len(paid.pool.there()) == 3
        assert paid.pool.there() == []
        assert not paid.pool.spending.running()

    asyncio.run(lived())


def test_the_rule_learns_from_the_queue_and_from_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, where they lie, the deadline; threads that run, and when those come that wait."""
    burst = {
        "threads_here": 16,
        "most_wait_seconds": 600.0,
        "calm_wait_seconds": 60.0,
        "looks": 1,
        "start_seconds": 60.0,
        "slurm": "gpu",
        "data_there": ["s3://archive"],
        "lanes": ["realtime", "reprocess"],
    }
    paid = Paid(tmp_path, burst=burst)
    squeue = tmp_path / "squeue"
    squeue.write_text(
        "#!/bin/sh\n"
        'echo "$@" | grep -q -- --name=forebay-gpu || exit 1\n'
        "echo 'RUNNING|2|2026-11-21T11:00:00'\n"
        "echo 'PENDING|4|N/A'\n"
        'date -d "+300 seconds" "+PENDING|2|%Y-%m-%dT%H:%M:%S"\n'
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    data = {("/data/runs", "s3://archive/2026"): 900, ("/data/runs",): 100}
    paid.cluster.take_demand("engine", Demand(7200.0, 72, data, deadline_in=1500.0))
    asyncio.run(paid.cluster.learn())
    settings = BurstSettings.model_validate(burst)
    situation = paid.cluster.situation(settings)
    assert (situation.backlog_bytes, situation.bytes_there) == (1000, 900)
    assert situation.deadline_in == 1500.0
    assert (situation.threads_here, situation.threads_coming) == (2, 2)
    assert 290.0 < situation.wait_for_threads <= 300.0
    assert paid.cluster._jobs() > 0
    (event,) = read_decisions(paid.cluster._written.path)
    assert "the deadline in 1500 s would be missed" in event.reason
    assert event.figures["bytes_to_move"] == 100
    # What goes there is told to the service that hands it out.
    chosen = paid.cluster.standing()["choice"]
    assert chosen == {
        "lanes": ("realtime", "reprocess"),
        "bytes_per_second": 100 * 2**20,
        "threads_here": 2,
        "data_there": ("s3://archive",),
    }
    assert "choice" not in Paid(tmp_path / "other").cluster.standing()
    paid.cluster.take_demand("engine", Demand(7200.0, 72, data, paying=5))
    assert paid.cluster.situation(settings).units_paying == 5
    # Where Slurm does not answer, what the settings say counts.
    squeue.write_text("#!/bin/sh\nexit 1\n")
    asyncio.run(paid.cluster.learn())
    assert paid.cluster.situation(settings).threads_here == 16


def test_looks_in_a_row_are_not_at_the_same_time(tmp_path: Path) -> None:
    """However often it is told of work, and so looks at once: the rule is asked at its own pace."""
    burst = {"threads_here": 2, "most_wait_seconds": 600.0, "calm_wait_seconds": 60.0, "looks": 3}
    paid = Paid(tmp_path, burst=burst)
    wanted = []
    for units in range(72, 100):
        paid.cluster.take_demand("engine", Demand(100.0 * units, units))
        wanted.append(paid.cluster._jobs())
    assert set(wanted) == {0}
    for _ in range(2):
        paid.now += 1.0
        wanted.append(paid.cluster._jobs())
    assert wanted[-2:] == [0, 4]


def test_who_looks_seldom_believes_for_longer(tmp_path: Path) -> None:
    """What is said to a distant scheduler is fetched at a look, and is to last until the next one."""
    times = [0.0, 0.0, 120.0, 240.0, 600.0, 720.0, 840.0]
    seldom = KeptCluster(
        Keeper(Batch(), People(), "seldom"),
        Limits(0, 8, work_seconds=60.0, idle_seconds=1.0),
        look_seconds=120.0,
        clock=lambda: times.pop(0),
    )
    seldom.take_demand("engine", Demand(480.0, 100))
    assert [seldom._jobs() for _ in range(6)] == [8, 8, 8, 8, 0, 0]


def test_decisions_are_shown_with_what_the_rule_would_say_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a table for people, and with all figures for programs."""
    monkeypatch.chdir(tmp_path)
    burst = {
        "threads_here": 2,
        "most_wait_seconds": 600.0,
        "calm_wait_seconds": 60.0,
        "looks": 1,
        "start_seconds": 60.0,
    }
    paid = Paid(tmp_path, burst=burst)
    paid.cluster.take_demand("engine", Demand(7200.0, 72))
    paid.cluster._jobs()
    given = {**GIVEN, "folder": str(tmp_path / "clusters")}
    burst["price_ceiling"] = 0.5
    lines = [
        "[clusters.cloud]",
        'kind = "aws-ec2"',
        *(f"{key} = {json.dumps(each)}" for key, each in given.items()),
        "[clusters.cloud.burst]",
        *(f"{key} = {json.dumps(each)}" for key, each in burst.items()),
    ]
    (tmp_path / "forebay.toml").write_text("\n".join(lines))
    shown = CliRunner().invoke(app, ["cluster", "decisions", "cloud"])
    assert shown.exit_code == 0, shown.output
    (row,) = [line for line in shown.output.splitlines() if "burst" in line]
    assert "+4" in row
    assert "a wait of 3600 s" in row
    assert row.split()[-1] == "0"
    told = CliRunner().invoke(app, ["cluster", "decisions", "cloud", "--json"])
    event = json.loads(told.output)
    assert event["figures"]["backlog_seconds"] == 7200.0
    assert event["situation"]["units"] == 72
