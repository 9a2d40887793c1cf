"""Steering: jobs are cancelled, paused, resumed, put elsewhere and tried again, in every state."""

import inspect
import sys

import pytest
from tests.engine.queue.desk import NOON, Clock, Desk, by_run, target

from forebay.engine.errors import JobError
from forebay.engine.queue.dead import DeadLetters
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.states import JobState

STATES = ["waiting", "ready", "paused", "done", "failed", "cancelled"]


def bring(desk: Desk, state: str, run: str = "run") -> int:
    """Bring a job of two units into a state; return its number."""
    first = desk.submit("first") if state == "waiting" else None
    job = desk.queue_up(run, 2, after=[] if first is None else [first], priority=-1)
    if state == "paused":
        desk.jobs.pause(job)
    elif state == "cancelled":
        desk.jobs.cancel(job)
    elif state == "done":
        desk.publish(desk.take())
    elif state == "failed":
        one, two = desk.take()
        desk.publish([one])
        desk.kill([two])
    assert desk.state(job) == state
    return job


@pytest.mark.parametrize("state", ["waiting", "ready", "paused"])
def test_an_open_job_is_cancelled(desk: Desk, clock: Clock, state: str) -> None:
    """With the reason that was given, and its units with it."""
    job = bring(desk, state)
    clock.step(3)
    desk.jobs.cancel(job, reason="ada changed her mind")
    found = desk.job(job)
    assert (found.state, found.ended, found.error) == ("cancelled", True, "ada changed her mind")
    assert found.ended_at == clock.time
    assert desk.states() == {"cancelled": 2}
    assert desk.service.claim(9) == []


@pytest.mark.parametrize(
    ("verb", "states"),
    [
        ("cancelled", ["done", "failed", "cancelled"]),
        ("paused", ["paused", "done", "failed", "cancelled"]),
    ],
)
def test_what_is_over_cannot_be_steered(desk: Desk, verb: str, states: list[str]) -> None:
    """The message says how it stands, and nothing changes."""
    change = {"cancelled": desk.jobs.cancel, "paused": desk.jobs.pause}[verb]
    for state in states:
        job = bring(desk, state, run=state)
        before = desk.everything()
        with pytest.raises(
            JobError, match=f"job {job} cannot be {verb}: it {JobState(state).told}"
        ):
            change(job)
        assert desk.everything() == before
        if state == "paused":
            desk.jobs.cancel(job)


@pytest.mark.parametrize("state", ["waiting", "ready", "done", "failed", "cancelled"])
def test_only_what_is_paused_can_be_resumed(desk: Desk, state: str) -> None:
    """The message says how it stands instead."""
    job = bring(desk, state)
    with pytest.raises(JobError, match=f"job {job} {JobState(state).told}: only one"):
        desk.jobs.resume(job)


def test_what_others_want_survives_a_cancel(desk: Desk) -> None:
    """Also what is being computed; what nobody else wants is fenced off."""
    first = desk.submit("a", "b")
    second = desk.submit("b", "c")
    for run in "abc":
        desk.plan(run, 2)
    claims = desk.take(3)
    assert by_run(claims, desk) == ["a", "a", "b"]
    desk.jobs.cancel(first)
    assert desk.states("a") == {"cancelled": 2}
    assert desk.states("b") == {"running": 1, "ready": 1}
    assert by_run([claims[2]], desk) == ["b"]
    assert len(desk.publish(claims)) == 1
    claims = desk.take()
    assert {each.job for each in claims} == {second}
    desk.publish(claims)
    assert desk.state(second) == "done"


@pytest.mark.parametrize("other", ["paused", "waiting"])
def test_what_others_want_later_survives_a_cancel_too(desk: Desk, other: str) -> None:
    """A job that is paused or waits wants its units as much."""
    job = desk.queue_up("run", 2)
    before = desk.submit("before")
    second = desk.submit("run", key="second", after=[before] if other == "waiting" else [])
    if other == "paused":
        desk.jobs.pause(second)
    desk.plan("run", 2)
    claims = desk.take(1)
    desk.jobs.cancel(job)
    assert desk.states() == {"running": 1, "ready": 1}
    assert len(desk.publish(claims)) == 1
    assert desk.service.claim(9) == []


def test_a_paused_job_begins_nothing_and_ends_nothing(desk: Desk) -> None:
    """What was begun goes on; resumed, it goes on with the rest."""
    job = desk.queue_up("run", 3)
    claims = desk.take(1)
    desk.jobs.pause(job)
    assert desk.service.claim(9) == []
    assert len(desk.publish(claims)) == 1
    desk.jobs.resume(job)
    assert desk.state(job) == "ready"
    desk.publish(desk.take())
    assert desk.state(job) == "done"


def test_a_paused_job_that_has_nothing_left_ends_when_it_is_resumed(desk: Desk) -> None:
    """Until then it is paused."""
    job = desk.queue_up("run", 1)
    claims = desk.take()
    desk.jobs.pause(job)
    desk.publish(claims)
    assert desk.state(job) == "paused"
    desk.jobs.resume(job)
    assert (desk.state(job), desk.job(job).ended_at) == ("done", NOON)


