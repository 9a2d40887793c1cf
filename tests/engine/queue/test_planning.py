"""Planning: the units of a result come into the queue once, and the job ends with the last."""

import pytest
from tests.engine.queue.desk import BYTES, FRAMES, Desk, OpenDatabase, target, unit, units

from forebay.engine.errors import LeaseLostError
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning


def test_a_result_is_planned_by_one_service(desk: Desk) -> None:
    """Who takes it is told what is wanted and how far it is planned; others are given nothing."""
    job = desk.submit("a", live=True)
    other = Planning(desk.database, Service(desk.database).identity)
    (wanted,) = desk.planning.take(10)
    assert (wanted.result, wanted.target) == (target("a").job.identity, target("a"))
    assert (wanted.job, wanted.live, wanted.planned_blocks) == (job, True, 0)
    assert other.take(10) == []
    desk.plan("a", 2, complete=False)
    desk.planning.release(wanted.result)
    (again,) = other.take(10)
    assert (again.result, again.planned_blocks) == (wanted.result, 2)


def test_only_who_plans_a_result_can_release_it(desk: Desk) -> None:
    """A late word from another service changes nothing."""
    desk.submit("a")
    other = Planning(desk.database, Service(desk.database).identity)
    (wanted,) = desk.planning.take(10)
    other.release(wanted.result)
    assert other.take(10) == []


def test_the_most_urgent_is_planned_first(desk: Desk) -> None:
    """By lane, then priority, then age; and no more than asked for."""
    desk.submit("d", priority=1)
    desk.submit("c", priority=2)
    desk.submit("b", lane=Lane.VALIDATION)
    desk.submit("a", lane=Lane.REALTIME)
    taken = [each.target.job.run_name for each in desk.planning.take(3)]
    assert taken == ["a", "b", "c"]
    assert [each.target.job.run_name for each in desk.planning.take(3)] == ["d"]


def test_one_job_can_be_planned_alone(desk: Desk) -> None:
    """Also while another service plans the same: planning twice does no harm."""
    desk.submit("b")
    job = desk.submit("a", "b")
    desk.planning.take(10)
    own = Planning(desk.database, Service(desk.database).identity)
    assert [each.target.job.run_name for each in own.take(10, job=job)] == ["a", "b"]
    assert [each.target.job.run_name for each in own.take(10, job=job)] == ["a", "b"]


@pytest.mark.parametrize("state", ["waiting", "paused", "cancelled", "done"])
def test_what_is_not_to_be_worked_on_is_not_planned(desk: Desk, state: str) -> None:
    """A run is opened only when its units can be computed."""
    first = desk.submit("a")
    job = desk.submit("b", after=[first] if state == "waiting" else [])
    desk.plan("a", 1)
    if state == "paused":
        desk.jobs.pause(job)
    elif state == "cancelled":
        desk.jobs.cancel(job)
    elif state == "done":
        desk.plan("b", 0)
    assert desk.state(job) == state
    assert desk.planning.take(10) == []
    assert desk.planning.take(10, job=job) == []


def test_a_private_job_is_planned_by_its_own_service_alone(desk: Desk) -> None:
    """It asks for its job by number."""
    job = desk.submit("a", private=desk.service.identity)
    assert desk.planning.take(10) == []
    assert len(desk.planning.take(10, job=job)) == 1


def test_units_come_in_as_they_are(desk: Desk) -> None:
    """Their frames, pixels and times stand in the ledger, in the order of frames and tiles."""
    desk.submit("a")
    wanted = target("a")
    tiles = [unit(wanted, number, column=column) for number in (1, 0) for column in (8, 0)]
    desk.planning.add(
        wanted.job.identity, [(each, BYTES) for each in tiles], blocks=2, frames=8, complete=True
    )
    found = desk.units("a")
    assert [(each.start, each.stop, each.y, each.x) for each in found] == [
        (0, 4, 0, 0),
        (0, 4, 0, 8),
        (4, 8, 0, 0),
        (4, 8, 0, 8),
    ]
    assert [each.unit for each in found] == [tiles[place].identity for place in (3, 2, 1, 0)]
    assert {(each.state, each.attempt, each.part) for each in found} == {("ready", 0, None)}
    assert found[0].taken_at == tiles[3].taken_at
    assert found[0].label == tiles[3].label


