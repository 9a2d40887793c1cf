"""The ledger: which units are done, and where their parts lie.

A unit is published by one transaction, and only by the attempt that last began it: a later
attempt fences the earlier ones off.  What is published stays so until another part takes its
place, whatever becomes of later attempts.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from forebay.engine.algorithm import Blockwise, WholeRun
from forebay.engine.errors import LedgerError
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, Unit

_WAIT_SECONDS = 30.0
"""How long a writer waits for another one."""
_RETRY_SECONDS = 0.01

_METADATA = sa.MetaData()

_JOBS = sa.Table(
    "jobs",
    _METADATA,
    sa.Column("job", sa.String, primary_key=True, comment="identity of the job"),
    sa.Column("run_id", sa.String, nullable=False, index=True),
    sa.Column("run_name", sa.String, nullable=False),
    sa.Column("algorithm", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("needs", sa.JSON, nullable=False, comment="of Blockwise; empty for whole runs"),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False, comment="ns since 1970-01-01 UTC"),
)

_UNITS = sa.Table(
    "units",
    _METADATA,
    sa.Column("unit", sa.String, primary_key=True, comment="identity of the unit"),
    sa.Column("job", sa.String, sa.ForeignKey("jobs.job"), nullable=False, index=True),
    sa.Column("label", sa.String, nullable=False, comment="frames and tile"),
    sa.Column("start", sa.BigInteger, nullable=False, comment="first frame"),
    sa.Column("stop", sa.BigInteger, nullable=False, comment="frame after the last"),
    sa.Column("y", sa.BigInteger, nullable=False, comment="first row of pixels"),
    sa.Column("x", sa.BigInteger, nullable=False, comment="first column of pixels"),
    sa.Column("state", sa.String, nullable=False, comment="running, done, failed, superseded"),
    sa.Column("attempt", sa.Integer, nullable=False, comment="the attempt that may write"),
    sa.Column("part", sa.String, comment="folder of the published part"),
    sa.Column("part_blake3", sa.String),
    sa.Column("part_bytes", sa.BigInteger),
    sa.Column("rows", sa.BigInteger),
    sa.Column("error", sa.String, comment="why the last attempt failed"),
    sa.Column("taken_at", sa.BigInteger, nullable=False, comment="when its last frame was taken"),
    sa.Column("began_at", sa.BigInteger, nullable=False, comment="when the last attempt began"),
    sa.Column("ended_at", sa.BigInteger, comment="when the last attempt that ended did so"),
    sa.Column("published_at", sa.BigInteger, comment="when its part was published"),
)


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """What the ledger knows of a unit."""

    unit: str
    """Its identity."""
    label: str
    """Its frames and tile."""
    start: int
    """Its first frame."""
    stop: int
    """The frame after its last one."""
    y: int
    """Its first row of pixels."""
    x: int
    """Its first column of pixels."""
    state: str
    """How the last attempt stands: ``running`` (also if its process died), ``done`` or
    ``failed``; ``superseded`` if a part of the same frames, read anew, has taken its place."""
    attempt: int
    """How often it was begun."""
    part: str | None
    """Folder of its published part."""
    part_blake3: str | None
    """Digest of the part's manifest."""
    part_bytes: int | None
    """Size of the part."""
    rows: int | None
    """Rows, where the part is a table."""
    error: str | None
    """Why the last attempt failed."""
    taken_at: int
    """When its last frame was taken, in nanoseconds since 1970-01-01 UTC."""
    began_at: int
    """When the last attempt began."""
    ended_at: int | None
    """When the last attempt that ended did so."""
    published_at: int | None
    """When its part was published."""

    @property
    def latency(self) -> float | None:
        """Seconds from the last frame to the published part."""
        return None if self.published_at is None else (self.published_at - self.taken_at) / 1e9


