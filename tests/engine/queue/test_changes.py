"""Many connections: what one writes the others hear of, and each sees one state of the tables."""

import contextlib
import threading
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.engine.queue.desk import Desk, OpenDatabase, Place

from forebay.engine.queue.database import Changes, Database, NotifiedChanges
from forebay.engine.queue.schema import JOBS


def told(changes: Changes) -> bool:
    """Tell whether a change is told of; PostgreSQL needs a moment for it."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        if changes.look():
            return True
        time.sleep(0.001)
    return False


@pytest.mark.parametrize(
    "bring",
    [
        lambda desk: desk.submit("run"),
        lambda desk: desk.plan("other", 1),
        lambda desk: desk.jobs.reprioritise(desk.jobs.find()[0].job, priority=3),
        lambda desk: desk.jobs.pause(desk.jobs.find()[0].job),
        lambda desk: desk.jobs.cancel(desk.jobs.find()[0].job),
    ],
    ids=["submitted", "planned", "put elsewhere", "paused", "cancelled"],
)
def test_what_others_bring_is_told_of(
    desk: Desk, open_database: OpenDatabase, bring: Callable[[Desk], object]
) -> None:
    """Once, however often it is looked at afterwards; and there is none where nothing was."""
    desk.submit("other")
    changes = open_database().changes()
    try:
        assert [changes.look() for _ in range(3)] == [False] * 3
        bring(desk)
        bringing = [each.job for each in desk.jobs.find()]
        assert bringing
        assert told(changes)
        assert [changes.look() for _ in range(3)] == [False] * 3
    finally:
        changes.close()


def test_many_changes_are_told_of_at_once(desk: Desk, open_database: OpenDatabase) -> None:
    """A look takes in all that came before it."""
    changes = open_database().changes()
    try:
        for number in range(30):
            desk.submit(f"run {number}")
        arrived(changes)
        assert changes.look()
        assert not told_within(changes, 0.05)
    finally:
        changes.close()


def arrived(changes: Changes) -> None:
    """Return when all is there that was announced: PostgreSQL sends it ahead of an answer."""
    if isinstance(changes, NotifiedChanges):
        changes._connection.execute("SELECT 1")


def told_within(changes: Changes, seconds: float) -> bool:
    """Tell whether a change is told of soon."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if changes.look():
            return True
    return False


def test_what_is_not_done_is_not_told_of(desk: Desk, open_database: OpenDatabase) -> None:
    """A transaction that was given up has changed nothing."""
    changes = open_database().changes()
    try:
        with contextlib.suppress(ZeroDivisionError), desk.database.write() as connection:
            connection.execute(sa.update(JOBS).values(priority=3))
            desk.database.announce(connection)
            raise ZeroDivisionError
        assert not told_within(changes, 0.05)
    finally:
        changes.close()


def test_a_look_never_waits(database: Database) -> None:
    """It is taken at each turn of a service."""
    changes = database.changes()
    try:
        began = time.monotonic()
        for _ in range(100):
            changes.look()
        assert time.monotonic() - began < 20.0
    finally:
        changes.close()


def test_what_is_read_is_one_state(desk: Desk, open_database: OpenDatabase) -> None:
    """However many questions are asked, and whatever others write meanwhile."""
    job = desk.submit("run")
    priority = sa.select(JOBS.c.priority).where(JOBS.c.job == job)
    with open_database().read() as connection:
        before = connection.execute(priority).scalar_one()
        desk.jobs.reprioritise(job, priority=7)
        assert connection.execute(priority).scalar_one() == before == 0
    assert desk.job(job).priority == 7


def test_one_writer_at_a_time(desk: Desk, open_database: OpenDatabase) -> None:
    """The next one sees what the one before it has written."""
    job = desk.submit("run")
    other = open_database()
    began = threading.Event()
    added = sa.update(JOBS).where(JOBS.c.job == job)

    def add() -> None:
        began.set()
        with other.write() as connection:
            row = connection.execute(sa.select(JOBS.c.priority)).scalar_one()
            connection.execute(added.values(priority=row + 1))

    thread = threading.Thread(target=add)
    with desk.database.write() as connection:
        row = connection.execute(sa.select(JOBS.c.priority)).scalar_one()
        thread.start()
        began.wait()
        time.sleep(0.05)
        connection.execute(added.values(priority=row + 1))
    thread.join()
    assert desk.job(job).priority == 2


def test_without_a_clock_the_time_is_the_databases(place: Place) -> None:
    """In nanoseconds, and nearly that of this machine, where the server is on it."""
    before = time.time_ns()
    with Database(place) as database, database.write() as connection:
        now = database.now(connection)
        assert before - 10**9 < now < time.time_ns() + 10**9
        assert database.now(connection) >= now


def test_what_a_thread_writes_itself_is_not_told_of(
    desk: Desk, open_database: OpenDatabase
) -> None:
    """A service looked after everything anew whenever it had published something."""
    if desk.database.dialect == "postgresql":
        pytest.skip("it announces only what a service does not do for each unit")
    changes = desk.database.changes()
    desk.queue_up("run", 3)
    assert desk.publish(desk.take())
    assert not changes.look()
    with open_database() as elsewhere:
        Desk(elsewhere, desk.service).submit("other")
        desk.queue_up("another", 1)
        assert changes.look()
    assert not changes.look()
