"""Units that follow on each other: in order, and none waits for what will not come."""

import pytest
from tests.engine.queue.desk import RAISED, Clock, Desk, by_run, target, unit

from forebay.engine.errors import JobError
from forebay.engine.queue.dead import DeadLetters
from forebay.engine.queue.explain import explain
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.retry import Failure, FailureClass

CHAIN = "chain"


def states(desk: Desk) -> list[str]:
    """Return how the units of the chain stand, one after the other."""
    return [str(each.state) for each in desk.units(CHAIN)]


def dead_at(desk: Desk, place: int) -> int:
    """Queue up four units, publish those before a place, and give up the one there."""
    job = desk.queue_up(CHAIN, 4)
    for _ in range(place):
        desk.publish(desk.take())
    desk.kill(desk.take())
    return job


def test_only_the_first_one_is_ready(desk: Desk) -> None:
    desk.queue_up(CHAIN, 4)
    assert states(desk) == ["ready", "waiting", "waiting", "waiting"]
    (claim,) = desk.take()
    assert (claim.start, claim.before) == (0, None)


def test_each_is_ready_when_the_one_before_is_published(desk: Desk) -> None:
    job = desk.queue_up(CHAIN, 3)
    order = []
    for _ in range(3):
        (claim,) = desk.take()
        order.append((claim.start, claim.before))
        desk.publish([claim])
    identities = [each.unit for each in desk.units(CHAIN)]
    assert order == [(0, None), (4, identities[0]), (8, identities[1])]
    assert desk.state(job) == "done"


def test_what_is_planned_later_goes_on_with_what_is_published(desk: Desk) -> None:
    """As it is with a run that grows."""
    desk.submit(CHAIN, live=True, lane=Lane.REALTIME)
    desk.plan(CHAIN, 1, complete=False)
    desk.publish(desk.take())
    desk.plan(CHAIN, 3, complete=False)
    assert states(desk) == ["done", "ready", "waiting"]


def test_one_that_is_tried_again_keeps_the_others_waiting(desk: Desk) -> None:
    desk.queue_up(CHAIN, 3)
    desk.fail(desk.take(), RAISED)
    assert states(desk) == ["ready", "waiting", "waiting"]


def test_what_stands_behind_a_dead_letter_is_given_up(desk: Desk) -> None:
    """So the job ends; what came before stays published."""
    job = dead_at(desk, 1)
    assert states(desk) == ["done", "dead", "cancelled", "cancelled"]
    assert desk.state(job) == "failed"
    assert desk.units(CHAIN)[3].error == (
        "it goes on with the state of frame 4, which could not be computed"
    )


def test_what_is_planned_behind_a_dead_letter_is_given_up_too(desk: Desk) -> None:
    desk.submit(CHAIN, live=True)
    desk.plan(CHAIN, 2, complete=False)
    desk.kill(desk.take())
    desk.plan(CHAIN, 4, complete=False)
    assert states(desk) == ["dead", "cancelled", "cancelled", "cancelled"]


def test_a_dead_letter_that_is_replayed_takes_the_others_with_it(desk: Desk) -> None:
    job = dead_at(desk, 1)
    assert DeadLetters(desk.database).replay([desk.units(CHAIN)[1].unit]) == 1
    assert states(desk) == ["done", "ready", "waiting", "waiting"]
    for _ in range(3):
        desk.publish(desk.take())
    assert desk.state(job) == "done"


def test_a_job_that_is_retried_goes_on_where_it_stopped(desk: Desk) -> None:
    job = dead_at(desk, 2)
    assert desk.jobs.retry(job) == 1
    assert states(desk) == ["done", "done", "ready", "waiting"]


def test_behind_one_that_is_discarded_nothing_comes(desk: Desk) -> None:
    dead_at(desk, 1)
    DeadLetters(desk.database).discard([desk.units(CHAIN)[1].unit])
    assert states(desk) == ["done", "cancelled", "cancelled", "cancelled"]
    desk.submit(CHAIN, key="again")
    desk.plan(CHAIN, 4)
    assert states(desk) == ["done", "ready", "waiting", "waiting"]


def test_what_is_discarded_stays_so_when_the_job_is_retried(desk: Desk) -> None:
    """Nor does what stands behind it wait for it."""
    job = dead_at(desk, 1)
    DeadLetters(desk.database).discard([desk.units(CHAIN)[1].unit])
    desk.jobs.retry(job)
    assert states(desk) == ["done", "cancelled", "cancelled", "cancelled"]


def test_computed_anew_it_begins_with_the_first(desk: Desk) -> None:
    """Whoever is at a later one has a state that is not to be used any more."""
    desk.queue_up(CHAIN, 3)
    desk.publish(desk.take())
    old = desk.take()
    desk.submit(CHAIN, force=True, key="anew")
    assert states(desk) == ["ready", "waiting", "waiting"]
    assert desk.publish(old) == []
    desk.publish(desk.take())
    assert states(desk) == ["done", "ready", "waiting"]


def test_what_was_published_behind_one_that_dies_anew_stays_so(desk: Desk) -> None:
    """It was computed from what was right then, and nothing takes its place."""
    desk.queue_up(CHAIN, 3)
    for _ in range(3):
        desk.publish(desk.take())
    desk.submit(CHAIN, force=True, key="anew")
    desk.kill(desk.take())
    assert states(desk) == ["dead", "done", "done"]