class Ledger:
    """The durable record of units, in one database."""

    def __init__(
        self, path: Path, *, create: bool = True, now: Callable[[], int] = time.time_ns
    ) -> None:
        """Open the ledger at `path`, making it where there is none if `create` says so.

        Raises
        ------
        LedgerError
            If it cannot be opened.
        """
        self._path = path
        self._now = now
        self._engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            connect_args={"timeout": _WAIT_SECONDS},
        )
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "begin", _begin)
        if create:
            with self._errors():
                path.parent.mkdir(parents=True, exist_ok=True)
                with self._write() as connection:
                    _METADATA.create_all(connection)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def add_job(self, job: Job) -> None:
        """Note a job; nothing changes if it is known."""
        row = {"job": job.identity, "created_at": self._now(), **asdict(job)}
        insert = sqlite.insert(_JOBS).values(row).on_conflict_do_nothing()
        with self._write() as connection:
            connection.execute(insert)

    def job(self, identity: str) -> Job | None:
        """Return a job, or None where it is unknown."""
        columns = [_JOBS.c[name] for name in Job.__dataclass_fields__]
        with self._read() as connection:
            row = connection.execute(
                sa.select(*columns).where(_JOBS.c.job == identity)
            ).one_or_none()
        if row is None:
            return None
        needs = Blockwise(**row.needs) if row.needs else WholeRun()
        return Job(**{**row._asdict(), "needs": needs})

    def units(self, job: str) -> list[UnitRecord]:
        """Return what is known of the units of a job, in the order of their frames and tiles."""
        columns = [_UNITS.c[name] for name in UnitRecord.__dataclass_fields__]
        order = _UNITS.c.start, _UNITS.c.y, _UNITS.c.x, _UNITS.c.began_at
        query = sa.select(*columns).where(_UNITS.c.job == job).order_by(*order)
        with self._read() as connection:
            return [UnitRecord(*row) for row in connection.execute(query)]

    def done(self, job: str) -> frozenset[str]:
        """Return the identities of the units of a job that have a published part."""
        query = sa.select(_UNITS.c.unit).where(_UNITS.c.job == job, _UNITS.c.part.is_not(None))
        with self._read() as connection:
            return frozenset(connection.execute(query).scalars())

    def begin(self, unit: Unit) -> int:
        """Begin an attempt at a unit and return its number; earlier ones can no longer publish."""
        values = {
            "unit": unit.identity,
            "job": unit.job.identity,
            "label": unit.label,
            "start": unit.core.t.start,
            "stop": unit.core.t.stop,
            "y": unit.core.y.start,
            "x": unit.core.x.start,
            "state": "running",
            "attempt": 1,
            "taken_at": unit.taken_at,
            "began_at": self._now(),
        }
        insert = sqlite.insert(_UNITS).values(values)
        begin = insert.on_conflict_do_update(
            index_elements=["unit"],
            set_={
                "state": "running",
                "attempt": _UNITS.c.attempt + 1,
                "began_at": insert.excluded.began_at,
            },
        ).returning(_UNITS.c.attempt)
        with self._write() as connection:
            return int(connection.execute(begin).scalar_one())

    def publish(self, unit: Unit, attempt: int, part: Part) -> list[str] | None:
        """Publish a part, if its attempt still runs and no later one has begun.

        It takes the place of the unit's earlier part, and of those of units over the same frames
        that had read other data, as after a block was lost and taken anew.

        Returns
        -------
        list of str or None
            The parts that it has taken the place of; None if nothing was published.
        """
        others = sa.and_(
            _UNITS.c.job == unit.job.identity,
            _UNITS.c.unit != unit.identity,
            _UNITS.c.part.is_not(None),
            _UNITS.c.start < unit.core.t.stop,
            _UNITS.c.stop > unit.core.t.start,
            _UNITS.c.y == unit.core.y.start,
            _UNITS.c.x == unit.core.x.start,
        )
        with self._write() as connection:
            mine = _running(unit, attempt)
            before = connection.execute(sa.select(_UNITS.c.part).where(mine)).one_or_none()
            if before is None:
                return None
            now = self._now()
            replaced = [
                *(name for name in before if name is not None),
                *connection.execute(sa.select(_UNITS.c.part).where(others)).scalars(),
            ]
            values = {"state": "superseded", "part": None}
            connection.execute(_UNITS.update().where(others).values(values))
            connection.execute(
                _UNITS.update()
                .where(mine)
                .values(
                    state="done",
                    part=part.name,
                    part_blake3=part.blake3,
                    part_bytes=part.bytes,
                    rows=part.rows,
                    error=None,
                    ended_at=now,
                    published_at=now,
                )
            )
        return replaced

    def fail(self, unit: Unit, attempt: int, error: str) -> bool:
        """Note that an attempt failed; False if it had ended, or a later one has begun."""
        values = {"state": "failed", "error": error, "ended_at": self._now()}
        with self._write() as connection:
            update = _UNITS.update().where(_running(unit, attempt)).values(values)
            return connection.execute(update).rowcount == 1

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with (
            self._errors(),
            self._engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DatabaseError, sqlite3.Error, OSError) as error:
            cause = error.orig if isinstance(error, sa.exc.DatabaseError) else error
            raise LedgerError(
                f"the ledger {self._path} cannot be used: {cause}; check the folder and its space"
            ) from error


def _running(unit: Unit, attempt: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        _UNITS.c.unit == unit.identity, _UNITS.c.attempt == attempt, _UNITS.c.state == "running"
    )


def _prepare(connection: Any, _: object) -> None:
    """Set a fresh connection up: durable commits, and writers that wait for each other."""
    connection.isolation_level = None
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


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


def _begin(connection: sa.Connection) -> None:
    """Take the write lock at the beginning, so that no transaction fails in its middle."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
