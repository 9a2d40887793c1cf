"""Pods cost money while they run, and what a killed command has left is found by its labels."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.kubernetes.operator import put_kubectl
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.cluster import KubernetesClusterSpecification
from forebay.cluster.keeping.place import passing_place, standing_place
from forebay.cluster.keeping.pool import PoolError, PoolSilentError, Stage
from forebay.cluster.kubernetes.owner import Owner, owner_of
from forebay.cluster.kubernetes.pool import KubernetesPool
from forebay.cluster.kubernetes.resources import cluster, secret, worker_group
from forebay.cluster.spending import Spending

NOON = 1_800_000_000.0 - 1_800_000_000.0 % 86_400.0 + 43_200.0
GIVEN: dict[str, Any] = {
    "image": "registry.example.org/forebay:1",
    "memory": "1 GiB",
    "maximum_workers": 8,
    "cost_per_worker_hour": 2.0,
    "budget_per_day": 5.0,
}


class Paid:
    """A Kubernetes that runs nothing, and workers that are asked for there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, NOON
        self.resources = folder / "resources"
        self.specification = KubernetesClusterSpecification.model_validate(
            {**GIVEN, "folder": folder / "clusters"}
        )
        self.owner = Owner("pods", "here", "forebay-pods-0a1b2c")
        self.spending = Spending(folder / "spending.sqlite", now=lambda: self.now)
        self.pool = KubernetesPool(self.specification, self.owner, self.spending)

    def ask(self) -> str:
        """Ask for a worker."""
        return asyncio.run(self.pool.ask("pods.1", without=()))

    def look(self) -> dict[str, Stage]:
        """Look how far the workers are."""
        return {name: each.stage for name, each in asyncio.run(self.pool.look()).items()}

    def put(self, *made: dict[str, Any]) -> None:
        """Let resources be there."""
        for each in made:
            name = f"{each['kind']}_{each['metadata']['name']}"
            (self.resources / name).write_text(json.dumps(each))

    def run(self, group: str) -> None:
        """Let the pod of a worker run."""
        labels = self.owner.labels | {"dask.org/workergroup-name": group}
        self.put(
            {
                "kind": "Pod",
                "metadata": {"name": group, "labels": labels},
                "spec": {},
                "status": {"phase": "Running"},
            }
        )

    def cluster_of(self, owner: Owner) -> None:
        """Let there be all that a cluster with a worker has made."""
        self.put(
            secret(self.specification, owner, "CERTIFICATE", "KEY"),
            cluster(self.specification, owner),
            worker_group(self.specification, owner, f"{owner.start}-1", "pods.1"),
        )

    def there(self) -> set[str]:
        """Return the starts that have something on Kubernetes."""
        return {
            json.loads(each.read_text())["metadata"]["labels"]["forebay/start"]
            for each in self.resources.iterdir()
        }


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paid:
    monkeypatch.setenv("PATH", f"{put_kubectl(tmp_path)}:/usr/bin:/bin")
    return Paid(tmp_path)


def test_a_worker_costs_something_from_when_its_pod_runs(paid: Paid) -> None:
    """Until its group is gone, whoever has removed it; the budget holds for those that wait, too."""
    first, second = paid.ask(), paid.ask()
    with pytest.raises(PoolSilentError, match=r"4\.00 of today's budget of 5\.00"):
        paid.ask()
    paid.now += 3600.0
    assert set(paid.look().values()) == {Stage.WAITING}
    assert paid.spending.today() == 0.0
    paid.run(first)
    assert paid.look() == {first: Stage.RUNNING, second: Stage.WAITING}
    paid.now += 1800.0
    assert paid.spending.today() == pytest.approx(1.0 + 1.0)
    paid.look()
    assert paid.spending.today() == pytest.approx(1.0)
    (paid.resources / f"DaskWorkerGroup_{first}").unlink()
    asyncio.run(paid.pool.give_up([second]))
    assert paid.look() == {}
    assert paid.spending.running() == []
    paid.now += 3600.0
    assert paid.spending.today() == pytest.approx(1.0)


