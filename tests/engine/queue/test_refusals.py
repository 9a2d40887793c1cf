"""What cannot be used: the error names the ledger and the cause, and is one of ours."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from tests.engine.queue import others
from tests.engine.queue.desk import Desk, Place, target
from tests.engine.queue.servers import Server

from forebay.engine.errors import LedgerError
from forebay.engine.queue.database import Changes, Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.leases import Service
from forebay.engine.queue.submission import Submission


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "'' is no database: give the path of an SQLite file, or 'postgresql"),
        ("nonsense", "'nonsense' is no database"),
        ("postgresql://host:port/name", "is no database"),
        ("mysql://host/name", "a ledger cannot be kept in mysql: use PostgreSQL or SQLite"),
        ("http://host/name", "a ledger cannot be kept in http"),
        ("sqlite://", "a ledger is kept in a file, not in memory"),
        ("sqlite:///:memory:", "a ledger is kept in a file, not in memory"),
        ("postgresql://u@127.0.0.1:1/d?colour=blue", 'invalid connection option "colour"'),
    ],
)
def test_what_is_no_database_is_refused(url: str, message: str) -> None:
    """Whatever somebody writes into a configuration."""
    with pytest.raises(LedgerError, match=message):
        Database(url)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """At once, where nobody listens."""
    with pytest.raises(LedgerError, match=r"u:\*\*\*@127\.0\.0\.1:1/d cannot be used") as refused:
        Database("postgresql+psycopg://u:secret@127.0.0.1:1/d")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.postgres
def test_a_database_that_is_not_on_the_server_is_named(postgresql_server: Server) -> None:
    """The message is the server's own."""
    with pytest.raises(LedgerError, match='database "nowhere" does not exist'):
        Database(postgresql_server.url("nowhere"))


def test_without_its_driver_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match="install forebay with the extra 'postgres'"):
        Database("postgresql://u@127.0.0.1:1/d")


@pytest.mark.parametrize(
    "url", ["postgresql://{}", "postgresql+psycopg://{}", "postgresql+psycopg2://{}"]
)
@pytest.mark.postgres
def test_however_the_driver_is_called_it_is_the_one_that_is_there(
    postgresql_server: Server, url: str
) -> None:
    """Whoever writes the URL need not know which one forebay uses."""
    with postgresql_server.database("drivers") as known:
        Database(url.format(known.partition("://")[2])).close()


def test_an_sqlite_url_is_as_good_as_a_path(tmp_path: Path) -> None:
    """Also one that names another driver."""
    path = tmp_path / "new folder" / "ledger.sqlite"
    with Database(f"sqlite+aiosqlite:///{path}") as database:
        job, _ = Jobs(database).submit(Submission(targets=[target()]))
        assert database.name == str(path)
    with Database(path, create=False) as database:
        assert Jobs(database).get(job).job == job


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    """Nor can one be made below a file."""
    with pytest.raises(LedgerError, match=f"the ledger {tmp_path} cannot be used: unable to open"):
        Database(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=rf"the folder {tmp_path}/file cannot be made: .*--res"):
        Database(tmp_path / "file" / "ledger.sqlite")


def test_what_is_not_to_be_made_has_to_be_there(empty_place: Place) -> None:
    """The message says that it is no ledger; and nothing is made."""
    with pytest.raises(
        LedgerError, match=r"is not a ledger: it has none of its tables; .* makes them|^there is no"
    ):
        Database(empty_place, create=False)
    if isinstance(empty_place, Path):
        assert not empty_place.exists()
        empty_place.touch()
        with pytest.raises(
            LedgerError, match=r"is not a ledger: it has none of its tables; .* makes them"
        ):
            Database(empty_place, create=False)


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    """And stays as it is."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match=f"{path} cannot be used: file is not a database"):
        Database(path)
    assert path.read_bytes() == b"not a database" * 100


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A ledger in a file with some units in it."""
    path = tmp_path / "ledger.sqlite"
    with Database(path) as database:
        desk = Desk(database)
        desk.queue_up("run", 300)
        desk.service.end()
    return path


