"""Outcomes: what is published, what is tried again, and what is given up."""

import random
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.engine.queue.desk import BYTES, NOON, SECOND, Clock, Desk, target, unit

from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.queue.outcomes import Published, Refused
from forebay.engine.queue.retry import Failure, FailureClass, RetryPolicy, RetryRule
from forebay.engine.queue.schema import ATTEMPTS, RESULTS
from forebay.engine.queue.states import UnitState
from forebay.engine.results.part import Part

STORAGE = Failure(FailureClass.INPUT_OUTPUT, "OSError: the disk is full")
DIED = Failure(FailureClass.WORKER_LOST, "KilledWorker", worker="tcp://worker")


class Never(random.Random):
    """Chance without chance: every wait is as long as it may be."""

    def uniform(self, a: float, b: float) -> float:
        """Return the larger one."""
        return max(a, b)


@pytest.fixture
def steady(desk: Desk) -> Service:
    """A service whose waits are as long as they may be."""
    return Service(desk.database, policy=RetryPolicy(chance=Never()), lease_seconds=1e6)


def add(desk: Desk, inputs: str, *numbers: int, column: int = 0) -> None:
    """Add units that read other data."""
    wanted = target()
    found = [(unit(wanted, number, inputs=inputs, column=column), BYTES) for number in numbers]
    desk.planning.add(wanted.job.identity, found, blocks=3, frames=12, complete=True)


def test_a_published_unit_is_in_the_ledger(desk: Desk, clock: Clock) -> None:
    """Its part with digest and size, who was how long at it, and when."""
    job = desk.queue_up("run", 1)
    clock.step(5)
    (claim,) = desk.take()
    clock.step(7)
    part = Part("one", "1" * 64, 100, 5)
    published = desk.service.outcomes.publish([(claim, part, 6.5)])
    assert published == {claim.unit: Published(claim.unit, ())}
    (found,) = desk.units()
    assert (found.state, found.attempt, found.error) == ("done", 1, None)
    assert (found.part, found.part_blake3) == ("one", "1" * 64)
    assert (found.part_bytes, found.rows) == (100, 5)
    assert found.began_at == NOON + 5 * SECOND
    assert found.ended_at == found.published_at == NOON + 12 * SECOND
    assert found.latency == pytest.approx(12.0)
    assert desk.jobs.progress(job).seconds == 6.5
    assert desk.job(job).ended_at == NOON + 12 * SECOND


def test_a_part_stays_until_another_takes_its_place(desk: Desk) -> None:
    """While a unit is computed anew by force, and when that fails, the old part is there."""
    desk.queue_up("run", 1)
    desk.publish(desk.take())
    parts = desk.ledger.parts(target().job.identity)
    forced = desk.submit("run", force=True)
    desk.plan("run", 1)
    (claim,) = desk.take()
    assert desk.ledger.parts(target().job.identity) == parts == {"part 1"}
    desk.kill([claim])
    assert (desk.states(), desk.state(forced)) == ({"dead": 1}, "failed")
    assert desk.ledger.parts(target().job.identity) == parts

    desk.jobs.retry(forced)
    (published,) = desk.publish(desk.take())
    assert published.replaced == ("part 1",)
    assert desk.ledger.parts(target().job.identity) == {"part 2"}
    assert desk.state(forced) == "done"


def test_what_was_to_be_computed_anew_and_is_cancelled_stays_done(desk: Desk) -> None:
    """What was published before counts."""
    desk.queue_up("run", 3)
    desk.publish(desk.take())
    forced = desk.queue_up("run", 3, force=True)
    one, two = desk.take(2)
    assert [each.replaced for each in desk.publish([one])] == [("part 1",)]
    desk.jobs.cancel(forced)
    assert desk.states() == {"done": 3}
    assert desk.publish([two]) == []
    assert desk.ledger.parts(target().job.identity) == {"part 4", "part 2", "part 3"}


def test_nobody_holds_what_was_cancelled(desk: Desk) -> None:
    """A service takes as much more as it holds less."""
    job = desk.queue_up("run", 3)
    desk.take(2)
    assert desk.service.held() == 2
    desk.jobs.cancel(job)
    assert desk.service.held() == 0


