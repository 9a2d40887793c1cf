"""The ledger: which units are done, and where their parts lie.

A unit is published by one transaction, and only by the attempt that last began it: a later
attempt fences the earlier ones off.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forebay.engine.errors import LedgerError
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, Unit

_METADATA = sa.MetaData()

_JOBS = sa.Table(
    "jobs",
    _METADATA,
    sa.Column("job", sa.String, primary_key=True, comment="identity of the job"),
    sa.Column("run_id", sa.String, nullable=False, index=True),
    sa.Column("run_name", sa.String, nullable=False),
    sa.Column("algorithm", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
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
    sa.Column("state", sa.String, nullable=False, comment="running, done, failed, superseded"),
    sa.Column("attempt", sa.Integer, nullable=False, comment="the attempt that may write"),
    sa.Column("part", sa.String, comment="folder of the published part"),
    sa.Column("part_blake3", sa.String),
    sa.Column("part_bytes", sa.BigInteger),
    sa.Column("rows", sa.BigInteger),
    sa.Column("error", sa.String, comment="why the last attempt failed"),
    sa.Column("taken_at", sa.BigInteger, nullable=False, comment="when its last frame was taken"),
    sa.Column("began_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger, comment="when it was published or failed"),
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
    state: str
    """``running``, ``done``, ``failed`` or ``superseded``."""
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
    """When it was published or failed."""

    @property
    def latency(self) -> float | None:
        """Seconds from the last frame to the published part."""
        return None if self.ended_at is None else (self.ended_at - self.taken_at) / 1e9


class Ledger:
    """The durable record of units, in one database."""

    def __init__(self, path: Path, *, now: Callable[[], int] = time.time_ns) -> None:
        """Open the ledger at `path`, making it where there is none.

        Raises
        ------
        LedgerError
            If it cannot be opened.
        """
        self._path = path
        self._now = now
        self._engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": 30}
        )
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "begin", _begin)
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
        insert = sa.dialects.sqlite.insert(_JOBS).values(row).on_conflict_do_nothing()
        with self._write() as connection:
            connection.execute(insert)

    def job(self, identity: str) -> Job | None:
        """Return a job, or None where it is unknown."""
        columns = [_JOBS.c[name] for name in Job.__dataclass_fields__]
        with self._read() as connection:
            row = connection.execute(
                sa.select(*columns).where(_JOBS.c.job == identity)
            ).one_or_none()
        return None if row is None else Job(*row)

    def units(self, job: str) -> list[UnitRecord]:
        """Return what is known of the units of a job, in the order of their frames."""
        columns = [_UNITS.c[name] for name in UnitRecord.__dataclass_fields__]
        query = sa.select(*columns).where(_UNITS.c.job == job).order_by(_UNITS.c.label)
        with self._read() as connection:
            return [UnitRecord(*row) for row in connection.execute(query)]

    def done(self, job: str) -> set[str]:
        """Return the identities of the units of a job that are done."""
        query = sa.select(_UNITS.c.unit).where(_UNITS.c.job == job, _UNITS.c.state == "done")
        with self._read() as connection:
            return set(connection.execute(query).scalars())

    def begin(self, unit: Unit) -> int:
        """Begin an attempt at a unit and return its number; earlier ones can no longer publish."""
        values = {
            "unit": unit.identity,
            "job": unit.job.identity,
            "label": unit.label,
            "start": unit.core.t.start,
            "stop": unit.core.t.stop,
            "state": "running",
            "attempt": 1,
            "taken_at": unit.taken_at,
            "began_at": self._now(),
        }
        insert = sa.dialects.sqlite.insert(_UNITS).values(values)
        begin = insert.on_conflict_do_update(
            index_elements=["unit"],
            set_={
                # A part that is published stays so until another takes its place.
                "state": sa.case((_UNITS.c.part.is_not(None), _UNITS.c.state), else_="running"),
                "attempt": _UNITS.c.attempt + 1,
                "began_at": insert.excluded.began_at,
            },
        ).returning(_UNITS.c.attempt)
        with self._write() as connection:
            return int(connection.execute(begin).scalar_one())

    def publish(self, unit: Unit, attempt: int, part: Part, *, supersede: bool) -> list[str] | None:
        """Publish a part; None if a later attempt has begun, and then nothing has changed.

        Parameters
        ----------
        unit
            The unit.
        attempt
            The attempt that computed the part.
        part
            The part, in its place.
        supersede
            Whether it takes the place of every other unit of its job too.

        Returns
        -------
        list of str or None
            Parts that it has taken the place of.
        """
        mine = sa.and_(_UNITS.c.unit == unit.identity, _UNITS.c.attempt == attempt)
        others = sa.and_(
            _UNITS.c.job == unit.job.identity,
            _UNITS.c.unit != unit.identity,
            _UNITS.c.state == "done",
        )
        with self._write() as connection:
            before = connection.execute(sa.select(_UNITS.c.part).where(mine)).one_or_none()
            if before is None:
                return None
            replaced = [part for part in before if part is not None]
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
                    ended_at=self._now(),
                )
            )
            if supersede:
                replaced += connection.execute(sa.select(_UNITS.c.part).where(others)).scalars()
                values = {"state": "superseded", "part": None}
                connection.execute(_UNITS.update().where(others).values(values))
        return replaced

    def fail(self, unit: Unit, attempt: int, error: str) -> bool:
        """Note that an attempt failed; False if a later one has begun.

        A part that an earlier attempt published stays published.
        """
        mine = sa.and_(_UNITS.c.unit == unit.identity, _UNITS.c.attempt == attempt)
        state = sa.case((_UNITS.c.part.is_not(None), _UNITS.c.state), else_="failed")
        values = {"state": state, "error": error, "ended_at": self._now()}
        with self._write() as connection:
            return connection.execute(_UNITS.update().where(mine).values(values)).rowcount == 1

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.connect() as connection:
            with connection.execution_options(writes=True).begin():
                yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DatabaseError, OSError) as error:
            cause = error.orig if isinstance(error, sa.exc.DatabaseError) else error
            raise LedgerError(
                f"the ledger {self._path} cannot be used: {cause}; check the folder and its space"
            ) from error


def _prepare(connection: Any, record: object) -> None:
    """Set a fresh connection up: durable commits, and writers that wait for each other."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: sa.Connection) -> None:
    """Take the write lock at the beginning, so that no transaction fails in its middle."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