def test_a_damaged_file_is_refused_when_its_damage_is_met(written: Path) -> None:
    """Whatever is asked of it."""
    content = bytearray(written.read_bytes())
    content[8192:] = bytes(byte ^ 0x5A for byte in content[8192:])
    written.write_bytes(content)
    with pytest.raises(LedgerError, match=r"malformed|corrupt|not a database"):
        use(written)


def use(path: Place) -> None:
    """Read and write a ledger."""
    with Database(path, create=False) as database:
        Desk(database).queue_up("other", 3)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Be a user who may write nothing, for the time of the block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_written_is_refused() -> None:
    """The message is the database's own."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "ledger.sqlite"
        use_new(path)
        path.chmod(0o444)
        Path(temporary).chmod(0o555)
        with (
            as_somebody_else(),
            pytest.raises(LedgerError, match=r"readonly database|unable to open"),
        ):
            use(path)
        Path(temporary).chmod(0o755)


def test_a_folder_that_may_not_be_written_is_blamed_and_not_the_ledger() -> None:
    """It is that of the results, and there is no ledger yet with which anything could be wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "results"
        place.mkdir()
        for folder in (place, Path(temporary)):
            folder.chmod(0o555)
        with as_somebody_else():
            for folder, cause in ((place, "written"), (place / "more", "made")):
                wanted = (
                    rf"^the folder {folder} cannot be {cause}: [Pp]ermission denied; .*--results"
                )
                with pytest.raises(LedgerError, match=wanted):
                    Database(folder / "ledger.sqlite")
        Path(temporary).chmod(0o755)


def use_new(path: Path) -> None:
    """Make a ledger, and use it."""
    Database(path).close()
    use(path)


def test_a_full_disk_is_an_error_and_loses_nothing(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    """What was written before is there, and when there is room it goes on."""
    path = tmp_path / "ledger.sqlite"
    ear, mouth = processes.Pipe(duplex=False)
    process = processes.Process(target=others.fill_the_disk, args=(path, mouth))
    process.start()
    mouth.close()
    error, (first, *numbers), state = ear.recv()
    process.join()
    assert error.startswith(f"the ledger {path} cannot be used: ")
    assert error.endswith("; check the database and its space")
    assert (first, set(numbers), state) == (100, {0, 100}, "done")


def test_errors_of_others_pass_through(desk: Desk) -> None:
    """What goes wrong within a transaction is not taken for an error of the database."""
    with pytest.raises(LedgerError, match=r"^mine$"), desk.database.write():
        raise LedgerError("mine")
    with pytest.raises(ZeroDivisionError), desk.database.read():
        raise ZeroDivisionError


def test_more_connections_than_there_are_is_an_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while of waiting, and not for ever."""
    with Database(place) as database:
        pool = database._engine.pool
        monkeypatch.setattr(pool, "_timeout", 0.1)
        held = [database.raw() for _ in range(15)]
        with pytest.raises(LedgerError, match="cannot be used: QueuePool limit"):
            Service(database)
        for each in held:
            each.close()
        Service(database).end()


def be_cut_off(database: Database, server: Server) -> None:
    """Lose all connections to a database in the middle of a transaction."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'broken'"
    with database.write() as connection:
        server.execute(cut)
        database.announce(connection)


def look_for_long(changes: Changes) -> None:
    """Look whether there are changes, until the connection is known to be cut."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        changes.look()
        time.sleep(0.001)


@pytest.mark.postgres
def test_a_server_that_goes_away_is_an_error_until_it_is_back(postgresql_server: Server) -> None:
    """Its connections are made anew, and what tells of changes says that it cannot any more."""
    with postgresql_server.database("broken") as url, Database(url) as database:
        desk = Desk(database)
        changes = database.changes()
        with pytest.raises(LedgerError, match="cannot be used"):
            be_cut_off(database, postgresql_server)
        with pytest.raises(LedgerError, match="cannot be used"):
            look_for_long(changes)
        changes.close()
        assert desk.state(desk.queue_up("run", 1)) == "ready"
        changes = database.changes()
        assert changes.look() in {True, False}
        changes.close()