def test_a_ledger_in_a_file_outlives_a_power_cut(tmp_path: Path) -> None:
    """SQLite flushes its log at each commit, not only now and then."""
    with Database(tmp_path / "ledger.sqlite") as database, database.write() as connection:
        full = 2
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full


def test_a_block_that_was_taken_anew_supersedes_what_was_read_before(desk: Desk) -> None:
    """Two units over the same frames and pixels are never published at the same time."""
    desk.queue_up("run", 2)
    desk.publish(desk.take())
    job = desk.submit("run")
    add(desk, "anew", 1)
    (claim,) = desk.take()
    assert [each.replaced for each in desk.publish([claim])] == [("part 2",)]
    states = {(each.unit == claim.unit, each.start): each.state for each in desk.units()}
    assert states == {(False, 0): "done", (False, 4): "superseded", (True, 4): "done"}
    assert desk.ledger.parts(target().job.identity) == {"part 1", "part 3"}
    assert desk.state(job) == "done"


@pytest.mark.parametrize("state", ["forced", "running", "dead", "waiting for a retry"])
def test_it_supersedes_them_however_they_stand(desk: Desk, state: str) -> None:
    """What a unit had read is gone, so that it can neither be published nor fail any more."""
    first = desk.queue_up("run", 1)
    if state == "forced":
        desk.publish(desk.take())
        desk.submit("run", force=True)
    (old,) = desk.take() if state != "forced" else desk.service.claim(1)
    if state == "dead":
        desk.kill([old])
    elif state == "waiting for a retry":
        desk.fail([old], STORAGE)
    job = desk.submit("run", key="anew")
    if state == "dead":
        # Submitting has made it ready again.
        desk.kill(desk.take())
        job = first
        desk.jobs.reprioritise(first)
    wanted = target()
    desk.planning.add(
        wanted.job.identity,
        [(unit(wanted, 0, inputs="anew"), BYTES)],
        blocks=1,
        frames=4,
        complete=False,
    )
    new = next(each for each in desk.service.claim(9) if each.unit != old.unit)
    desk.publish([new])
    assert desk.states() == {"superseded": 1, "done": 1}
    assert len(desk.ledger.parts(wanted.job.identity)) == 1
    assert (desk.publish([old]), desk.fail([old])) == ([], [])
    assert desk.service.outcomes.promote() is None
    assert desk.service.held() == 0
    assert job


def test_neighbours_are_not_superseded(desk: Desk) -> None:
    """Other blocks, other tiles and other results keep their parts."""
    desk.submit("run", "other")
    desk.plan("other", 2)
    add(desk, "digest", 0, 1)
    add(desk, "digest", 0, column=8)
    published = desk.publish(desk.take())
    assert [each.replaced for each in published] == [()] * 5
    assert (desk.states("run"), desk.states("other")) == ({"done": 3}, {"done": 2})


def test_of_two_over_the_same_frames_one_is_published(desk: Desk) -> None:
    """Also when both come at once."""
    desk.submit("run")
    add(desk, "digest", 0)
    add(desk, "anew", 0)
    assert len(desk.publish(desk.take())) == 1
    assert desk.states() == {"superseded": 1, "done": 1}
    assert len(desk.ledger.parts(target().job.identity)) == 1


def test_what_was_superseded_comes_back_when_it_is_planned_again(desk: Desk) -> None:
    """The old data may be there again, as from a copy: then it is computed."""
    desk.queue_up("run", 1)
    desk.publish(desk.take())
    desk.submit("run")
    add(desk, "anew", 0)
    desk.publish(desk.take())
    job = desk.submit("run")
    add(desk, "digest", 0)
    (claim,) = desk.take()
    assert claim.attempt == 2
    desk.publish([claim])
    assert (desk.states(), desk.state(job)) == ({"done": 1, "superseded": 1}, "done")


