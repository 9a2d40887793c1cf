"""The loop that keeps a cluster at its size, with a batch system and workers in memory."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster.keeping.batch import FAILED, RUNNING, WAITING, Batch, People

from forebay.cluster.keeping.keeper import Keeper
from forebay.cluster.keeping.patience import Patience
from forebay.cluster.keeping.pool import Seen, Stage
from forebay.cluster.keeping.time_left import TimeLeft

PATIENCE = Patience(
    failed_starts=3,
    most_waiting=4,
    start_seconds=60,
    margin_seconds=100,
    stagger_seconds=10,
    vanished_seconds=30,
)


class Scene:
    """A keeper, what it keeps, and the time."""

    def __init__(self, *, chance: float = 0.0) -> None:
        self.batch, self.people, self.time = Batch(), People(), 0.0
        self.keeper = Keeper(
            self.batch,
            self.people,
            "gpus",
            patience=PATIENCE,
            clock=lambda: self.time,
            chance=lambda: chance,
        )

    def turn(self, *, after: float = 1.0) -> None:
        self.time += after
        asyncio.run(self.keeper.turn())

    def working(self, number: int) -> list[str]:
        """Have so many workers at work; return their jobs."""
        self.keeper.wanted = number
        self.turn()
        jobs = self.batch.there(Stage.WAITING)
        for job in jobs:
            self.run(job)
        self.turn()
        assert self.keeper.standing.working == number
        return jobs

    def run(self, job: str, **how: Any) -> str:
        """Let a job have its node, and its worker report."""
        self.batch.jobs[job] = RUNNING
        self.people.come(self.batch.names[job], **how)
        return self.batch.names[job]

    def leave(self, job: str, seen: Seen) -> None:
        """Let a job end, and its worker with it."""
        self.batch.jobs[job] = seen
        self.people.members.pop(self.batch.names[job], None)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_wanted_is_asked_for_once(scene: Scene) -> None:
    """A job that waits is not asked for again, and no more wait than may."""
    scene.keeper.wanted = 9
    for _ in range(3):
        scene.turn()
    assert len(scene.batch.there(Stage.WAITING)) == PATIENCE.most_waiting
    assert scene.keeper.standing.notes == ("jobs wait: Resources",)
    for job in scene.batch.there():
        scene.run(job)
    scene.turn()
    assert len(scene.batch.there()) == 2 * PATIENCE.most_waiting


@pytest.mark.parametrize(
    "end",
    [
        Seen(Stage.OVER, "CANCELLED", given_up=True),
        Seen(Stage.OVER, "NODE_FAIL", given_up=True),
        FAILED,
        Seen(Stage.OVER, "TIMEOUT"),
    ],
    ids=lambda end: end.state,
)
def test_a_worker_that_has_come_is_replaced_however_it_ends(scene: Scene, end: Seen) -> None:
    """At once, as often as it happens, and it is no failed start."""
    (job,) = scene.working(1)
    for _ in range(2 * PATIENCE.failed_starts):
        scene.leave(job, end)
        scene.turn()
        (job,) = scene.batch.there()
        scene.run(job)
        scene.turn()
    assert scene.keeper.standing.working == 1
    assert scene.keeper.standing.stopped_because == ""


def test_a_job_that_the_batch_system_has_forgotten_is_replaced(scene: Scene) -> None:
    (job,) = scene.working(1)
    del scene.batch.jobs[job]
    scene.people.members.clear()
    scene.turn()
    assert len(scene.batch.there()) == 1


def test_one_that_goes_back_into_the_queue_is_waited_for(scene: Scene) -> None:
    """It comes again under the same number: another one in its place would be one too many."""
    (job,) = scene.working(1)
    scene.leave(job, WAITING)
    scene.turn(after=1000)
    assert scene.batch.there() == [job]
    assert scene.keeper.standing.waiting == 1
    scene.run(job)
    scene.turn(after=PATIENCE.start_seconds - 1)
    assert scene.keeper.standing.working == 1


def test_while_the_batch_system_is_silent_nothing_is_taken_for_gone(scene: Scene) -> None:
    """The workers that were there may be there still; what is missing is asked for after it."""
    (job,) = scene.working(1)
    scene.batch.silent = True
    scene.keeper.wanted = 2
    for _ in range(3):
        scene.turn(after=1000)
    scene.batch.silent = False
    assert len(scene.batch.jobs) == 1
    said = [note for note in scene.keeper.standing.notes if "does not answer" in note]
    assert len(said) == 1
    scene.turn()
    assert len(scene.batch.there()) == 2
    assert job in scene.batch.there()


def test_starts_that_fail_end_with_the_reason(scene: Scene) -> None:
    """After a few no more are asked for, until somebody says so."""
    scene.keeper.wanted = 1
    for number in range(20):
        scene.turn(after=100)
        for job in scene.batch.there():
            scene.batch.jobs[job] = FAILED
        assert len(scene.batch.jobs) <= min(number + 1, PATIENCE.failed_starts)
    assert scene.keeper.standing.stopped_because == (
        "3 jobs in a row have brought no worker, so no more are asked for; the last: job 102 ended "
        "(FAILED) without a worker; it said: python: not found"
    )
    scene.keeper.go_on()
    scene.turn(after=100)
    assert len(scene.batch.there()) == 1


def test_after_a_failed_start_the_next_one_waits_and_comes_alone(scene: Scene) -> None:
    """So that a broken script costs a few jobs, not hundreds."""
    scene.keeper.wanted = 3
    scene.turn()
    first = scene.batch.there()
    scene.batch.jobs[first[0]] = FAILED
    scene.turn(after=0.1)
    scene.turn(after=0.1)
    assert len(scene.batch.jobs) == 3
    for job in first[1:]:
        scene.run(job)
    scene.turn(after=5)
    assert len(scene.batch.jobs) == 4


def test_what_is_refused_counts_as_a_start_that_failed(scene: Scene) -> None:
    scene.batch.refusal = "sbatch: invalid account"
    scene.keeper.wanted = 5
    for _ in range(6):
        scene.turn(after=100)
    assert scene.keeper.standing.stopped_because.endswith("the last: sbatch: invalid account")


def test_a_worker_that_never_reports_is_a_start_that_failed(scene: Scene) -> None:
    """Its job is cancelled, since it would take its node for nothing."""
    scene.keeper.wanted = 1
    scene.turn()
    (job,) = scene.batch.there()
    scene.batch.jobs[job] = RUNNING
    scene.turn()
    scene.turn(after=PATIENCE.start_seconds + 1)
    assert scene.batch.jobs[job].given_up
    assert "its worker has not reported" in scene.keeper.standing.notes[0]


def test_a_job_whose_worker_has_gone_is_cancelled(scene: Scene) -> None:
    """After a while: one that ends in order takes some time to."""
    (job,) = scene.working(1)
    scene.people.members.clear()
    scene.turn(after=PATIENCE.vanished_seconds - 5)
    assert scene.batch.there() == [job]
    scene.turn(after=10)
    assert scene.batch.jobs[job].given_up
    scene.turn()
    assert len(scene.batch.there()) == 1


def test_fewer_are_wanted_and_only_those_without_work_go(scene: Scene) -> None:
    """Jobs that wait go first; a worker that computes stays until it has nothing to do."""
    one, two = scene.working(2)
    scene.keeper.wanted = 3
    scene.turn()
    scene.keeper.wanted = 0
    scene.turn()
    assert scene.batch.there() == [one, two]
    assert scene.people.home == []
    scene.people.rest(scene.batch.names[two])
    scene.turn()
    assert scene.people.home == [scene.batch.names[two]]
    # Its job would take seconds to end by itself.
    assert scene.batch.there() == [one]


def test_a_worker_that_comes_just_now_is_not_cancelled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun a unit while the batch system was asked about another job."""
    scene.keeper.wanted = 2
    scene.turn()
    failed, coming = scene.batch.there()
    scene.batch.jobs |= {failed: FAILED, coming: RUNNING}
    scene.keeper.wanted = 0

    async def slow(job: str, name: str) -> str:
        scene.people.come(scene.batch.names[coming])
        return f"the last words of {name}, job {job}"

    monkeypatch.setattr(scene.batch, "story", slow)
    scene.turn()
    assert scene.batch.there() == [coming]
    scene.people.rest(scene.batch.names[coming])
    scene.turn()
    assert scene.batch.there() == []