def test_the_larger_worker_is_seen_to_by_itself(paid: Paid) -> None:
    """Who keeps the others does not take it for one that was left, and it has a price of its own."""
    asked = KubernetesClusterSpecification.model_validate(
        {**paid.specification.model_dump(), "memory_ceiling": "2 GiB", "cost_of_larger_per_hour": 3}
    )
    larger = asked.larger()
    assert larger is not None
    pool = KubernetesPool(larger, paid.owner, paid.spending, larger=True)
    usual = paid.ask()
    large = asyncio.run(pool.ask("pods-larger.1", without=()))
    paid.run(usual)
    paid.run(large)
    assert paid.look() == {usual: Stage.RUNNING}
    assert {name: each.stage for name, each in asyncio.run(pool.look()).items()} == {
        large: Stage.RUNNING
    }
    assert paid.spending.promised() == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("said", "error", "charged"),
    [
        ("Error from server (Forbidden): it is forbidden", PoolError, 0),
        ("dial tcp 10.0.0.1:443: i/o timeout", PoolSilentError, 1),
    ],
    ids=["refused", "no answer"],
)
def test_a_worker_that_may_have_been_made_is_charged_for(
    paid: Paid, said: str, error: type[Exception], charged: int
) -> None:
    """As long as Kubernetes does not say that it is not there."""
    (refusal := paid.folder / "refusal").write_text(said)
    with pytest.raises(error):
        paid.ask()
    with pytest.raises(PoolSilentError):
        paid.look()
    assert len(paid.spending.running()) == charged
    refusal.unlink()
    paid.look()
    assert paid.spending.running() == []


@pytest.fixture
def told(paid: Paid, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what a command says about the cluster."""
    monkeypatch.chdir(paid.folder)
    lines = [f"{key} = {json.dumps(each)}" for key, each in GIVEN.items()]
    burst = "[clusters.pods.burst]\nthreads_here = 1\nstart_seconds = 60.0"
    text = "\n".join(["[clusters.pods]", "kind = 'kubernetes'", *lines, burst])
    (paid.folder / "forebay.toml").write_text(text)

    def say(command: str, *words: str) -> str:
        ended = CliRunner().invoke(app, ["cluster", command, "pods", *words])
        assert ended.exit_code == 0, ended.output
        return ended.output

    return say


def test_reap_removes_what_a_killed_command_has_left(paid: Paid, told: Callable[..., str]) -> None:
    """By the labels: not what a command uses that lives, nor what another site has made."""
    folder = paid.specification.folder
    living, killed = standing_place(folder, "pods"), passing_place(folder, "pods")
    other = Owner("pods", "elsewhere", "forebay-pods-ffffff")
    starts = [owner_of("pods", each).start for each in (living, killed)]
    with living.taken():
        for owner in (owner_of("pods", living), owner_of("pods", killed), other):
            paid.cluster_of(owner)
        spending = paid.specification.spending("pods")
        for start in starts:
            spending.began(spending.reserve(start, price=2.0, budget_per_day=None), f"{start}-1")
        shown = [json.loads(line) for line in told("reap", "--dry-run", "--json").splitlines()]
        assert [(each["machine"], each["kind"]) for each in shown] == [
            (starts[1], "DaskCluster"),
            (f"{starts[1]}-1", "DaskWorkerGroup"),
        ]
        assert paid.there() == {*starts, other.start}
        assert "2 orphans of pods ended" in told("reap")
        assert paid.there() == {starts[0], other.start}
        assert [each.start for each in spending.running()] == starts[:1]
        assert told("reap") == "0 orphans of pods ended\n"
        assert "forebay-pods-ffffff" in told("reap", "--any-site")
        assert paid.there() == {starts[0]}
    assert "2 orphans of pods ended" in told("reap")
    assert paid.there() == set()
    # Nobody has looked at a secret.
    calls = (paid.folder / "calls").read_text()
    assert not [line for line in calls.splitlines() if '"get"' in line and "secrets" in line]


def test_a_burst_to_kubernetes_is_simulated(paid: Paid, told: Callable[..., str]) -> None:
    """With the rule and the budget of the settings, as for any cluster that costs money."""
    load = "\n".join('{"at": 0, "seconds": 600}' for _ in range(24))
    (paid.folder / "load.jsonl").write_text(load)
    outcome = json.loads(told("simulate", "load.jsonl", "--json"))
    assert outcome["with"]["makespan"] < outcome["without"]["makespan"] == 24 * 600.0
    # Eight are allowed, and two are paid for.
    assert outcome["with"]["decisions"][0]["workers"] == 2
    assert "budget of a day" in CliRunner().invoke(app, ["cluster", "check", "pods"]).output
