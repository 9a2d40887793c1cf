"""How much work waits for a cluster, by what the queue knows."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engine.queue.desk import Clock, Desk, target

from forebay.cluster.sizing import Demand
from forebay.engine.errors import ClusterLostError
from forebay.engine.execution import demand as telling
from forebay.engine.execution.demand import DemandTeller
from forebay.engine.queue.backlog import Backlog, backlogs, usual_seconds
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.submission import Target


def counts(desk: Desk, **where: Any) -> list[tuple[int, int]]:
    return [(each.units, each.behind) for each in backlogs(desk.database, **where)]


def test_what_is_open_counts_until_it_is_done(desk: Desk, clock: Clock) -> None:
    """Whoever holds it; of the one that is computed for longest is told for how long."""
    desk.queue_up("run", 4)
    assert backlogs(desk.database) == [Backlog("blur", "1.0.0", 4, 0, 0.0)]
    assert usual_seconds(desk.database, "blur", "1.0.0") is None
    first, second = desk.take(2)
    clock.step(7)
    (backlog,) = backlogs(desk.database)
    assert (backlog.units, backlog.longest) == (4, 7.0)
    desk.publish([first])
    desk.kill([second])
    assert counts(desk) == [(2, 0)]
    assert usual_seconds(desk.database, "blur", "1.0.0") == 2.0


def test_blocks_in_a_chain_are_work_for_one_worker(desk: Desk) -> None:
    """Those behind the first add to the time, and not to the workers that help."""
    desk.queue_up("chain", 5)
    assert counts(desk) == [(1, 4)]


def test_only_jobs_that_this_cluster_serves_count(desk: Desk) -> None:
    desk.queue_up("any", 1)
    desk.queue_up("ours", 2, cluster="ours")
    desk.queue_up("theirs", 4, cluster="theirs")
    paused = desk.queue_up("paused", 8)
    desk.jobs.pause(paused)
    private = desk.queue_up("private", 16, private=desk.service.identity)
    assert counts(desk, cluster="ours") == [(3, 0)]
    assert counts(desk) == [(1, 0)]
    assert counts(desk, job=private) == [(16, 0)]


class Ears:
    """A cluster that listens to what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Demand]] = []
        self.answer: dict[str, Any] = {"stopped_because": "", "working": 0}

    def tell(self, client: Any, who: str, demand: Demand) -> dict[str, Any]:
        self.heard.append((who, demand))
        return self.answer


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    made = Ears()
    monkeypatch.setattr(telling, "tell_demand", made.tell)
    monkeypatch.setattr(telling, "is_kept", lambda client: client.kept)
    return made


def test_a_cluster_is_told_how_many_seconds_of_work_wait(
    desk: Desk, clock: Clock, ears: Ears
) -> None:
    """By how long units took, or take, or by a guess where none was ever computed."""
    now = 0.0
    client = SimpleNamespace(kept=True)
    teller = DemandTeller(desk.database, client, clock=lambda: now)
    desk.queue_up("run", 4)
    teller.look()
    assert ears.heard == [(desk.database.name, Demand(40.0, 4))]
    teller.look()
    assert len(ears.heard) == 1
    desk.publish(desk.take(1))
    now += 100
    teller.look()
    assert ears.heard[-1][1] == Demand(6.0, 3)
    desk.take(1)
    clock.step(20)
    now += 100
    teller.look()
    assert ears.heard[-1][1] == Demand(60.0, 3)


def test_a_cluster_that_is_not_kept_is_told_nothing(desk: Desk, ears: Ears) -> None:
    for client in (None, SimpleNamespace(kept=False)):
        DemandTeller(desk.database, client).look()
    assert ears.heard == []


