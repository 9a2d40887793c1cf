"""What a claim and a publication cost does not grow with the jobs that wait."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.engine.queue.desk import Desk

from forebay.engine.queue.database import Database
from forebay.engine.queue.explain import explain
from forebay.engine.queue.waiting import waiting as what_waits

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


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Desk]:
    """Queues of few jobs and of many, for tests that only look at them."""
    folder = tmp_path_factory.mktemp("untouched")
    return waiting(folder, _FEW), waiting(folder, _MANY)


@pytest.fixture
def asked() -> Iterator[list[tuple[str, Any]]]:
    """Keep the statements that a database is asked, with what is bound in them."""
    kept: list[tuple[str, Any]] = []

    def keep(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        kept.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", keep)
    yield kept
    sa.event.remove(sa.Engine, "before_cursor_execute", keep)


def test_what_waits_is_asked_in_as_many_statements_with_many_jobs_as_with_few(
    untouched: tuple[Desk, Desk], asked: list[tuple[str, Any]]
) -> None:
    """On a server a statement for each result would be a message for each."""
    numbers = []
    for desk, jobs in zip(untouched, (_FEW, _MANY), strict=True):
        asked.clear()
        assert len(what_waits(desk.database).results) == jobs
        numbers.append(len(asked))
    few, many = numbers
    assert many == few > 0


def test_to_explain_a_job_counts_no_units_of_jobs_behind_it(
    untouched: tuple[Desk, Desk], steps: Count
) -> None:
    """The next one is told its place as quickly, whatever else waits."""
    few, many = (steps(partial(explain, desk.database, 1)) for desk in untouched)
    assert (many - few) / (_MANY - _FEW) < 50


def test_how_a_job_stands_is_told_from_an_index_alone(
    untouched: tuple[Desk, Desk], asked: list[tuple[str, Any]]
) -> None:
    """A look at each of a million units takes three times as long."""
    desk, _ = untouched
    assert desk.jobs.progress(1).total == 3
    ((statement, bound),) = [each for each in asked if "sum(units.seconds)" in each[0]]
    with desk.database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", bound).all()
    assert any("USING COVERING INDEX units_to_take" in row.detail for row in plan), plan