def test_a_job_that_waits_can_be_paused(desk: Desk) -> None:
    """Resumed, it waits on, or is ready if there is nothing to wait for any more."""
    first = desk.queue_up("first", 1)
    job = desk.queue_up("run", 1, after=[first])
    desk.jobs.pause(job)
    desk.jobs.resume(job)
    assert desk.state(job) == "waiting"
    desk.jobs.pause(job)
    desk.publish(desk.take())
    assert (desk.state(first), desk.state(job)) == ("done", "paused")
    desk.jobs.resume(job)
    assert desk.state(job) == "ready"


def test_a_paused_job_after_one_that_failed_cannot_go_on(desk: Desk) -> None:
    """The message says what to retry; cancelling it is possible."""
    first = desk.queue_up("first", 1)
    job = desk.queue_up("run", 1, after=[first])
    desk.jobs.pause(job)
    desk.kill(desk.take())
    with pytest.raises(JobError, match=f"job {first} has failed: nothing can come after it; retry"):
        desk.jobs.resume(job)
    assert desk.state(job) == "paused"
    desk.jobs.cancel(job)
    assert desk.state(job) == "cancelled"


@pytest.mark.parametrize("state", STATES)
def test_a_job_can_be_put_elsewhere_in_every_state(desk: Desk, state: str) -> None:
    """Lane and priority change, each by itself, and nothing else."""
    job = bring(desk, state)
    units = desk.units()
    desk.jobs.reprioritise(job, lane=Lane.REALTIME)
    assert (desk.job(job).lane, desk.job(job).priority) == (Lane.REALTIME, -1)
    desk.jobs.reprioritise(job, priority=9)
    assert (desk.job(job).lane, desk.job(job).priority) == (Lane.REALTIME, 9)
    desk.jobs.reprioritise(job)
    assert desk.state(job) == state
    assert desk.units() == units


def test_a_job_that_is_put_elsewhere_is_served_there(desk: Desk) -> None:
    """From the next claim on, and also for what it shares with others."""
    first = desk.queue_up("a", 2)
    second = desk.queue_up("b", 2)
    assert by_run(desk.service.claim(1), desk) == ["a"]
    desk.jobs.reprioritise(second, priority=1)
    assert by_run(desk.service.claim(1), desk) == ["b"]
    desk.jobs.reprioritise(first, lane=Lane.REALTIME)
    assert by_run(desk.service.claim(9), desk) == ["a", "b"]


@pytest.mark.parametrize("priority", [10**6 + 1, -(10**6) - 1])
def test_a_priority_out_of_bounds_is_refused(desk: Desk, priority: int) -> None:
    """Nothing changes, also not the lane that was given with it."""
    job = desk.queue_up("run", 1)
    with pytest.raises(JobError, match="a priority lies within ±1000000"):
        desk.jobs.reprioritise(job, lane=Lane.REALTIME, priority=priority)
    assert desk.job(job).lane == Lane.REPROCESS


def test_dead_letters_are_tried_again(desk: Desk) -> None:
    """As if they had never been tried; the job that had failed goes on and ends."""
    job = bring(desk, "failed")
    assert desk.jobs.retry(job) == 1
    found = desk.job(job)
    assert (found.state, found.ended_at, found.error) == ("ready", None, None)
    assert desk.states() == {"done": 1, "ready": 1}
    (claim,) = desk.take()
    assert claim.attempt == 2
    desk.publish([claim])
    assert desk.state(job) == "done"


def test_tried_again_an_error_may_come_once_more(desk: Desk) -> None:
    """What came twice long ago is not held against the next attempt."""
    job = desk.queue_up("run", 1)
    desk.fail(desk.take())
    desk.fail(desk.take())
    assert desk.states() == {"dead": 1}
    desk.jobs.retry(job)
    desk.fail(desk.take())
    assert desk.states() == {"ready": 1}
    desk.fail(desk.take())
    assert (desk.states(), desk.state(job)) == ({"dead": 1}, "failed")


def test_a_cancelled_job_goes_on_when_it_is_tried_again(desk: Desk) -> None:
    """With what is not done; it had no dead letters."""
    job = desk.queue_up("run", 3)
    desk.publish(desk.take(1))
    desk.jobs.cancel(job)
    assert desk.jobs.retry(job) == 0
    assert (desk.state(job), desk.states()) == ("ready", {"done": 1, "ready": 2})
    desk.publish(desk.take())
    assert desk.state(job) == "done"


def test_a_job_that_could_not_be_planned_is_planned_when_it_is_tried_again(desk: Desk) -> None:
    """Its run may be there by now."""
    job = desk.submit("run")
    desk.planning.fail(target().job.identity, "no run")
    assert desk.jobs.retry(job) == 0
    assert (desk.state(job), desk.jobs.progress(job).errors) == ("ready", ())
    assert len(desk.planning.take(9)) == 1
    desk.plan("run", 1)
    desk.publish(desk.take())
    assert desk.state(job) == "done"


