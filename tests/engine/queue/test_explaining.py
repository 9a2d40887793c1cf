"""Why a job stands as it does is told as it is, whatever it is at."""

import random

from tests.engine.queue.desk import NOON, SECOND, Clock, Desk, target

from forebay.engine.queue.explain import explain
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.retry import Failure, FailureClass, RetryPolicy

STORAGE = Failure(FailureClass.INPUT_OUTPUT, "OSError: no answer")


class Longest(random.Random):
    """Chance without chance: every wait is as long as it may be."""

    def uniform(self, a: float, b: float) -> float:
        """Return the larger one."""
        return max(a, b)


def reasons(desk: Desk, job: int) -> list[str]:
    return list(explain(desk.database, job).reasons)


def test_the_first_job_is_not_told_to_wait_for_others(desk: Desk) -> None:
    """It is next; those behind it wait for it."""
    first, second = desk.queue_up("a", 2), desk.queue_up("b", 1)
    assert reasons(desk, first) == ["it is next, when there is room; it is in the lane reprocess"]
    before = "the jobs before it are served first; it is in the lane reprocess"
    assert reasons(desk, second)[0] == before


def test_units_are_counted_in_words_that_fit(desk: Desk) -> None:
    """One of them is, and more are."""
    job = desk.queue_up("a", 4)
    claims = desk.take(1)
    assert reasons(desk, job) == ["1 of its units is being computed"]
    claims += desk.take(1)
    assert reasons(desk, job) == ["2 of its units are being computed"]
    desk.kill(claims[:1])
    dead = f"('forebay dead list --job {job}' shows them)"
    assert reasons(desk, job)[1:] == [f"it has 1 dead letter {dead}"]
    desk.kill(claims[1:])
    assert reasons(desk, job)[1:] == [f"it has 2 dead letters {dead}"]


def test_what_is_tried_again_says_when(desk: Desk, clock: Clock) -> None:
    """Of several, when the first of them is."""
    service = Service(desk.database, policy=RetryPolicy(chance=Longest()), lease_seconds=1e6)
    job = desk.queue_up("a", 2)
    one, two = desk.take(by=service)
    desk.fail([one], STORAGE, by=service)
    clock.step(0.2)
    again = "1 unit failed and is tried again, in 1 s (OSError: no answer)"
    assert reasons(desk, job) == ["1 of its units is being computed", again]
    desk.fail([two], STORAGE, by=service)
    again = "2 units failed and are tried again, the first in 1 s (OSError: no answer)"
    assert reasons(desk, job) == [again]


def test_what_is_tried_again_ends_no_sooner(desk: Desk, clock: Clock) -> None:
    """However fast units are done lately."""
    service = Service(desk.database, policy=RetryPolicy(chance=Longest()), lease_seconds=1e6)
    job = desk.queue_up("a", 9)
    clock.step(0.2)
    claims = desk.take(9, by=service)
    desk.publish(claims[:7], by=service)
    desk.fail(claims[7:], STORAGE, by=service)
    assert (found := explain(desk.database, job)).ends_in == 1.0
    assert found.starts_in == 1.0
    clock.step(0.75)
    assert explain(desk.database, job).starts_in == 0.25


def test_what_a_late_job_has_put_off_is_told(desk: Desk) -> None:
    """With nothing else to do there would be no reason at all."""
    job = desk.submit("live", live=True, keep_up=2, lane=0)
    desk.plan("live", 4, complete=False, deferred=[1, 2])
    desk.publish(desk.take(2))
    late = "are computed in the lane reprocess, when there is time"
    assert f"it was late: 2 units were put off and {late}" in reasons(desk, job)
    desk.publish(desk.take(1))
    late = late.replace("are", "is")
    assert f"it was late: 1 unit was put off and {late}" in reasons(desk, job)
    follows = "it follows what is recorded: blocks are computed as they are committed"
    assert follows in reasons(desk, job)


def test_what_is_held_back_waits_for_no_other_job(desk: Desk) -> None:
    """It is the storage that it waits for."""
    job = desk.queue_up("a", 2)
    desk.service.hold_back(target("a").job.identity, 30.0, because="/results is full")
    why = "it waits for what it needs, and is tried again in 30 s (/results is full)"
    assert reasons(desk, job) == [why]


def test_a_job_behind_others_is_told_when_it_has_aged(desk: Desk, clock: Clock) -> None:
    """As it is then served: beside what never ends that is all that it gets."""
    service = Service(desk.database, lease_seconds=1e6, ageing_seconds=600.0)
    old = desk.queue_up("old", 9)
    valid = desk.queue_up("valid", 200, lane=Lane.VALIDATION)
    rule = "of 10 units one is of a job that has had no turn for long: of this one"
    clock.step(100)
    desk.publish(desk.take(9, by=service), by=service)
    assert reasons(desk, old)[1:] == [f"{rule} in 500 s"]
    assert explain(desk.database, old, ageing_seconds=110).starts_in == 10
    assert explain(desk.database, old, ageing_seconds=300).reasons[1] == f"{rule} in 200 s"
    desk.queue_up("now", 50, lane=Lane.REALTIME)
    assert reasons(desk, old)[1:] == [f"{rule} in 1100 s"]
    assert reasons(desk, valid)[1:] == [f"{rule} in 600 s"]
    clock.step(1101)
    assert reasons(desk, old)[1:] == [f"{rule} now, after 1 other job"]
    taken = [each.job for each in desk.take(11, by=service)]
    assert taken[0] == valid
    assert old not in taken
    assert desk.take(1, by=service)[0].job == old


def test_the_time_to_a_deadline_is_told(desk: Desk, clock: Clock) -> None:
    """Until the job has ended; a nearer one may be given later."""
    job = desk.queue_up("a", 1, deadline=NOON + 60 * SECOND)
    assert explain(desk.database, job).deadline_in == 60
    desk.jobs.reprioritise(job, deadline=NOON + 30 * SECOND)
    clock.step(40)
    assert explain(desk.database, job).deadline_in == -10
    desk.publish(desk.take())
    assert explain(desk.database, job).deadline_in is None
    assert explain(desk.database, desk.queue_up("b", 1)).deadline_in is None
