"""How much work waits for a cluster, by what the queue knows."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.engine.queue.desk import Clock, Desk

from forebay.cluster.sizing import Demand
from forebay.engine.errors import ClusterLostError
from forebay.engine.execution import demand as telling
from forebay.engine.execution.demand import DemandTeller
from forebay.engine.queue.backlog import Backlog, backlogs, usual_seconds


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
        self.answer = {"stopped_because": "", "working": 0}

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