def test_a_failure_is_kept_with_all_that_explains_it(desk: Desk, clock: Clock) -> None:
    """Each attempt with its error, where it was raised, by which worker, and what that logged."""
    desk.queue_up("run", 1)
    clock.step(1)
    (claim,) = desk.take()
    clock.step(2)
    assert desk.fail([claim]) == [UnitState.READY]
    desk.kill(desk.take())
    with desk.database.read() as connection:
        first, second = connection.execute(sa.select(ATTEMPTS).order_by(ATTEMPTS.c.attempt))
    assert (first.unit, first.attempt, second.attempt) == (claim.unit, 1, 2)
    assert (first.failure, first.error) == ("raised", "ValueError: too dark")
    assert (first.traceback, first.worker, first.log) == ("in brightest", "tcp://worker", "log")
    assert "python" in first.environment
    assert (first.began_at, first.ended_at) == (NOON + SECOND, NOON + 3 * SECOND)
    assert (second.failure, second.worker, second.log) == ("invalid", None, None)
    (found,) = desk.units()
    assert (found.state, found.attempt, found.error) == ("dead", 2, "TypeError: no table")


def test_what_explains_a_failure_may_hold_anything(desk: Desk) -> None:
    """Bytes in a message, names that are no text and endless logs do not stop the service."""
    desk.queue_up("run", 1)
    strange = "b'\0\0' in /data/\udcff"
    endless = "x" * 100_000 + "the end"
    failure = Failure(FailureClass.RAISED, strange, endless + strange, strange, endless + strange)
    assert desk.fail(desk.take(), failure) == [UnitState.READY]
    assert desk.units()[0].error == "b'\\x00\\x00' in /data/\\udcff"
    with desk.database.read() as connection:
        (row,) = connection.execute(sa.select(ATTEMPTS))
    assert row.error == row.worker == "b'\\x00\\x00' in /data/\\udcff"
    for text in (row.traceback, row.log):
        assert text.endswith("the end" + row.error)
        assert len(text) == 20_000


def test_an_error_that_comes_twice_is_no_accident(desk: Desk) -> None:
    """The first time it is tried again at once, the second time it is a dead letter."""
    job = desk.queue_up("run", 2)
    one, two = desk.take()
    assert desk.fail([one, two]) == [UnitState.READY, UnitState.READY]
    one, two = desk.take()
    other = Failure(FailureClass.RAISED, "ValueError: too bright")
    assert (desk.fail([one]), desk.fail([two], other)) == ([UnitState.DEAD], [UnitState.READY])
    desk.publish(desk.take())
    assert (desk.states(), desk.state(job)) == ({"dead": 1, "done": 1}, "failed")
    assert [each.error for each in desk.units()] == ["ValueError: too dark", None]


def test_what_kills_two_workers_is_given_up(desk: Desk, clock: Clock) -> None:
    """After the first it is computed alone; no other failure is held against it."""
    desk.queue_up("run", 1)
    desk.fail(desk.take(), STORAGE)
    clock.step(10**6)
    desk.service.outcomes.promote()
    (claim,) = desk.take()
    assert not claim.alone
    assert desk.fail([claim], DIED) == [UnitState.READY]
    (claim,) = desk.take()
    assert (claim.alone, claim.deaths) == (True, 1)
    assert desk.fail([claim], DIED) == [UnitState.DEAD]


def test_what_is_computed_alone_stays_so(desk: Desk, clock: Clock) -> None:
    """Whatever it fails at later: it has killed a worker, and the others' units with it."""
    desk.queue_up("run", 1)
    desk.fail(desk.take(), DIED)
    desk.fail(desk.take(), STORAGE)
    clock.step(10**6)
    desk.service.outcomes.promote()
    (claim,) = desk.take()
    assert (claim.alone, claim.deaths) == (True, 1)


def test_what_is_too_large_is_cut_into_twice_as_many_pieces_each_time(desk: Desk) -> None:
    """As far as it can be, so that it fits after few attempts."""
    desk.queue_up("run", 1)
    too_large = Failure(FailureClass.OUT_OF_MEMORY, "MemoryError", most_pieces=8)
    pieces = []
    for _ in range(5):
        (claim,) = desk.take()
        pieces.append(claim.pieces)
        desk.fail([claim], too_large)
    assert pieces == [1, 1, 2, 4, 8]
    assert desk.take() == []