def test_units_are_added_once_however_often(desk: Desk) -> None:
    """Those that are there stay as they stand, whoever plans them again."""
    job = desk.submit("run")
    assert desk.plan("run", 2, complete=False) == set()
    one, two = desk.take()
    desk.publish([one])
    before = desk.units()
    assert desk.plan("run", 2, complete=False) == {one.unit}
    assert desk.units() == before
    assert desk.plan("run", 3) == {one.unit}
    assert [each.state for each in desk.units()] == ["done", "running", "ready"]
    desk.publish([two, *desk.take()])
    assert desk.state(job) == "done"


def test_units_that_wait_or_are_worked_on_are_counted(desk: Desk) -> None:
    """By that it is known whether a live job is late."""
    desk.submit("run", live=True)
    result = target().job.identity
    assert desk.planning.waiting(result) == 0
    desk.plan("run", 6, complete=False, deferred=[5])
    desk.service.claim(1)
    desk.take(1)
    (done,) = desk.take(1)
    desk.publish([done])
    desk.kill(desk.take(1))
    assert desk.planning.waiting(result) == 3


def test_many_units_are_added_at_once(desk: Desk) -> None:
    """More than one statement may name."""
    desk.submit("run")
    desk.plan("run", 2500)
    desk.plan("run", 2500)
    assert desk.states() == {"ready": 2500}
    claims = desk.take(1200, most_bytes=None)
    desk.publish(claims)
    assert len(claims) >= 500
    assert desk.states() == {"done": len(claims), "ready": 2500 - len(claims)}
    assert len(desk.plan("run", 2500)) == len(claims)


def test_a_job_ends_when_its_last_run_is_planned_and_done(desk: Desk) -> None:
    """Not before all is planned, and not before all is done."""
    job = desk.submit("a", "b")
    desk.plan("a", 1)
    desk.publish(desk.take())
    desk.plan("b", 1, complete=False)
    desk.publish(desk.take())
    assert desk.state(job) == "ready"
    desk.plan("b", 2)
    assert desk.state(job) == "ready"
    desk.publish(desk.take())
    assert desk.state(job) == "done"


def test_a_job_without_frames_ends(desk: Desk) -> None:
    """There is nothing to do, and it is done."""
    job = desk.submit("a", "b")
    desk.plan("a", 0)
    assert desk.state(job) == "ready"
    desk.plan("b", 0)
    assert desk.state(job) == "done"
    assert desk.planning.take(10) == []


def test_what_cannot_be_planned_fails_with_its_reason(desk: Desk) -> None:
    """The other runs are computed, and then the job has failed."""
    job = desk.submit("a", "b")
    desk.planning.take(10)
    desk.planning.fail(target("a").job.identity, "RunNotFoundError: there is no run at /runs/a")
    desk.plan("b", 1)
    assert desk.state(job) == "ready"
    assert desk.jobs.progress(job).errors == ("RunNotFoundError: there is no run at /runs/a",)
    desk.publish(desk.take())
    assert desk.state(job) == "failed"
    assert desk.states("b") == {"done": 1}
    assert desk.planning.take(10) == []


def test_a_job_of_one_run_that_cannot_be_planned_fails_at_once(desk: Desk) -> None:
    """And so is cancelled what waits for it."""
    job = desk.submit("a")
    later = desk.submit("b", after=[job])
    desk.planning.fail(target("a").job.identity, "no run")
    assert (desk.state(job), desk.state(later)) == ("failed", "cancelled")


def test_a_reason_may_hold_any_text(desk: Desk) -> None:
    """What is no character is shown by its number."""
    job = desk.submit("a")
    desk.planning.fail(target("a").job.identity, "no run at /runs/\udcff\0")
    assert desk.jobs.progress(job).errors == ("no run at /runs/\\udcff\\x00",)


def test_asked_for_again_what_could_not_be_planned_is_planned_again(desk: Desk) -> None:
    """The run may be there by now."""
    desk.submit("a")
    desk.planning.fail(target("a").job.identity, "no run")
    job = desk.submit("a")
    (wanted,) = desk.planning.take(10)
    assert wanted.job == job
    desk.plan("a", 1)
    desk.publish(desk.take())
    assert (desk.state(job), desk.jobs.progress(job).errors) == ("done", ())


