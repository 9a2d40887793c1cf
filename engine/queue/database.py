"""The database of the queue: SQLite on one machine, PostgreSQL for several."""

import contextlib
import importlib.resources
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from forebay.engine.errors import LedgerError
from forebay.engine.queue.schema import REVISION, make_tables
from forebay.errors import ForebayError
from forebay.tiering.catalogue.migrating import MIGRATING

_WAIT_SECONDS = 30.0
"""How long a writer waits for another one."""
_IDLE_SECONDS = 10.0
"""How long PostgreSQL lets a writer hold up the others while it does nothing."""
_RETRY_SECONDS = 0.01
_CACHE_KIBIBYTES = 32_768
"""Most memory that a connection to an SQLite file keeps of it."""
_WRITER_LOCK = 0x666F7265
"""Number of the advisory lock that PostgreSQL's writer holds."""
_CHANNEL = "forebay"
_BEGAN = "forebay.began"
_SECONDS = sa.extract("epoch", sa.func.clock_timestamp())
_LOCK = sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK), _SECONDS)

_log = logging.getLogger("forebay.engine")


class Database:
    """A database in which every change is one durable transaction.

    Parameters
    ----------
    where
        Path of an SQLite file, or an SQLAlchemy URL (``postgresql+psycopg://user@host/name``).
    create
        Whether to make the tables where there are none.
    now
        Source of times in nanoseconds; PostgreSQL's own clock is asked if not given.

    Raises
    ------
    LedgerError
        If it cannot be opened, or was made by a newer forebay.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Database(Path(folder) / "ledger.sqlite") as database:
    ...         database.dialect
    'sqlite'
    """

    def __init__(
        self,
        where: Path | str,
        *,
        create: bool = True,
        now: Callable[[], int] | None = None,
    ) -> None:
        url = _url(where)
        self.dialect = url.get_backend_name()
        """``sqlite`` or ``postgresql``."""
        self._now = now if now or self.dialect == "postgresql" else time.time_ns
        self.name = str(url.database) if self.dialect == "sqlite" else url.render_as_string()
        """What it is called in messages; a password is left out."""
        self._url = url
        self._engine = _engine(url)
        try:
            with self.errors():
                if self.dialect == "sqlite" and create:
                    _make_folder(Path(self.name))
                elif self.dialect == "sqlite" and not Path(self.name).exists():
                    # SQLite would make it.
                    raise LedgerError(f"there is no ledger at {self.name}")
                self._bring_up_to_date(create=create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Give a connection whose changes are durable, all of them, when the block ends."""
        with (
            self.errors(),
            self._engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            self._lock(connection)
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the tables."""
        with self.errors(), self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def now(self, connection: sa.Connection) -> int:
        """Return the time, in nanoseconds since 1970-01-01 UTC, by the clock that all share.

        While something is written, it is the time at which that began.
        """
        if self._now is not None:
            return self._now()
        if connection.get_execution_options().get("writes"):
            return int(connection.info[_BEGAN])
        return _nanoseconds(connection.execute(sa.select(_SECONDS)).scalar_one())

    def announce(self, connection: sa.Connection) -> None:
        """Tell the other services, when the transaction is done, that there may be work."""
        if self.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_notify(_CHANNEL, "")))

    def changes(self) -> "Changes":
        """Return what tells of work that others have brought."""
        return NotifiedChanges(self) if self.dialect == "postgresql" else FileChanges(self)

    def raw(self) -> Any:
        """Return a connection of the driver, which the caller closes."""
        with self.errors():
            return self._engine.raw_connection()

    @property
    def _driver(self) -> Any:
        return self._engine.dialect.dbapi

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise the database's errors as ours."""
        try:
            yield
        except ForebayError:
            raise
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, self._driver.Error, OSError) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            text = " ".join(str(cause).split())
            raise LedgerError(
                f"the ledger {self.name} cannot be used: {text}; check the database and its space"
            ) from error

    def _bring_up_to_date(self, *, create: bool) -> None:
        with self._engine.connect() as connection:
            if _revision(connection) == REVISION:
                return
        if not create and not sa.inspect(self._engine).has_table("units"):
            raise LedgerError(
                f"{self.name} is not a ledger: it has none of its tables; 'forebay serve' or the "
                "first job makes them in an empty database"
            )
        with self._engine.connect() as connection:
            # References are not looked at while tables are taken to pieces and put together.
            self._check_references(connection, yes=False)
            with connection.execution_options(writes=True).begin(), MIGRATING:
                self._lock(connection)
                self._migrate(connection)
            self._check_references(connection, yes=True)

    def _lock(self, connection: sa.Connection) -> None:
        """Let one writer in at a time, as SQLite does.

        Two that look at the same job at once would each see the other's unit as not done yet, and
        neither would end the job.
        """
        if self.dialect == "postgresql":
            # The time is asked for in the same breath, once the lock is there.
            connection.info[_BEGAN] = _nanoseconds(connection.execute(_LOCK).one()[1])

    def _check_references(self, connection: sa.Connection, *, yes: bool) -> None:
        if self.dialect == "sqlite":
            driver: Any = connection.connection
            driver.execute(f"PRAGMA foreign_keys={'ON' if yes else 'OFF'}")

    def _migrate(self, connection: sa.Connection) -> None:
        known = _revision(connection)
        there = sa.inspect(connection).has_table("units")
        if known is None and not there:
            # All migrations one after the other make the same, which is tested, and take longer.
            make_tables(connection)
            return
        # Few calls need this, and it takes longer to import than to open a database.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        folder = importlib.resources.files("forebay.engine.queue") / "migrations"
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        if known is None:
            # Made before there were migrations.
            command.stamp(config, "0001")
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise LedgerError(
                f"the ledger {self.name} was made by a newer forebay (its tables are those of "
                f"revision {known}): use that one"
            ) from error