def test_a_wait_ends_when_it_is_over(desk: Desk, steady: Service, clock: Clock) -> None:
    """Until then nobody is given the unit; each wait is twice as long as the one before."""
    desk.queue_up("run", 1)
    assert steady.outcomes.promote() is None
    for attempt in range(1, 9):
        wait = 2.0 ** (attempt - 1)
        (claim,) = desk.take(by=steady)
        assert claim.attempt == attempt
        assert desk.fail([claim], STORAGE, by=steady) == [UnitState.FAILED]
        assert steady.outcomes.promote() == pytest.approx(wait)
        clock.step(wait - 0.25)
        assert steady.outcomes.promote() == pytest.approx(0.25)
        assert steady.claim(1) == []
        clock.step(0.25)
        assert steady.outcomes.promote() is None
    assert desk.fail(desk.take(by=steady), STORAGE, by=steady) == [UnitState.DEAD]


def test_the_next_of_several_waits_is_told(desk: Desk, steady: Service, clock: Clock) -> None:
    """Those that are over are ready, whoever had failed at them."""
    desk.queue_up("run", 2)
    one, two = desk.take(by=steady)
    desk.fail([one], STORAGE, by=steady)
    clock.step(0.5)
    desk.fail([two], STORAGE, by=steady)
    assert desk.service.outcomes.promote() == pytest.approx(0.5)
    clock.step(0.6)
    assert desk.service.outcomes.promote() == pytest.approx(0.4)
    assert [each.unit for each in desk.take()] == [one.unit]


def test_there_is_an_end_to_all_retries(desk: Desk) -> None:
    """Whatever the rules say."""
    rules = [RetryRule(retries=1000, wait_seconds=0.0)]
    tireless = Service(desk.database, policy=RetryPolicy(rules, most_retries=3))
    desk.queue_up("run", 1)
    kinds = [*FailureClass] * 2
    outcomes = []
    while claims := desk.take(by=tireless):
        outcomes += desk.fail(claims, Failure(kinds.pop(), "again"), by=tireless)
    assert outcomes == [UnitState.READY] * 3 + [UnitState.DEAD]


def test_a_job_with_dead_letters_has_failed_when_all_else_is_published(desk: Desk) -> None:
    """One unit that fails does not keep the others from being computed."""
    job = desk.queue_up("run", 4)
    one, two, three, four = desk.take()
    desk.publish([one])
    desk.kill([two])
    desk.publish([three])
    assert desk.state(job) == "ready"
    desk.publish([four])
    assert (desk.state(job), desk.job(job).error) == ("failed", None)
    assert desk.states() == {"done": 3, "dead": 1}


def test_a_job_whose_last_unit_dies_has_failed(desk: Desk) -> None:
    """The last one to be over ends the job, whichever way."""
    job = desk.queue_up("run", 2)
    one, two = desk.take()
    desk.publish([one])
    desk.kill([two])
    assert desk.state(job) == "failed"


@pytest.mark.parametrize("allowed", [0, 2])
def test_too_many_dead_letters_end_a_job(desk: Desk, allowed: int) -> None:
    """What is left is cancelled, also what is being computed, and the reason is kept."""
    job = desk.queue_up("run", 6, failures_allowed=allowed)
    after = desk.queue_up("later", 1, after=[job])
    claims = desk.take(5)
    desk.publish(claims[:1])
    if allowed:
        desk.kill(claims[1 : 1 + allowed])
    assert desk.state(job) == "ready"
    desk.kill(claims[1 + allowed : 2 + allowed])
    assert desk.state(job) == "failed"
    dead = allowed + 1
    error = f"given up after {dead} dead letters, of which {allowed} are allowed"
    assert (desk.job(job).error, desk.job(job).ended_at) == (error, NOON)
    assert desk.states() == {"done": 1, "dead": dead, "cancelled": 5 - dead}
    assert desk.publish(claims) == []
    assert desk.job(after).error == f"job {job} has failed"


def test_a_job_that_is_given_up_leaves_what_others_want(desk: Desk) -> None:
    """They have their own number of failures that are allowed."""
    strict = desk.queue_up("run", 3, failures_allowed=0)
    patient = desk.submit("run", key="patient")
    desk.plan("run", 3)
    (first, *others) = desk.take(2)
    desk.kill([first])
    assert (desk.state(strict), desk.state(patient)) == ("failed", "ready")
    desk.publish(others)
    desk.publish(desk.take())
    assert (desk.states(), desk.state(patient)) == ({"dead": 1, "done": 2}, "failed")


