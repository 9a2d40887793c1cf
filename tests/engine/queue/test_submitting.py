"""Submitting: what is asked for twice is one job, what cannot be is refused, and jobs follow jobs."""

from typing import Any

import pytest
from tests.engine.queue.desk import NOON, SECOND, Clock, Desk, target

from forebay.engine.errors import JobError, KeyTakenError, UnknownJobError
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.states import JobState
from forebay.engine.queue.submission import Submission, Target


def test_a_job_is_kept_as_it_was_asked_for(desk: Desk) -> None:
    """Everything that was submitted comes back from the database."""
    job = desk.submit(
        target("a", sigma=1.5, box=[1, 2]),
        target("b", sigma=1.5, box=[1, 2]),
        lane=Lane.VALIDATION,
        priority=7,
        owner="ada",
        labels={"sample": "ribosome"},
        deadline=NOON + SECOND,
        live=True,
        keep_up=3,
        failures_allowed=2,
        key="morning",
    )
    found = desk.job(job)
    assert (found.algorithm, found.version) == ("blur", "1.0.0")
    assert found.parameters == {"sigma": 1.5, "box": [1, 2]}
    assert (found.lane, found.priority, found.owner) == (Lane.VALIDATION, 7, "ada")
    assert (found.labels, found.deadline) == ({"sample": "ribosome"}, NOON + SECOND)
    assert (found.live, found.keep_up, found.force, found.private) == (True, 3, False, None)
    assert (found.failures_allowed, found.key) == (2, "morning")
    assert (found.state, found.error, found.ended) == ("ready", None, False)
    assert (found.created_at, found.ended_at) == (NOON, None)


