"""Databases to test the queue with: SQLite, and a real PostgreSQL server."""

import multiprocessing
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from tests.engine.queue.desk import NOON, Clock, Desk, OpenDatabase, Place
from tests.engine.queue.servers import Server, quick_folder, running_server

from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import METADATA

ROOT = Path(__file__).parents[3]
BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


class Ledger:
    """A ledger that one test after the other has for itself.

    Emptying it is faster than making it, and what SQLAlchemy has compiled stays.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.clock = Clock()
        self._opened: list[Database] = []

    def open(self, number: int) -> Database:
        """Return the ledger opened once more, as another process would."""
        while number >= len(self._opened):
            self._opened.append(Database(self.place, now=self.clock))
        return self._opened[number]

    def empty(self) -> None:
        """Delete everything that is in it."""
        self.clock.time = NOON
        with self.open(0).write() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(sa.delete(table))

    def close(self) -> None:
        """Close it, as often as it was opened."""
        for each in self._opened:
            each.close()


@pytest.fixture(scope="session")
def processes() -> Iterator[ForkServerContext]:
    """Starts processes that have imported everything, or find it where the tests are."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.queue.others", "alembic.command"])
    with pytest.MonkeyPatch.context() as patch:
        # The processes may be forked from one that was started for a cluster.
        patch.setattr(sys, "path", [*sys.path, str(ROOT)])
        yield context


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL server."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_ledger(postgresql_server: Server) -> Iterator[Ledger]:
    """A ledger on the server."""
    with postgresql_server.database("ledger") as url:
        ledger = Ledger(url)
        yield ledger
        ledger.close()


@pytest.fixture(scope="session")
def sqlite_ledger() -> Iterator[Ledger]:
    """A ledger in a file."""
    with TemporaryDirectory(prefix="fb-", dir=quick_folder()) as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite")
        yield ledger
        ledger.close()


@pytest.fixture(params=BACKENDS)
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """A ledger with nothing in it, in SQLite and in PostgreSQL."""
    shared: Ledger = request.getfixturevalue(f"{request.param}_ledger")
    shared.empty()
    return shared


@pytest.fixture
def place(ledger: Ledger) -> Place:
    """Where the ledger is."""
    return ledger.place


@pytest.fixture
def clock(ledger: Ledger) -> Clock:
    """The time that the ledger goes by, however often it is opened."""
    return ledger.clock


@pytest.fixture
def open_database(ledger: Ledger) -> OpenDatabase:
    """Open the ledger once more, as another process would."""
    numbers = iter(range(100))
    return lambda: ledger.open(next(numbers))


@pytest.fixture
def database(open_database: OpenDatabase) -> Database:
    """A ledger with nothing in it, in SQLite and in PostgreSQL."""
    return open_database()


@pytest.fixture
def desk(database: Database) -> Desk:
    """The queue, and a service that works on it."""
    return Desk(database)


@pytest.fixture(params=BACKENDS)
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a ledger can be made, and nothing is yet."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql_server")
        with server.database("nothing") as url:
            yield url
    else:
        yield tmp_path / "ledger.sqlite"