def test_a_job_that_was_given_up_is_tried_again(desk: Desk) -> None:
    """With the dead letters, and with all that was cancelled because of them."""
    job = desk.queue_up("run", 4, failures_allowed=0)
    desk.kill(desk.take(1))
    assert desk.states() == {"dead": 1, "cancelled": 3}
    assert desk.jobs.retry(job) == 1
    desk.publish(desk.take())
    assert (desk.state(job), desk.states()) == ("done", {"done": 4})


def test_what_was_discarded_is_not_tried_again(desk: Desk) -> None:
    """Until the same is submitted anew."""
    job = desk.queue_up("run", 3)
    first, *others = desk.take()
    desk.kill([first])
    DeadLetters(desk.database).discard([first.unit])
    desk.kill(others)
    assert desk.states() == {"cancelled": 1, "dead": 2}
    assert desk.jobs.retry(job) == 2
    assert (desk.state(job), desk.states()) == ("ready", {"cancelled": 1, "ready": 2})
    desk.publish(desk.take())
    assert (desk.state(job), desk.states()) == ("done", {"cancelled": 1, "done": 2})
    desk.submit("run")
    assert desk.states() == {"ready": 1, "done": 2}


def test_a_cancelled_job_that_has_nothing_left_is_done_when_it_is_tried_again(desk: Desk) -> None:
    """Another job may have done all of it since."""
    job = desk.queue_up("run", 1)
    other = desk.submit("run", key="other")
    desk.plan("run", 1)
    desk.jobs.cancel(job)
    desk.publish(desk.take())
    assert desk.state(other) == "done"
    desk.jobs.retry(job)
    assert desk.state(job) == "done"


def test_there_is_nothing_to_try_again_in_a_job_that_is_done(desk: Desk) -> None:
    """It stays done."""
    job = bring(desk, "done")
    before = desk.job(job)
    assert desk.jobs.retry(job) == 0
    assert desk.job(job) == before


@pytest.mark.parametrize("state", ["ready", "paused"])
def test_trying_again_leaves_an_open_job_as_it_is(desk: Desk, state: str) -> None:
    """Its dead letters are ready, and it is paused if it was."""
    job = desk.queue_up("run", 2)
    desk.kill(desk.take(1))
    if state == "paused":
        desk.jobs.pause(job)
    assert desk.jobs.retry(job) == 1
    assert (desk.state(job), desk.states()) == (state, {"ready": 2})


def test_trying_again_does_not_pass_what_a_job_waits_for(desk: Desk) -> None:
    """It waits on, though it shares dead letters with a job that did not wait."""
    first = desk.submit("first")
    other = desk.queue_up("run", 2)
    job = desk.submit("run", key="later", after=[first])
    desk.plan("run", 2)
    desk.kill(desk.take(1))
    assert desk.jobs.retry(job) == 1
    assert (desk.state(job), desk.state(other)) == ("waiting", "ready")


def test_a_job_is_not_tried_again_before_what_it_comes_after(desk: Desk) -> None:
    """Once that is done, it waits no longer."""
    first = desk.queue_up("first", 1)
    job = desk.queue_up("run", 1, after=[first])
    desk.kill(desk.take())
    assert desk.state(job) == "cancelled"
    before = desk.everything()
    with pytest.raises(JobError, match=f"job {first} has failed: nothing can come after it; retry"):
        desk.jobs.retry(job)
    assert desk.everything() == before
    desk.jobs.retry(first)
    desk.jobs.retry(job)
    assert desk.state(job) == "waiting"
    desk.publish(desk.take())
    assert (desk.state(first), desk.state(job)) == ("done", "ready")


def test_a_private_job_is_not_tried_again_without_its_process(desk: Desk) -> None:
    """Nobody could work on it; while its process lives, it goes on."""
    own = Service(desk.database)
    job = desk.submit("run", private=own.identity)
    desk.plan("run", 1)
    desk.jobs.cancel(job)
    desk.jobs.retry(job)
    assert len(own.claim(1, job=job)) == 1
    own.end()
    message = f"job {job} was for the process {own.identity} alone, which has ended: submit"
    with pytest.raises(JobError, match=message):
        desk.jobs.retry(job)
    assert desk.state(job) == "cancelled"


def test_a_long_chain_of_jobs_is_cancelled_as_a_whole(desk: Desk) -> None:
    """However many jobs wait one for the other: it goes no deeper for each of them."""
    last = first = desk.submit("run 0")
    for number in range(1, 70):
        last = desk.submit(f"run {number}", after=[last])
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        desk.jobs.cancel(first)
    finally:
        sys.setrecursionlimit(usual)
    assert desk.job(last).error == f"job {last - 1} was cancelled"
    assert {each.state for each in desk.jobs.find(limit=1000)} == {"cancelled"}
