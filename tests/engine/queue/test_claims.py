"""Claims: whose turn it is, how much is taken, and that nobody gets a unit twice."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.engine.queue.desk import BYTES, NOON, SECOND, Clock, Desk, OpenDatabase, by_run, target

from forebay.engine.errors import LeaseLostError
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.submission import Submission


@pytest.fixture
def patient(desk: Desk) -> Iterator[Service]:
    """A service that lets jobs move up after ten minutes without a turn."""
    with ExitStack() as stack:
        service = Service(desk.database, lease_seconds=1e6, ageing_seconds=600.0)
        stack.callback(service.end)
        yield service


def test_a_claim_tells_all_that_is_to_be_known(desk: Desk) -> None:
    """Of the unit, of its job, and under which number it is held."""
    job = desk.queue_up("run", 2, lane=Lane.VALIDATION, priority=4)
    _, claim = desk.service.claim(2)
    known = desk.units()[1]
    assert (claim.unit, claim.label, claim.start) == (known.unit, known.label, 4)
    assert (claim.y, claim.x, claim.frames, claim.bytes) == (0, 0, 4, BYTES)
    assert (claim.job, claim.lane, claim.priority) == (job, Lane.VALIDATION, 4)
    assert claim.result == target().job.identity
    assert (claim.attempt, claim.alone, claim.deaths) == (1, False, 0)
    assert claim.taken_at == NOON + SECOND
    assert (desk.states(), desk.service.held()) == ({"leased": 2}, 2)


def test_jobs_are_served_by_lane_then_priority_then_deadline_then_age(desk: Desk) -> None:
    """And the units of each in the order of their frames."""
    asked: dict[str, dict[str, int]] = {
        "h": {},
        "g": {"deadline": NOON + 9 * SECOND},
        "f": {"deadline": NOON + 8 * SECOND},
        "i": {"priority": -1, "deadline": NOON},
        "e": {"priority": 1},
        "d": {"lane": Lane.VALIDATION},
        "c": {"lane": Lane.VALIDATION, "priority": 1},
        "b": {"lane": Lane.REALTIME, "priority": -5},
        "a": {"lane": Lane.REALTIME},
    }
    for run, how in asked.items():
        desk.queue_up(run, 2, **how)
    desk.queue_up("j", 2, priority=-1)
    claims = desk.service.claim(100)
    assert by_run(claims, desk) == [each for run in "abcdefghij" for each in (run, run)]
    assert [each.start for each in claims] == [0, 4] * 10


def test_the_runs_of_a_job_are_served_one_after_the_other(desk: Desk) -> None:
    """By their names, so that one is whole before the next begins."""
    desk.submit("c", "a", "b")
    for run in "cab":
        desk.plan(run, 2)
    assert by_run(desk.service.claim(5), desk) == ["a", "a", "b", "b", "c"]


def test_no_more_are_taken_than_asked_for(desk: Desk) -> None:
    """Nothing for nothing, and the next ones the next time."""
    desk.queue_up("a", 2, lane=Lane.REALTIME)
    desk.queue_up("b", 3)
    assert desk.service.claim(0) == []
    assert by_run(desk.service.claim(3), desk) == ["a", "a", "b"]
    assert [each.start for each in desk.service.claim(100)] == [4, 8]
    assert desk.service.claim(100) == []


@pytest.mark.parametrize(
    ("most", "taken"), [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (250, 2), (10**9, 4)]
)
def test_no_more_bytes_are_taken_than_there_is_room_for(desk: Desk, most: int, taken: int) -> None:
    """But one unit in any case, however large it is, and over several runs together."""
    desk.queue_up("a", 1, size=100)
    desk.queue_up("b", 3, size=100)
    assert len(desk.service.claim(100, most_bytes=most)) == taken


def test_a_unit_that_is_too_large_does_not_hold_up_the_small_ones(desk: Desk) -> None:
    """It is taken when there is nothing else to be taken with it."""
    desk.queue_up("small", 2, size=10, priority=2)
    desk.queue_up("large", 1, size=1000, priority=1)
    desk.queue_up("last", 1, size=10)
    assert by_run(desk.service.claim(100, most_bytes=100), desk) == ["small", "small", "last"]
    assert by_run(desk.service.claim(100, most_bytes=100), desk) == ["large"]


def test_lanes_can_be_left_out(desk: Desk) -> None:
    """Only units of these lanes are taken."""
    desk.queue_up("a", 1, lane=Lane.REALTIME)
    desk.queue_up("b", 1, lane=Lane.VALIDATION)
    desk.queue_up("c", 1)
    assert by_run(desk.service.claim(9, lanes=[Lane.VALIDATION]), desk) == ["b"]
    assert desk.service.claim(9, lanes=[]) == []
    assert by_run(desk.service.claim(9, lanes=iter([2, 0])), desk) == ["a", "c"]


def test_nobody_gets_what_another_holds(desk: Desk, open_database: OpenDatabase) -> None:
    """Two services share a job, unit by unit."""
    other = Service(open_database())
    desk.queue_up("run", 5)
    mine, others = desk.service.claim(2), other.claim(2)
    assert [each.start for each in mine] == [0, 4]
    assert [each.start for each in others] == [8, 12]
    assert (desk.service.held(), other.held()) == (2, 2)
    assert [each.start for each in desk.service.claim(9)] == [16]
    assert other.claim(9) == []


@pytest.mark.parametrize("state", ["waiting", "paused", "cancelled"])
def test_a_job_that_is_not_ready_gives_nothing(desk: Desk, state: str) -> None:
    """Neither to whoever comes, nor to who asks for it by its number."""
    first = desk.queue_up("a", 1)
    job = desk.queue_up("b", 2, after=[first] if state == "waiting" else [])
    if state == "paused":
        desk.jobs.pause(job)
    elif state == "cancelled":
        desk.jobs.cancel(job)
    assert by_run(desk.service.claim(9), desk) == ["a"]
    assert desk.service.claim(9, job=job) == []


def test_a_private_job_is_for_its_own_service_alone(desk: Desk) -> None:
    """It is taken by its number, and nobody else is given anything of it."""
    other = Service(desk.database)
    job = desk.submit("run", private=other.identity)
    desk.plan("run", 2)
    assert desk.service.claim(9) == []
    assert other.claim(9) == []
    assert desk.service.claim(9, job=job) == []
    assert len(other.claim(9, job=job)) == 2


def test_one_job_can_be_served_alone(desk: Desk) -> None:
    """However urgent the others are."""
    desk.queue_up("a", 2, lane=Lane.REALTIME)
    job = desk.queue_up("b", 2)
    assert by_run(desk.service.claim(9, job=job), desk) == ["b", "b"]


def test_a_buried_service_is_given_nothing(desk: Desk) -> None:
    """What it would hold, nobody would ever take from it."""
    dead = Service(desk.database)
    dead.end()
    desk.queue_up("run", 1)
    with pytest.raises(LeaseLostError, match="others have taken over what it worked on"):
        dead.claim(9)
    assert desk.states() == {"ready": 1}


def test_what_is_deferred_is_taken_when_there_is_time(desk: Desk) -> None:
    """In the order of its frames, before what is gone through anew and behind all else."""
    desk.queue_up("old", 1, priority=9)
    live = desk.submit("live", lane=Lane.REALTIME, live=True)
    desk.queue_up("valid", 1, lane=Lane.VALIDATION)
    desk.plan("live", 5, complete=False, deferred=[1, 3])
    assert desk.states("live") == {"ready": 3, "deferred": 2}
    claims = desk.service.claim(100)
    assert by_run(claims, desk) == ["live"] * 3 + ["valid"] + ["live"] * 2 + ["old"]
    assert [each.start // 4 for each in claims] == [0, 2, 4, 0, 1, 3, 0]
    assert {each.job for each in claims[4:6]} == {live}
    assert {each.lane for each in claims[4:6]} == {Lane.REPROCESS}


@pytest.mark.parametrize("lane", [*Lane])
def test_what_is_deferred_is_never_taken_before_what_is_not(desk: Desk, lane: Lane) -> None:
    """In whichever lane the job is."""
    desk.submit("live", lane=lane, live=True)
    desk.plan("live", 4, complete=False, deferred=[0, 2])
    assert [each.start // 4 for each in desk.service.claim(9)] == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("lanes", "starts"),
    [([Lane.REALTIME], [0]), ([Lane.REPROCESS], [1]), ([Lane.VALIDATION], []), (None, [0, 1])],
)
def test_what_is_deferred_is_of_the_last_lane(
    desk: Desk, lanes: list[Lane] | None, starts: list[int]
) -> None:
    """Whichever lane its job is in, and also where a job is served alone."""
    job = desk.submit("live", lane=Lane.REALTIME, live=True)
    desk.plan("live", 2, complete=False, deferred=[1])
    wanted = None if lanes is None else iter(lanes)
    claims = desk.service.claim(9, lanes=wanted, job=None if lanes else job)
    assert [each.start // 4 for each in claims] == starts


def test_a_job_ends_with_what_it_has_deferred(desk: Desk) -> None:
    """It is as much a part of it, and can be cancelled with it."""
    live = desk.submit("live", live=True)
    desk.plan("live", 2, deferred=[1])
    desk.publish(desk.take(1))
    assert desk.state(live) == "ready"
    desk.publish(desk.take())
    assert desk.state(live) == "done"
    other = desk.submit("other", live=True)
    desk.plan("other", 2, complete=False, deferred=[0, 1])
    desk.jobs.cancel(other)
    assert desk.states("other") == {"cancelled": 2}


def test_two_jobs_that_want_the_same_share_its_units(desk: Desk) -> None:
    """Each is computed once, for the more urgent job, and both end with the last."""
    slow = desk.queue_up("run", 3)
    fast = desk.submit("run", lane=Lane.REALTIME, key="fast")
    desk.queue_up("other", 1, lane=Lane.VALIDATION)
    desk.plan("run", 3)
    claims = desk.take(3)
    assert by_run(claims, desk) == ["run"] * 3
    assert {(each.job, each.lane) for each in claims} == {(fast, Lane.REALTIME)}
    desk.publish(claims[:2])
    assert (desk.state(slow), desk.state(fast)) == ("ready", "ready")
    desk.publish(claims[2:])
    assert (desk.state(slow), desk.state(fast)) == ("done", "done")


@pytest.mark.parametrize("leaves", ["cancelled", "paused", "lowered"])
def test_what_two_jobs_want_goes_on_for_the_other(desk: Desk, leaves: str) -> None:
    """As soon as the more urgent one wants it no more, or is no more the more urgent one."""
    slow = desk.queue_up("run", 3)
    fast = desk.submit("run", lane=Lane.REALTIME, key="fast")
    desk.plan("run", 3)
    if leaves == "cancelled":
        desk.jobs.cancel(fast)
    elif leaves == "paused":
        desk.jobs.pause(fast)
    else:
        desk.jobs.reprioritise(fast, lane=Lane.REPROCESS, priority=-1)
    claims = desk.take()
    assert {(each.job, each.lane) for each in claims} == {(slow, Lane.REPROCESS)}
    desk.publish(claims)
    assert desk.state(slow) == "done"
    assert desk.state(fast) == {"lowered": "done"}.get(leaves, leaves)


def test_of_two_jobs_that_want_the_same_the_nearer_deadline_counts(desk: Desk) -> None:
    """As it does between jobs that want different things."""
    desk.queue_up("run", 1)
    second = desk.submit("run", key="soon", deadline=NOON + SECOND)
    desk.plan("run", 1)
    desk.queue_up("other", 1, deadline=NOON + 2 * SECOND)
    claims = desk.take()
    assert by_run(claims, desk) == ["run", "other"]
    assert claims[0].job == second


def test_a_private_job_shares_with_the_others_too(desk: Desk) -> None:
    """A unit that two ask for is computed by one of them, and counts for both."""
    own = Service(desk.database)
    private = desk.submit("run", private=own.identity)
    shared = desk.submit("run")
    desk.plan("run", 4)
    one, two = desk.take(1), desk.take(1, by=own, job=private)
    assert (one[0].job, two[0].job) == (shared, private)
    assert one[0].unit != two[0].unit
    desk.publish(one)
    desk.publish(desk.take(9, by=own, job=private) + two, by=own)
    assert (desk.state(private), desk.state(shared)) == ("done", "done")


def test_a_job_without_a_turn_for_long_gets_one_unit(
    desk: Desk, patient: Service, clock: Clock
) -> None:
    """Then what is more urgent goes on, until it has had no turn for as long again."""
    desk.queue_up("old", 9)
    desk.queue_up("valid", 20, lane=Lane.VALIDATION)
    clock.step(599)
    assert by_run(patient.claim(2), desk) == ["valid", "valid"]
    clock.step(2)
    assert by_run(patient.claim(3), desk) == ["old", "valid", "valid"]
    clock.step(300)
    assert by_run(patient.claim(7), desk) == ["valid"] * 7
    clock.step(301)
    assert by_run(patient.claim(3), desk) == ["old", "valid", "valid"]


def test_it_moves_up_by_one_lane_after_the_other(
    desk: Desk, patient: Service, clock: Clock
) -> None:
    """What follows an instrument is passed after twice the time, whatever the priorities."""
    desk.queue_up("old", 9, priority=-5)
    desk.queue_up("now", 20, lane=Lane.REALTIME, priority=5)
    clock.step(1199)
    assert by_run(patient.claim(2), desk) == ["now", "now"]
    clock.step(2)
    assert by_run(patient.claim(3), desk) == ["old", "now", "now"]
    assert by_run(patient.claim(3), desk) == ["now", "now", "now"]


def test_of_two_that_have_aged_the_one_that_moved_up_further_goes_first(
    desk: Desk, patient: Service, clock: Clock
) -> None:
    """It is told by the lane that it is in by now, and not by which of them waits for longer."""
    desk.queue_up("old", 9)
    clock.step(300)
    desk.queue_up("valid", 9, lane=Lane.VALIDATION)
    desk.queue_up("now", 20, lane=Lane.REALTIME)
    clock.step(1250)
    assert by_run(patient.claim(2), desk) == ["valid", "now"]


def test_the_most_urgent_lane_ages_too(desk: Desk, patient: Service, clock: Clock) -> None:
    """Beside an instrument that is never caught up with another one gets its unit in ten."""
    desk.queue_up("b", 3, lane=Lane.REALTIME)
    desk.queue_up("a", 30, lane=Lane.REALTIME, priority=1)
    clock.step(599)
    assert by_run(patient.claim(2), desk) == ["a", "a"]
    clock.step(2)
    assert by_run(patient.claim(4), desk) == ["b", "a", "a", "a"]
    clock.step(600)
    assert by_run(patient.claim(9), desk) == ["a"] * 9
    assert by_run(patient.claim(2), desk) == ["b", "a"]


def test_what_a_live_job_has_put_off_ages_too(desk: Desk, patient: Service, clock: Clock) -> None:
    """It is work on old frames by then, which others would pass for as long as they come."""
    desk.submit("live", live=True, keep_up=2, lane=Lane.REALTIME)
    desk.plan("live", 4, complete=False, deferred=[1, 3])
    desk.publish(desk.take(2))
    desk.queue_up("valid", 40, lane=Lane.VALIDATION)
    clock.step(599)
    assert by_run(patient.claim(2), desk) == ["valid", "valid"]
    clock.step(2)
    assert by_run(patient.claim(3), desk) == ["live", "valid", "valid"]
    clock.step(599)
    assert by_run(patient.claim(9), desk) == ["valid"] * 9
    clock.step(2)
    assert by_run(patient.claim(2), desk) == ["live", "valid"]


def test_a_job_that_has_aged_and_is_next_anyway_is_served_in_full(
    desk: Desk, patient: Service, clock: Clock
) -> None:
    """It passes nobody, so that nothing has to be held back."""
    desk.queue_up("old", 3)
    clock.step(10**6)
    assert by_run(patient.claim(9), desk) == ["old"] * 3


def test_many_jobs_that_have_aged_do_not_hold_up_an_instrument(
    desk: Desk, patient: Service, clock: Clock
) -> None:
    """However many have had no turn, most of the units are those that are most urgent."""
    for number in range(70):
        desk.jobs.submit(Submission(targets=[target(f"old {number:02}")]))
        desk.plan(f"old {number:02}", 2)
    clock.step(3600)
    desk.queue_up("now", 60, lane=Lane.REALTIME)
    at_once = by_run(patient.claim(30), desk)
    assert at_once.count("now") >= 27
    assert len(set(at_once)) > 1
    singly = [run for _ in range(20) for run in by_run(patient.claim(1), desk)]
    assert singly.count("now") >= 17
    assert len(set(singly)) > 1


def test_nobody_waits_for_ever(desk: Desk, patient: Service, clock: Clock) -> None:
    """With an instrument that never pauses, every other job still gets on."""
    for run in ("a", "b", "c"):
        desk.queue_up(run, 3, priority=ord("a") - ord(run))
    desk.queue_up("now", 200, lane=Lane.REALTIME, priority=100)
    taken: list[str] = []
    for _ in range(60):
        clock.step(300)
        taken += by_run(desk.take(3, by=patient), desk)
    assert [taken.count(run) for run in ("a", "b", "c")] == [3, 3, 3]
    assert taken.count("now") >= 160