def test_failures_while_a_job_is_paused_count_when_it_goes_on(desk: Desk) -> None:
    """What was begun goes on, and its end is taken in."""
    job = desk.queue_up("run", 3, failures_allowed=0)
    claims = desk.take(2)
    desk.jobs.pause(job)
    desk.kill(claims[:1])
    desk.publish(claims[1:])
    assert (desk.state(job), desk.states()) == ("paused", {"dead": 1, "done": 1, "ready": 1})
    desk.jobs.resume(job)
    assert (desk.state(job), desk.states()) == ("failed", {"dead": 1, "done": 1, "cancelled": 1})


WHOLE, FLOAT = '{"table": {"n": "int64"}}', '{"table": {"n": "double"}}'
EMPTY, UNTYPED = '{"table": null}', '{"table": {"n": null}}'


def test_a_part_of_another_form_is_refused_and_its_unit_has_failed(desk: Desk) -> None:
    """In the transaction that publishes the others, be they of one batch or of several."""
    job = desk.queue_up("run", 4)
    claims = desk.take()
    found = desk.publish_forms(claims[:3], WHOLE, FLOAT, WHOLE)
    assert [type(each) for each in found] == [Published, Refused, Published]
    assert desk.states() == {"done": 2, "dead": 1, "running": 1}
    (last,) = desk.publish_forms(claims[3:], FLOAT)
    assert isinstance(last, Refused)
    assert last.state == UnitState.DEAD
    assert last.failure.error == "OutputError: 'n' is double, and int64 in the parts before"
    dead = [each for each in desk.units() if each.state == "dead"]
    assert [(each.part, each.rows) for each in dead] == [(None, None)] * 2
    assert all(each.error and each.error.startswith(last.failure.error) for each in dead)
    assert desk.state(job) == "failed"
    with desk.database.read() as connection:
        attempts = connection.execute(sa.select(ATTEMPTS.c.failure)).scalars().all()
    assert attempts == ["invalid"] * 2


def test_what_says_little_of_its_form_leaves_it_to_others(desk: Desk) -> None:
    """A table without rows, or a column without values, may come before or after those that have."""
    desk.queue_up("run", 7)
    found = desk.publish_forms(
        desk.take(), EMPTY, UNTYPED, EMPTY, WHOLE, UNTYPED, EMPTY, '{"arrays": {}}'
    )
    assert [type(each) for each in found] == [*[Published] * 6, Refused]
    with desk.database.read() as connection:
        assert connection.execute(sa.select(RESULTS.c.form)).scalar_one() == WHOLE


def test_each_result_has_a_form_of_its_own(desk: Desk) -> None:
    """Units of several results that are published together are each compared with theirs."""
    desk.queue_up("a", 1)
    desk.queue_up("b", 1)
    assert {type(each) for each in desk.publish_forms(desk.take(), WHOLE, FLOAT)} == {Published}


def test_a_part_of_another_form_takes_no_place(desk: Desk) -> None:
    """What was published over the same frames stays so, though other data were read there."""
    desk.queue_up("run", 2)
    desk.publish_forms(desk.take(), WHOLE, WHOLE)
    desk.submit("run")
    add(desk, "anew", 0)
    (refused,) = desk.publish_forms(desk.take(), FLOAT)
    assert isinstance(refused, Refused)
    assert [each.state for each in desk.units() if each.part is not None] == ["done", "done"]


def test_a_late_part_of_another_form_changes_nothing(desk: Desk) -> None:
    """Who does not hold the unit any more can neither publish it nor let it fail."""
    job = desk.queue_up("run", 2)
    first, second = desk.take()
    desk.publish_forms([first], WHOLE)
    desk.service.hand_back([second])
    before = desk.everything()
    late = [(second, desk.part(FLOAT), 1.0)]
    assert desk.service.outcomes.publish(late) == {}
    assert desk.everything() == before
    assert desk.state(job) == "ready"


def test_with_force_the_first_part_says_the_form_anew(desk: Desk) -> None:
    """What is computed anew may have been wrong."""
    desk.queue_up("run", 2)
    desk.publish_forms(desk.take(), WHOLE, WHOLE)
    desk.submit("run", force=True)
    found = desk.publish_forms(desk.take(), FLOAT, WHOLE)
    assert [type(each) for each in found] == [Published, Refused]