def test_one_whose_time_is_nearly_up_finishes_what_it_has(scene: Scene) -> None:
    """Another one is asked for at once, and it goes when it has nothing to do."""
    (job,) = scene.working(1)
    name = scene.batch.names[job]
    scene.batch.jobs[job] = replace(RUNNING, seconds_left=PATIENCE.margin_seconds + 1)
    scene.turn()
    assert scene.people.held == []
    scene.batch.jobs[job] = replace(RUNNING, seconds_left=PATIENCE.margin_seconds - 1)
    scene.turn()
    assert scene.people.held == [name]
    assert scene.people.home == []
    assert len(scene.batch.there()) == 2
    scene.people.rest(name)
    scene.turn()
    assert scene.people.home == [name]
    assert scene.batch.jobs[job].given_up


def test_one_whose_time_is_not_enough_for_any_unit_gives_its_place_up(scene: Scene) -> None:
    """Its workers are told what time they have; one in its place has all of it."""
    (job,) = scene.working(1)
    name, life = scene.batch.names[job], 10_000 - PATIENCE.margin_seconds / 2
    assert scene.people.left[name] == TimeLeft(life, life)
    scene.keeper.unit_seconds = 1000.0
    scene.batch.jobs[job] = replace(RUNNING, seconds_left=1100.0)
    scene.turn()
    assert scene.people.held == []
    assert scene.people.left[name] == TimeLeft(1050.0, life)
    scene.batch.silent = True
    scene.turn(after=30)
    assert scene.people.left[name] == TimeLeft(1020.0, life)
    scene.batch.silent = False
    scene.batch.jobs[job] = replace(RUNNING, seconds_left=1000.0)
    scene.turn()
    assert scene.people.held == [name]
    assert len(scene.batch.there()) == 2


