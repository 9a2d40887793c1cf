"""What the ledger says of a result: its job, its units, and where their parts lie."""

from dataclasses import dataclass

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import RESULTS, UNITS
from forebay.engine.queue.submission import target_of
from forebay.engine.unit import Job


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
    """How it stands; see `forebay.engine.queue.states.UnitState`."""
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
    began_at: int | None
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
    """The durable record of what is done, read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def job(self, result: str) -> Job | None:
        """Return what a result is of, or None where it is unknown."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(RESULTS).where(RESULTS.c.result == result)
            ).one_or_none()
        return None if row is None else target_of(row).job

    def units(self, result: str) -> list[UnitRecord]:
        """Return what is known of the units of a result, in the order of their frames and tiles."""
        columns = [UNITS.c[name] for name in UnitRecord.__dataclass_fields__]
        order = UNITS.c.start, UNITS.c.y, UNITS.c.x, UNITS.c.began_at
        query = sa.select(*columns).where(UNITS.c.result == result).order_by(*order)
        with self._database.read() as connection:
            return [UnitRecord(*row) for row in connection.execute(query)]

    def part(self, unit: str) -> tuple[str, str] | None:
        """Return the folder and the digest of a unit's part; None if it is not published."""
        query = sa.select(UNITS.c.part, UNITS.c.part_blake3).where(
            UNITS.c.unit == unit, UNITS.c.part.is_not(None)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.part, row.part_blake3)

    def parts(self, result: str) -> frozenset[str]:
        """Return the published parts of a result."""
        query = sa.select(UNITS.c.part).where(UNITS.c.result == result, UNITS.c.part.is_not(None))
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())