class Changes:
    """Tells whether others have changed the tables."""

    def look(self) -> bool:
        """Tell whether something may have changed since the last look; never waits."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the connection."""


class FileChanges(Changes):
    """The changes that other connections make to an SQLite file.

    The connections of its own database are looked through, so that what the thread that looks has
    written itself is not told of: its writes take the same connection, nearly always.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.look()

    def look(self) -> bool:
        """Compare SQLite's number of the last change by somebody else, for one connection."""
        with self._database.errors(), contextlib.closing(self._database.raw()) as connection:
            now = connection.cursor().execute("PRAGMA data_version").fetchone()[0]
            before, connection.info[self] = connection.info.get(self), now
        return bool(before != now)


class NotifiedChanges(Changes):
    """What PostgreSQL tells of the changes that others announce."""

    def __init__(self, database: Database) -> None:
        self._database = database
        pooled = database.raw()
        self._connection = pooled.driver_connection
        # It is this one's for good.
        pooled.detach()
        with database.errors():
            self._connection.set_autocommit(True)
            self._connection.execute(f"LISTEN {_CHANNEL}")

    def look(self) -> bool:
        """Take in what was told."""
        with self._database.errors():
            return bool([*self._connection.notifies(timeout=0)])

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self._connection.close()


def plain(text: str) -> str:
    r"""Return a text as every database can keep it: what is no character becomes its number.

    Examples
    --------
    >>> plain("5 µm")
    '5 µm'
    >>> print(plain("\udcff"))
    \udcff
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _url(where: Path | str) -> sa.URL:
    if isinstance(where, Path):
        return sa.URL.create("sqlite", database=str(where))
    try:
        url = sa.make_url(where)
        backend = url.get_backend_name()
    except (sa.exc.ArgumentError, ValueError) as error:
        raise LedgerError(
            f"{where!r} is no database: give the path of an SQLite file, or "
            "'postgresql+psycopg://user@host/name'"
        ) from error
    if backend not in {"sqlite", "postgresql"}:
        raise LedgerError(f"a ledger cannot be kept in {backend}: use PostgreSQL or SQLite")
    if backend == "sqlite" and url.database in {None, "", ":memory:"}:
        raise LedgerError("a ledger is kept in a file, not in memory: give its path")
    return url


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "postgresql":
        try:
            engine = sa.create_engine(
                url.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                # A writer that has waited for another one sees what that one has done.
                isolation_level="READ COMMITTED",
                connect_args={"connect_timeout": int(_WAIT_SECONDS)},
            )
        except ImportError as error:
            raise LedgerError(
                f"PostgreSQL cannot be used: {error}; install forebay with the extra 'postgres'"
            ) from error
        sa.event.listen(engine, "connect", _bound_waiting)
        return engine
    engine = sa.create_engine(
        url.set(drivername="sqlite"),
        connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False},
        # Who works alone has the same one each time, by which others' changes are told from its own.
        pool_use_lifo=True,
    )
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "close", _let_go)
    return engine


def _nanoseconds(seconds: Any) -> int:
    return int(seconds * 1_000_000_000)


def _make_folder(ledger: Path) -> None:
    """Make the folder of a ledger; refuse one in which no ledger can be made.

    By default it is the folder of the results, and that is what has to be mended then.
    """
    folder = ledger.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cause = ""
    except OSError as error:
        cause = f"the folder {folder} cannot be made: {error.strerror}"
    may = os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    if not cause and not may and not ledger.exists():
        only_read = os.statvfs(folder).f_flag & os.ST_RDONLY
        why = "its file system is read-only" if only_read else "permission denied"
        cause = f"the folder {folder} cannot be written: {why}"
    if cause:
        raise LedgerError(
            f"{cause}; the ledger {ledger.name} was to be made there: let it be written, or choose "
            "another folder (--results, or --ledger for the ledger alone)"
        )


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _bound_waiting(connection: Any, _: object) -> None:
    """Let nobody wait for ever, nor for somebody who does nothing."""
    for name, seconds in (
        ("lock_timeout", _WAIT_SECONDS),
        ("idle_in_transaction_session_timeout", _IDLE_SECONDS),
    ):
        connection.execute(f"SET {name} = {int(seconds * 1000)}")
    connection.commit()


def _prepare(connection: Any, _: object) -> None:
    """Set a fresh connection up: durable commits, and writers that wait for each other."""
    connection.isolation_level = None
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # What a batch touches, of a table and its indexes, is more than the 2 MiB that are usual.
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIBIBYTES}")


def _write_ahead(connection: Any) -> None:
    """Switch to a write-ahead log; SQLite itself does not wait here for who does it already."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _let_go(connection: Any, _: object) -> None:
    """End what a connection has begun before it is closed.

    SQLite keeps a closed connection, with its lock, while a statement is not read to its end; and
    one that Ctrl-C has interrupted lives as long as the traceback.
    """
    connection.rollback()


def _begin(connection: sa.Connection) -> None:
    """Take the write lock at the beginning, so that no transaction fails in its middle."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