def test_units_that_take_longer_than_any_job_lasts_do_not_make_all_of_them_leave(
    scene: Scene,
) -> None:
    """They may begin where a job is new."""
    (job,) = scene.working(1)
    scene.keeper.unit_seconds = 50_000.0
    scene.batch.jobs[job] = replace(RUNNING, seconds_left=9500.0)
    scene.turn()
    assert scene.people.held == []
    scene.batch.jobs[job] = replace(RUNNING, seconds_left=8000.0)
    scene.turn()
    assert scene.people.held == [scene.batch.names[job]]


def test_each_leaves_by_another_time_before_its_end() -> None:
    """By up to `stagger_seconds`."""
    late = Scene(chance=0.99)
    (job,) = late.working(1)
    late.batch.jobs[job] = replace(RUNNING, seconds_left=PATIENCE.margin_seconds + 9)
    late.turn()
    assert late.people.held == [late.batch.names[job]]


def test_a_sick_node_takes_no_more_work_and_no_more_jobs(scene: Scene) -> None:
    (job,) = scene.working(1)
    name = scene.batch.names[job]
    scene.people.come(name, complaint="GPU 0: 3 memory errors that could not be corrected")
    scene.turn()
    assert scene.people.held == [name]
    assert scene.batch.without[-1] == ["n1"]
    assert "n1 takes no more work: GPU 0: 3 memory errors" in scene.keeper.standing.notes[0]


def test_a_node_that_was_sick_may_be_mended(scene: Scene) -> None:
    """A cluster runs for weeks: after an hour jobs may go there again."""
    (job,) = scene.working(1)
    scene.people.come(scene.batch.names[job], complaint="its disk is full")
    scene.turn()
    assert scene.batch.without[-1] == ["n1"]
    (other,) = scene.batch.there(Stage.WAITING)
    scene.leave(other, FAILED)
    scene.turn(after=3600.0)
    scene.turn(after=3600.0)
    assert scene.batch.without[-1] == []


