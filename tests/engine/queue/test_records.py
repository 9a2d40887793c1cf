"""Records: what is told of jobs, results and units."""

from collections.abc import Callable

import pytest
from tests.engine.queue.desk import FRAMES, NOON, SECOND, Clock, Desk, target

from forebay.engine import Blockwise, WholeRun
from forebay.engine.errors import JobError, UnknownJobError
from forebay.engine.queue.dead import DeadLetters
from forebay.engine.queue.explain import explain
from forebay.engine.queue.found import slowest_unit
from forebay.engine.queue.ledger import UnitRecord
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.submission import Submission, Target
from forebay.engine.unit import Job


def test_progress_counts_units_frames_runs_and_time(desk: Desk) -> None:
    """Over all runs of a job, by state; what was superseded does not count."""
    job = desk.submit("a", "b", "c")
    assert desk.jobs.progress(job).total == 0
    assert (desk.jobs.progress(job).results, desk.jobs.progress(job).planned) == (3, 0)
    desk.plan("a", 3)
    desk.plan("b", 2, complete=False)
    desk.planning.fail(target("c").job.identity, "no run")
    claims = desk.take(4)
    desk.publish(claims[:2])
    desk.kill(claims[2:3])
    found = desk.jobs.progress(job)
    assert found.units == {"done": 2, "dead": 1, "running": 1, "ready": 1}
    assert found.frames == {state: number * FRAMES for state, number in found.units.items()}
    assert (found.total, found.count(UnitState.DONE, UnitState.DEAD)) == (5, 3)
    assert found.count() == 0
    assert (found.results, found.planned, found.errors) == (3, 1, ("no run",))
    assert found.seconds == 4.0


def test_tallies_of_several_jobs_are_what_their_progress_says(desk: Desk) -> None:
    """Also where jobs ask for the same runs, and where nothing is known of one yet."""
    first, second, third = desk.submit("a", "b"), desk.submit("a", "c"), desk.submit("d")
    desk.plan("a", 3)
    desk.plan("b", 2)
    desk.publish(desk.take(2))
    found = desk.jobs.tallies([first, second, third, 4711])
    for job in (first, second, third, 4711):
        progress = desk.jobs.progress(job)
        assert (found[job].units, found[job].results) == (progress.units, progress.results)
    assert (found[first].total, found[second].total, found[third].total) == (5, 3, 0)
    assert desk.jobs.tallies([]) == {}


def test_progress_of_nothing_is_nothing(desk: Desk) -> None:
    """A job that is not there has no units."""
    found = desk.jobs.progress(4711)
    assert (found.total, found.results, found.seconds, found.errors) == (0, 0, 0.0, ())


def test_jobs_are_found(desk: Desk) -> None:
    """By state, owner and labels, the newest first, and no more than asked for."""
    a = desk.submit("a", owner="ada", labels={"sample": "x", "day": "1"})
    b = desk.submit("b", owner="ada", labels={"sample": "y"})
    c = desk.submit("c", owner="bob", labels={"sample": "x"})
    desk.jobs.pause(b)
    desk.jobs.cancel(c)

    def found(**how: object) -> list[int]:
        return [each.job for each in desk.jobs.find(**how)]  # type: ignore[arg-type]

    assert found() == [c, b, a]
    assert found(limit=2) == [c, b]
    assert found(states=["ready", "paused"]) == [b, a]
    assert found(states=iter(["cancelled"])) == [c]
    assert found(owner="ada") == [b, a]
    assert found(owner="") == []
    assert found(labels={"sample": "x"}) == [c, a]
    assert found(labels={"sample": "x", "day": "1"}) == [a]
    assert found(labels={"day": "2"}) == []
    assert found(labels={"sample": "x"}, states=["ready"], owner="ada") == [a]
    assert found(labels={"sample": "x"}, limit=1) == [c]
    assert desk.jobs.find()[2] == desk.job(a)


