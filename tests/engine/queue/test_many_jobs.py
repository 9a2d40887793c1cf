"""What a claim and a publication cost does not grow with the jobs that wait."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.engine.queue.desk import Desk

from forebay.engine.queue.database import Database

_FEW, _MANY = 5, 205

type Count = Callable[[Callable[[], object]], int]


@pytest.fixture
def steps() -> Iterator[Count]:
    """Count the steps of SQLite's machine that something takes."""
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1

    def counting(connection: object, *_: object) -> None:
        connection.set_progress_handler(step, 1)  # type: ignore[attr-defined]

    def count(work: Callable[[], object]) -> int:
        before = taken
        work()
        return taken - before

    sa.event.listen(sa.pool.Pool, "checkout", counting)
    yield count
    sa.event.remove(sa.pool.Pool, "checkout", counting)


def waiting(folder: Path, jobs: int) -> Desk:
    """Return a queue in which so many jobs over a run each wait, of three units."""
    desk = Desk(Database(folder / f"{jobs}.sqlite"))
    for number in range(jobs):
        desk.queue_up(f"run {number}", 3, key=f"{number}")
    return desk


def test_to_publish_takes_as_many_steps_with_many_jobs_as_with_few(
    tmp_path: Path, steps: Count
) -> None:
    """Only jobs that ask for what is published are looked at."""
    took = []
    for jobs in (_FEW, _MANY):
        desk = waiting(tmp_path, jobs)
        claims = desk.take(2)
        took.append(steps(partial(desk.publish, claims)))
    few, many = took
    assert many < 1.1 * few


def test_to_claim_looks_at_the_units_of_as_many_results_as_are_taken_from(
    tmp_path: Path, steps: Count
) -> None:
    """A job that waits behind others costs no more than its place in the order."""
    few, many = (steps(partial(waiting(tmp_path, jobs).take, 2)) for jobs in (_FEW, _MANY))
    assert (many - few) / (_MANY - _FEW) < 80