def test_what_was_just_asked_for_may_be_unknown_for_a_moment(scene: Scene) -> None:
    """As an instance of EC2 is; later it is gone, and that is a start that failed."""
    scene.keeper.wanted = 1
    scene.turn()
    (job,) = scene.batch.there()
    unknown = scene.batch.jobs.pop(job)
    scene.turn(after=PATIENCE.vanished_seconds / 2)
    assert scene.batch.jobs == {}
    scene.batch.jobs[job] = unknown
    scene.run(job)
    scene.turn()
    assert scene.keeper.standing.working == 1
    assert not scene.keeper.standing.notes
    del scene.batch.jobs[job]
    scene.turn()
    assert len(scene.batch.there()) == 1
    scene.batch.jobs.clear()
    scene.turn(after=PATIENCE.vanished_seconds + 1)
    assert "ended (gone) without a worker" in scene.keeper.standing.notes[-1]


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.RUNNING])
def test_what_was_not_heard_is_cancelled_again(scene: Scene, stage: Stage) -> None:
    """Else it would go on, and cost, for as long as the cluster does."""
    scene.keeper.wanted = 1
    scene.turn()
    (job,) = scene.batch.there()
    scene.batch.jobs[job] = WAITING if stage is Stage.WAITING else RUNNING
    scene.turn()
    scene.keeper.wanted = 0
    scene.batch.deaf = True
    scene.turn()
    assert scene.batch.there() == [job]
    scene.batch.deaf = False
    scene.turn()
    assert scene.batch.there() == []


def test_workers_with_other_versions_stop_it(scene: Scene) -> None:
    """Each of them would fail at everything: the list of what differs is the reason."""
    scene.keeper.wanted = 1
    for _ in range(20):
        scene.turn(after=100)
        for job in scene.batch.there(Stage.WAITING):
            scene.run(job, unfit="its worker has dask 2020.1.0, this side has 2026.7.1")
    assert scene.batch.there() == []
    assert len(scene.batch.jobs) == PATIENCE.failed_starts
    assert "dask 2020.1.0, this side has 2026.7.1" in scene.keeper.standing.stopped_because


def test_jobs_of_an_earlier_keeper_are_cancelled(scene: Scene) -> None:
    """Their workers look for a scheduler that is gone."""
    scene.batch.jobs["7"] = RUNNING
    scene.turn()
    assert scene.batch.jobs["7"].given_up


def test_at_the_end_nothing_is_left(scene: Scene) -> None:
    scene.working(2)
    scene.keeper.wanted = 3
    scene.turn()
    asyncio.run(scene.keeper.end())
    assert scene.batch.there() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["want", "run", "end", "requeue", "rest", "silent", "turn"]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_there_are_never_more_than_wanted_beside_those_that_leave(
    steps: list[tuple[str, int]],
) -> None:
    """Whatever happens in whatever order; and once it is calm, there are as many as wanted."""
    scene = Scene()
    for what, number in steps:
        there = scene.batch.there()
        job = there[number % len(there)] if there else None
        match what:
            case "want":
                scene.keeper.wanted = number
            case "run" if job:
                scene.run(job)
            case "end" if job:
                scene.people.come(scene.batch.names[job])
                scene.turn()
                scene.leave(job, FAILED)
            case "requeue" if job:
                scene.leave(job, WAITING)
            case "rest" if job and scene.batch.names[job] in scene.people.members:
                scene.people.rest(scene.batch.names[job])
            case "silent":
                scene.batch.silent = number > 2
        before = len(scene.batch.jobs)
        busy = sum(not each.idle for each in scene.people.members.values())
        scene.turn()
        asked = len(scene.batch.jobs) - before
        standing = scene.keeper.standing
        count = standing.waiting + standing.starting + standing.working
        assert asked == 0 or count <= scene.keeper.wanted
        # Nobody who computes is ever sent away for there being too many.
        assert sum(not each.idle for each in scene.people.members.values()) == busy
    scene.batch.silent = False
    # Jobs that ended while nobody could see their workers come count as starts that failed.
    scene.keeper.go_on()
    scene.keeper.wanted = 2
    for _ in range(8):
        for name in list(scene.people.members):
            scene.people.rest(name)
        scene.turn(after=100)
        for job in scene.batch.there(Stage.WAITING):
            scene.run(job, idle=True)
        for job in scene.batch.there(Stage.RUNNING):
            if scene.batch.names[job] in scene.people.home:
                scene.leave(job, Seen(Stage.OVER, "COMPLETED"))
    # What has failed at its start too often in a row stays stopped, and says so.
    expected = 0 if scene.keeper.standing.stopped_because else 2
    assert len(scene.batch.there()) == expected