def test_what_a_job_asks_for_comes_back_as_it_was(desk: Desk) -> None:
    """What it needs and its parameters survive the database, in the order of the runs' names."""
    tiles = Blockwise(halo_frames=2, tile_pixels=64, halo_pixels=3)
    parameters = {"box": [1, 2], "name": None, "µ": {"a": True, "b": 1e-300}}
    asked = [
        Target(
            Job(f"id {name}", name, "blur", "1.0.0", needs, parameters), f"/{name}", f"/r/{name}"
        )
        for name, needs in (("b", tiles), ("a", WholeRun()), ("c", Blockwise()))
    ]
    job, _ = desk.jobs.submit(Submission(targets=asked))
    assert desk.jobs.results(job) == [asked[1], asked[0], asked[2]]
    assert desk.jobs.results(4711) == []
    for each in asked:
        assert desk.ledger.job(each.job.identity) == each.job


def test_a_run_that_was_moved_is_found_where_it_is_now(desk: Desk) -> None:
    """The last to ask for a result says where its run and its folder lie."""
    first = desk.submit("run")
    moved = Target(target().job, "/elsewhere/run", "/elsewhere/results")
    second, _ = desk.jobs.submit(Submission(targets=[moved], key="again"))
    assert desk.jobs.results(first) == desk.jobs.results(second) == [moved]


def test_what_is_not_known_is_not_there(desk: Desk) -> None:
    """An unknown result has no job, no units and no parts."""
    assert desk.ledger.job("nobody") is None
    assert desk.ledger.units("nobody") == []
    assert desk.ledger.parts("nobody") == frozenset()


def test_parts_are_those_that_are_published(desk: Desk) -> None:
    """Of this result, and of no other."""
    desk.queue_up("a", 3)
    desk.queue_up("b", 1)
    claims = desk.take()
    desk.publish(claims[:2])
    desk.kill(claims[2:3])
    desk.publish(claims[3:])
    assert desk.ledger.parts(target("a").job.identity) == {"part 1", "part 2"}
    assert desk.ledger.parts(target("b").job.identity) == {"part 3"}


def test_latency_is_known_of_what_is_published(desk: Desk, clock: Clock) -> None:
    """From the last frame to the published part."""
    desk.queue_up("run", 2)
    assert [each.latency for each in desk.units()] == [None, None]
    clock.step(2.5)
    desk.publish(desk.take())
    assert [each.latency for each in desk.units()] == pytest.approx([2.5, 1.5])


def test_a_unit_tells_when_it_was_begun_and_ended(desk: Desk, clock: Clock) -> None:
    """Of its last attempt."""
    desk.queue_up("run", 1)
    (fresh,) = desk.units()
    assert isinstance(fresh, UnitRecord)
    assert (fresh.began_at, fresh.ended_at, fresh.published_at) == (None, None, None)
    clock.step(1)
    claims = desk.take()
    assert desk.units()[0].began_at == NOON + SECOND
    clock.step(1)
    desk.fail(claims)
    clock.step(1)
    desk.publish(desk.take())
    (done,) = desk.units()
    assert (done.began_at, done.ended_at) == (NOON + 3 * SECOND, NOON + 3 * SECOND)
    assert done.attempt == 2


@pytest.mark.parametrize("number", [10**9, 0, -1, 2**63, 10**30, -(10**30)])
def test_a_job_that_is_not_there_is_told_whatever_its_number(desk: Desk, number: int) -> None:
    """Also one that no database can hold."""
    desk.queue_up("run", 1)
    asked: list[Callable[[], object]] = [
        lambda: desk.jobs.get(number),
        lambda: desk.jobs.cancel(number),
        lambda: desk.jobs.retry(number),
        lambda: explain(desk.database, number),
        lambda: DeadLetters(desk.database).find(job=number),
        lambda: slowest_unit(desk.database, number),
    ]
    for ask in asked:
        with pytest.raises(UnknownJobError, match=f"there is no job {number} "):
            ask()


def test_a_class_of_failures_that_is_none_is_told(desk: Desk) -> None:
    """Nothing would be found, which says that nothing has failed."""
    with pytest.raises(JobError, match="no class of failures 'raise'; there are raised, invalid"):
        DeadLetters(desk.database).find(failure="raise")
    assert DeadLetters(desk.database).find(failure="raised", limit=10**30) == []