def test_a_key_finds_its_job_while_it_is_open(desk: Desk) -> None:
    """Submitted again, it is the same job however urgent it is; after its end a new one."""
    first = desk.jobs.submit(Submission(targets=[target()], key="mine"))
    again = desk.jobs.submit(Submission(targets=[target()], key="mine", priority=3, owner="ada"))
    assert (first[1], again) == (True, (first[0], False))
    assert desk.job(first[0]).priority == 0
    desk.jobs.cancel(first[0])
    later = desk.jobs.submit(Submission(targets=[target()], key="mine"))
    assert later[1]
    assert later[0] > first[0]


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        ({"targets": [target("b", sigma=1)]}, "it goes over a too; it does not go over b"),
        ({"targets": [target("a", sigma=1), target("b", sigma=1)]}, "it does not go over b"),
        ({"targets": [target("a", sigma=2)]}, "its sigma is 1, not 2"),
        ({"targets": [target("a")]}, "its sigma is 1, not None"),
        ({"targets": [target("a", version="1.0.1", sigma=1)]}, "it is of blur-1.0.0, not of"),
        ({"live": True}, "its live is False, not True"),
        ({"force": True}, "its force is False, not True"),
        ({"cluster": "gpus"}, "its cluster is None, not gpus"),
        ({"units": {}}, "it is of all units"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_is_refused_for_something_else(
    desk: Desk, wanted: dict[str, Any], difference: str
) -> None:
    """The message says which job has it, and in what that differs; once it has ended, it is free."""
    first = desk.submit(target("a", sigma=1), key="mine")
    before = desk.everything()
    asked = Submission(**{"targets": [target("a", sigma=1)], "key": "mine", **wanted})
    with pytest.raises(KeyTakenError, match=f"'mine' is that of job {first}, .*: {difference}"):
        desk.jobs.submit(asked)
    assert desk.everything() == before
    desk.jobs.cancel(first)
    assert desk.jobs.submit(asked)[1]


def test_without_a_key_what_is_asked_for_is_the_key(desk: Desk) -> None:
    """The order of runs and how urgent it is do not matter; what is computed does."""
    a, b = target("a"), target("b")

    def submitted(*targets: Target, **how: Any) -> int:
        return desk.jobs.submit(Submission(targets=targets, **how))[0]

    first = submitted(a, b)
    assert submitted(b, a) == first
    assert submitted(a, b, lane=Lane.REALTIME, priority=5, owner="ada") == first
    others = {
        submitted(a),
        submitted(target("a", version="1.0.1"), target("b", version="1.0.1")),
        submitted(target("a", sigma=2), target("b", sigma=2)),
        submitted(a, b, live=True),
        submitted(a, b, force=True),
        submitted(a, b, private=desk.service.identity),
    }
    assert len(others) == 6
    assert first not in others


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"targets": []}, "a job needs at least one run"),
        (
            {"targets": [target("a"), target("b", version="2.0.0")]},
            "a job is of one algorithm, not of 2: submit one for each",
        ),
        (
            {"targets": [target("a", sigma=1), target("b", sigma=2)]},
            "a job has the same parameters for all its runs",
        ),
        ({"targets": [target(), target()]}, "the same run twice: /runs/run and /runs/run are one"),
        ({"key": ""}, "a key has 1 to 200 characters, not 0"),
        ({"key": "k" * 201}, "a key has 1 to 200 characters, not 201"),
        ({"keep_up": 0}, "keep_up cannot be 0: 1 is every block"),
        ({"priority": 10**6 + 1}, "a priority lies within ±1000000, not at 1000001"),
        ({"priority": -(10**6) - 1}, "a priority lies within ±1000000, not at -1000001"),
        ({"failures_allowed": -1}, "failures_allowed cannot be -1"),
        ({"deadline": "tomorrow"}, "deadline cannot be 'tomorrow': it is a whole number"),
        ({"deadline": 1e18}, "deadline cannot be 1e\\+18: it is a whole number"),
        ({"deadline": 2**63}, "deadline cannot be 9223372036854775808: it has 64 bits"),
        ({"priority": "high"}, "priority cannot be 'high': it is a whole number"),
        ({"after": 3}, "after cannot be 3: it is a list of the numbers of jobs"),
        ({"after": ["a"]}, r"after\[0\] cannot be 'a': it is a whole number"),
        ({"key": 7}, "key cannot be 7: it is a text"),
        ({"labels": ["a"]}, r"labels cannot be \['a'\]: give them as names with their values"),
        ({"labels": {"a": 1}}, r"labels\['a'\] cannot be 1: it is a text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused(desk: Desk, wanted: dict[str, Any], message: str) -> None:
    """The message says what is allowed, and nothing is left behind."""
    before = desk.everything()
    with pytest.raises(JobError, match=message):
        desk.jobs.submit(Submission(**{"targets": [target()], **wanted}))
    assert desk.everything() == before


@pytest.mark.parametrize("text", ["a\0b", "a\udcffb"], ids=["nul", "surrogate"])
@pytest.mark.parametrize("name", ["key", "owner"])
def test_a_text_that_no_database_can_keep_is_refused(desk: Desk, name: str, text: str) -> None:
    """Names that were read from bytes, as from a command line, may hold what is no character."""
    with pytest.raises(JobError, match="cannot be kept"):
        desk.submit("run", **{name: text})


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_nothing_comes_after_a_job_that_ended_badly(desk: Desk, end: str) -> None:
    """The message names the job and says how to bring it back."""
    first = desk.queue_up("a", 1)
    if end == "failed":
        desk.kill(desk.take())
    else:
        desk.jobs.cancel(first)
    message = f"job {first} {JobState(end).told}: nothing can come after it; retry it first"
    with pytest.raises(JobError, match=message):
        desk.submit("b", after=[first])
    assert [each.job for each in desk.jobs.find()] == [first]


def test_nothing_comes_after_a_job_that_is_not_there(desk: Desk) -> None:
    """An unknown number is refused, and nothing is submitted."""
    with pytest.raises(UnknownJobError, match=r"there is no job 4711 \('forebay jobs list'"):
        desk.submit("b", after=[4711])
    assert desk.jobs.find() == []


def test_an_unknown_job_is_an_error(desk: Desk) -> None:
    """Whatever is asked of it."""
    for ask in (
        desk.jobs.get,
        desk.jobs.cancel,
        desk.jobs.pause,
        desk.jobs.resume,
        desk.jobs.retry,
        desk.jobs.reprioritise,
    ):
        with pytest.raises(UnknownJobError, match="there is no job 4711"):
            ask(4711)


def test_a_job_waits_for_all_that_it_comes_after(desk: Desk) -> None:
    """It is ready when the last of them is done, and gives no unit before."""
    first, second = desk.queue_up("a", 1), desk.queue_up("b", 1)
    third = desk.queue_up("c", 1, after=[first, second, first])
    assert desk.state(third) == "waiting"
    one, two = desk.take()
    desk.publish([one])
    assert (desk.state(first), desk.state(third)) == ("done", "waiting")
    assert desk.take() == []
    desk.publish([two])
    assert desk.state(third) == "ready"
    assert [each.job for each in desk.take()] == [third]


def test_a_job_after_what_is_done_is_ready_at_once(desk: Desk) -> None:
    """There is nothing to wait for."""
    first = desk.queue_up("a", 1)
    desk.publish(desk.take())
    assert desk.state(first) == "done"
    assert desk.state(desk.submit("b", after=[first])) == "ready"


def test_a_job_that_waited_and_has_nothing_to_do_is_done(desk: Desk) -> None:
    """What it asks for may be published by the very job that it waits for."""
    first = desk.submit("a")
    second = desk.submit("a", key="another", after=[first])
    third = desk.submit("b", after=[second])
    desk.plan("a", 2)
    desk.publish(desk.take())
    assert [desk.state(each) for each in (first, second, third)] == ["done", "done", "ready"]


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_what_waits_for_a_job_that_ends_badly_is_cancelled(desk: Desk, end: str) -> None:
    """The whole chain is, each with its reason, and nothing of it is left to compute."""
    first = desk.queue_up("a", 1)
    second = desk.queue_up("b", 2, after=[first])
    third = desk.queue_up("c", 2, after=[second])
    beside = desk.queue_up("d", 1)
    if end == "failed":
        (claim,) = [each for each in desk.take() if each.job == first]
        desk.kill([claim])
    else:
        desk.jobs.cancel(first)
    assert (desk.state(second), desk.state(third)) == ("cancelled", "cancelled")
    assert desk.job(second).error == f"job {first} {JobState(end).told}"
    assert desk.job(third).error == f"job {second} was cancelled"
    assert desk.job(third).ended_at == NOON
    assert desk.states("b") == desk.states("c") == {"cancelled": 2}
    assert desk.state(beside) == "ready"


def test_what_waits_for_a_failed_and_an_open_job_is_cancelled_at_once(desk: Desk) -> None:
    """It need not wait for the other one to end."""
    first, second = desk.queue_up("a", 1), desk.queue_up("b", 1)
    third = desk.submit("c", after=[first, second])
    desk.jobs.cancel(second)
    assert (desk.state(first), desk.state(third)) == ("ready", "cancelled")


def test_what_is_done_is_not_done_again(desk: Desk) -> None:
    """The same, submitted anew, ends as soon as it is planned; by force all is computed anew."""
    first = desk.queue_up()
    desk.publish(desk.take())
    again = desk.submit("run")
    assert (again > first, desk.state(again)) == (True, "ready")
    assert desk.take() == []
    assert len(desk.plan("run")) == 3
    assert desk.state(again) == "done"

    forced = desk.submit("run", force=True)
    assert desk.plan("run") == set()
    claims = desk.take()
    assert (len(claims), {each.attempt for each in claims}) == (3, {2})
    desk.publish(claims)
    assert desk.state(forced) == "done"


def test_what_was_given_up_is_tried_again_when_it_is_asked_for_again(
    desk: Desk, clock: Clock
) -> None:
    """Dead letters and cancelled units of an earlier job are as if they had never been tried."""
    first = desk.queue_up(number=3)
    one, two, three = desk.take()
    desk.publish([one])
    desk.kill([two])
    desk.jobs.cancel(first)
    clock.step(5)
    second = desk.submit("run")
    assert desk.plan("run") == {one.unit}
    claims = desk.take()
    assert [(each.unit, each.attempt) for each in claims] == [(two.unit, 2), (three.unit, 2)]
    desk.publish(claims)
    assert (desk.state(first), desk.state(second)) == ("cancelled", "done")


def test_a_lane_is_known_by_its_name() -> None:
    """The label leads back to the lane; another word is refused with those there are."""
    assert [Lane.of(each.label) for each in Lane] == list(Lane)
    with pytest.raises(JobError, match="no lane 'fast'; there are realtime, validation, reprocess"):
        Lane.of("fast")