def test_a_job_of_ones_own_ends_where_no_worker_starts(desk: Desk, ears: Ears) -> None:
    """A service waits, since somebody may mend it; so does a job whose other workers go on."""
    ears.answer = {"stopped_because": "3 jobs in a row brought no worker", "working": 1}
    client = SimpleNamespace(kept=True)
    job = desk.queue_up("run", 4)
    DemandTeller(desk.database, client, job=job).look()
    ears.answer["working"] = 0
    DemandTeller(desk.database, client).look()
    with pytest.raises(ClusterLostError, match="no workers: 3 jobs in a row"):
        DemandTeller(desk.database, client, job=job).look()


def choice(**changed: Any) -> dict[str, Any]:
    """Return what a costlier cluster takes, as it arrives over the network."""
    lanes = ["realtime", "validation", "reprocess"]
    fields = {"lanes": lanes, "bytes_per_second": 100.0, "threads_here": 2, "data_there": []}
    return {**fields, **changed}


def runs_of(claims: Sequence[Claim]) -> list[str]:
    """Return the runs of units that were claimed."""
    known = {target(each).job.identity: each for each in ("light", "heavy", "ours", "old", "live")}
    return [known[each.result] for each in claims]


@pytest.fixture
def chooser(desk: Desk, ears: Ears) -> Callable[..., set[str]]:
    """Give what tells a costlier cluster what there is; return whose units it is then given."""
    service = Service(desk.database, cluster="cloud")

    def taken(**changed: Any) -> set[str]:
        ears.answer["choice"] = choice(**changed)
        teller = DemandTeller(
            desk.database, SimpleNamespace(kept=True), cluster="cloud", service=service
        )
        teller.look()
        claims = service.claim(100)
        service.hand_back(claims)
        return set(runs_of(claims))

    return taken


def test_a_costlier_cluster_gets_only_what_pays(
    desk: Desk, ears: Ears, chooser: Callable[..., set[str]]
) -> None:
    """Ten seconds of work for two threads pay where 500 bytes are moved, at 100 bytes/s."""
    desk.queue_up("light", 3, size=400)
    desk.queue_up("heavy", 4, size=600)
    desk.queue_up("ours", 5, size=600, cluster="cloud")
    archived = Target(target("old").job, "s3://archive/2026/old", "/results/old")
    desk.submit(archived)
    desk.plan(archived, 6, size=600)
    assert chooser() == {"light", "ours"}
    assert ears.heard[-1][1].paying == 3 + 5
    assert ears.heard[-1][1].units == 18
    assert chooser(data_there=["s3://archive"]) == {"light", "ours", "old"}
    assert chooser(threads_here=1) == {"light", "heavy", "ours", "old"}


def test_a_costlier_cluster_gets_only_its_lanes(
    desk: Desk, ears: Ears, chooser: Callable[..., set[str]]
) -> None:
    """And hears of no more than that; a job for it alone is its own in any lane."""
    desk.queue_up("live", 3, lane=Lane.REALTIME)
    desk.queue_up("old", 4)
    desk.queue_up("ours", 5, cluster="cloud")
    assert chooser(lanes=["realtime"]) == {"live", "ours"}
    assert (ears.heard[-1][1].units, ears.heard[-1][1].paying) == (8, 8)
    assert chooser() == {"live", "old", "ours"}


def test_what_has_come_since_waits_for_the_next_look(desk: Desk, ears: Ears) -> None:
    """It might be what does not pay; where the cluster has no choice any more, all is taken."""
    now = 0.0
    service = Service(desk.database, cluster="cloud")
    client = SimpleNamespace(kept=True)
    teller = DemandTeller(
        desk.database, client, cluster="cloud", service=service, clock=lambda: now
    )
    ears.answer["choice"] = choice()
    teller.look()
    desk.queue_up("light", 3, size=400)
    desk.queue_up("heavy", 3, size=600)
    assert service.claim(100) == []
    now += 100
    teller.look()
    assert runs_of(service.claim(100)) == ["light"] * 3
    del ears.answer["choice"]
    now += 100
    teller.look()
    assert runs_of(service.claim(100)) == ["heavy"] * 3