@pytest.mark.parametrize("own", [False, True], ids=["shared", "private"])
def test_a_live_job_goes_on_though_another_has_planned_its_run(desk: Desk, own: bool) -> None:
    """The other one ends with what was there; the live one with the end of its run."""
    other = Service(desk.database)
    planning = Planning(desk.database, other.identity)
    live = desk.submit("run", live=True, private=desk.service.identity if own else None)
    mine = live if own else None
    (following,) = desk.planning.take(9, job=mine)
    assert following.live
    desk.plan("run", 2, complete=False)

    batch = desk.submit("run", key="batch", private=other.identity)
    (wanted,) = planning.take(9, job=batch)
    assert not wanted.live
    planning.add(wanted.result, units(target(), 2), blocks=2, frames=8, complete=True)
    desk.publish(desk.take(9, by=other, job=batch), by=other)
    assert (desk.state(batch), desk.state(live)) == ("done", "ready")
    if not own:
        assert planning.take(9) == []

    desk.plan("run", 3, complete=False)
    desk.publish(desk.take(9, job=mine))
    assert desk.state(live) == "ready"
    desk.plan("run", 4)
    desk.publish(desk.take(9, job=mine))
    assert (desk.state(live), desk.states()) == ("done", {"done": 4})


def test_what_a_live_job_asks_for_is_followed_for_all(desk: Desk) -> None:
    """Also where a job that is not live is the more urgent one; both end with the run."""
    batch = desk.submit("run", priority=5)
    live = desk.submit("run", live=True, keep_up=3)
    (wanted,) = desk.planning.take(9)
    assert (wanted.job, wanted.live, wanted.keep_up) == (batch, True, 3)
    desk.plan("run", 2, complete=False)
    desk.publish(desk.take())
    assert (desk.state(batch), desk.state(live)) == ("ready", "ready")
    desk.plan("run", 2)
    assert (desk.state(batch), desk.state(live)) == ("done", "done")


def test_a_run_is_followed_for_a_live_job_that_came_later(desk: Desk) -> None:
    """Though it was planned for another one as it was when that was submitted."""
    batch = desk.submit("run")
    desk.planning.take(9)
    live = desk.submit("run", live=True)
    desk.plan("run", 2)
    desk.publish(desk.take())
    assert (desk.state(batch), desk.state(live)) == ("done", "ready")
    (wanted,) = desk.planning.take(9)
    assert (wanted.job, wanted.live) == (live, True)
    desk.plan("run", 2)
    assert desk.state(live) == "done"
    assert desk.planning.take(9) == []


def test_units_of_a_job_that_was_cancelled_meanwhile_are_not_computed(desk: Desk) -> None:
    """Who was planning it adds them, and they are as cancelled as the others."""
    job = desk.queue_up("run", 2)
    desk.jobs.cancel(job)
    desk.plan("run", 3, complete=False)
    assert desk.states() == {"cancelled": 3}


def test_planning_goes_on_after_a_service_has_died(desk: Desk, open_database: OpenDatabase) -> None:
    """What it had taken to plan is taken by another, from where it was."""
    dead = Service(desk.database, lease_seconds=0.0)
    desk.submit("a")
    (wanted,) = Planning(desk.database, dead.identity).take(10)
    Planning(desk.database, dead.identity).add(
        wanted.result, units(target("a"), 2), blocks=2, frames=2 * FRAMES, complete=False
    )
    assert desk.planning.take(10) == []
    with open_database().write() as connection:
        from forebay.engine.queue.schema import SERVICES

        gone = SERVICES.update().where(SERVICES.c.service == dead.identity)
        connection.execute(gone.values(alive_until=0))
    assert desk.service.bury_the_dead() == [dead.identity]
    (again,) = desk.planning.take(10)
    assert (again.result, again.planned_blocks) == (wanted.result, 2)


def test_planning_goes_on_after_a_service_has_ended(desk: Desk) -> None:
    """It gives back what it had taken to plan: nobody is left who could bury it."""
    other = Service(desk.database)
    desk.submit("a")
    (wanted,) = Planning(desk.database, other.identity).take(10)
    assert desk.planning.take(10) == []
    other.end()
    assert [each.result for each in desk.planning.take(10)] == [wanted.result]


def test_a_service_that_was_buried_plans_nothing(desk: Desk) -> None:
    """What it took would never be released."""
    dead = Service(desk.database)
    dead.end()
    desk.submit("a")
    with pytest.raises(LeaseLostError, match="others have taken over what it worked on"):
        Planning(desk.database, dead.identity).take(10)
    assert len(desk.planning.take(10)) == 1