def test_a_cancelled_job_leaves_nothing_waiting(desk: Desk) -> None:
    job = desk.queue_up(CHAIN, 3)
    desk.jobs.cancel(job)
    assert states(desk) == ["cancelled"] * 3
    desk.submit(CHAIN, key="again")
    assert states(desk) == ["ready", "waiting", "waiting"]


def test_the_identity_is_that_of_all_that_came_before(desk: Desk) -> None:
    """Another first block makes other units of all that follow."""
    here = [unit(target(CHAIN), place).identity for place in range(3)]
    there = [unit(target(CHAIN), place, inputs="other").identity for place in range(3)]
    assert not set(here) & set(there)
    assert unit(target(CHAIN), 2).before == here[1]


def test_why_it_waits_is_explained(desk: Desk) -> None:
    job = desk.queue_up(CHAIN, 3)
    assert "2 units wait for the block before them, with whose state they go on" in (
        explain(desk.database, job).reasons
    )


def test_blocks_are_not_put_off(desk: Desk) -> None:
    with pytest.raises(JobError, match="cannot leave blocks for later"):
        desk.submit(CHAIN, live=True, keep_up=2)


# Results whose storage is out of order, and jobs for one cluster.


def test_of_a_result_that_is_held_back_nothing_is_taken(desk: Desk, clock: Clock) -> None:
    """Others are; after the time it is taken again, by whomever."""
    job = desk.queue_up("a", 2)
    desk.queue_up("b", 1)
    desk.service.hold_back(target("a").job.identity, 30.0, because="/results is full")
    assert [each.result for each in desk.take()] == [target("b").job.identity]
    (reason,) = [each for each in explain(desk.database, job).reasons if "again" in each]
    assert reason == "it waits for what it needs, and is tried again in 30 s (/results is full)"
    clock.step(31)
    assert len(desk.take()) == 2


def test_a_job_for_one_cluster_is_computed_there(desk: Desk) -> None:
    job = desk.queue_up("a", 2, cluster="gpus")
    desk.queue_up("b", 1)
    assert [each.result for each in desk.take()] == [target("b").job.identity]
    assert explain(desk.database, job).reasons[0] == (
        "no service computes on the cluster 'gpus', for which it is ('forebay serve --cluster "
        "gpus' starts one)"
    )
    elsewhere = Service(desk.database, cluster="gpus")
    assert len(elsewhere.claim(10)) == 2
    elsewhere.end()


def test_what_a_cluster_without_service_shares_with_others_is_computed_by_them(desk: Desk) -> None:
    """A more urgent job keeps it only where somebody computes for its cluster."""
    urgent = desk.submit("shared", "own", cluster="gpus", priority=5)
    anywhere = desk.submit("shared")
    for run in ("shared", "own"):
        desk.plan(run, 2)
    (first,) = desk.take(1)
    assert (first.job, by_run([first], desk)) == (anywhere, ["shared"])

    gpus = Service(desk.database, cluster="gpus")
    assert desk.take(9) == []
    (second,) = [each for each in desk.take(9, by=gpus) if each.result == first.result]
    assert second.job == urgent
    gpus.end()
    (again,) = desk.take(9)
    assert (again.unit, again.job) == (second.unit, anywhere)
    desk.publish([first, again])
    assert (desk.state(anywhere), desk.state(urgent)) == ("done", "ready")


def test_when_the_last_service_of_a_cluster_dies_others_compute_what_they_may(
    desk: Desk, clock: Clock
) -> None:
    """As soon as it is taken for dead."""
    urgent = desk.submit("shared", cluster="gpus", priority=5)
    anywhere = desk.submit("shared")
    desk.plan("shared", 1)
    gpus = Service(desk.database, cluster="gpus")
    (held,) = desk.take(by=gpus)
    assert held.job == urgent
    assert desk.take() == []
    clock.step(31)
    assert desk.service.bury_the_dead() == [gpus.identity]
    (taken,) = desk.take()
    assert (taken.unit, taken.job) == (held.unit, anywhere)


def test_a_job_of_chosen_units_ends_with_them(desk: Desk) -> None:
    """Though nobody plans the rest, and another job plans it later."""
    chosen = target("a")
    job = desk.submit(chosen, units={chosen.job.identity: [(unit(chosen, 1), 100)]})
    assert desk.planning.take(10) == []
    desk.publish(desk.take())
    assert desk.state(job) == "done"
    again = desk.submit(chosen, units={chosen.job.identity: [(unit(chosen, 1), 100)]})
    assert desk.state(again) == "done", "there was nothing left to do"
    whole = desk.submit(chosen, key="all of it")
    assert [each.job for each in desk.planning.take(10)] == [whole]
    desk.plan(chosen, 3)
    assert desk.states("a") == {"done": 1, "ready": 2}


def test_what_failed_on_a_worker_is_to_be_computed_by_another(desk: Desk, clock: Clock) -> None:
    """Where a rule says so; a failure of its own may be tried anywhere."""
    desk.queue_up("a", 1)
    stale = Failure(FailureClass.INPUT_OUTPUT, "OSError: stale", worker="tcp://one")
    desk.fail(desk.take(), stale)
    clock.step(60)
    desk.service.outcomes.promote()
    (claim,) = desk.take()
    assert claim.avoid == "tcp://one"
    desk.fail([claim], RAISED)
    (claim,) = desk.take()
    assert claim.avoid is None
