"""Finding a unit, however it stands: by its name, or the one that took longest."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from forebay.engine.errors import UnknownJobError
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import job_of
from forebay.engine.queue.schema import JOB_RESULTS, RESULTS, UNITS
from forebay.engine.queue.submission import Target, target_of

SHORTEST_NAME = 6
"""Characters of a unit's identity that name it at least."""


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit, and where it belongs."""

    unit: str
    """Its identity."""
    start: int
    """First frame."""
    stop: int
    """Frame after the last one."""
    y: int
    """First row."""
    x: int
    """First column."""
    state: str
    """How it stands."""
    seconds: float | None
    """How long a worker was at it, if it is published."""
    target: Target
    """What it is a part of."""
    before: str | None
    """The unit whose state it goes on with."""


def unit_named(database: Database, name: str) -> FoundUnit:
    """Return a unit by the beginning of its identity.

    Raises
    ------
    UnknownJobError
        If there is none, or more than one.
    """
    if len(name) < SHORTEST_NAME or not name.isalnum():
        raise UnknownJobError(
            f"{name!r} does not name a unit: give at least {SHORTEST_NAME} characters of its "
            "identity, or a job (--job)"
        )
    query = _query().where(UNITS.c.unit.startswith(name)).limit(2)
    with database.read() as connection:
        rows = connection.execute(query).all()
    if len(rows) != 1:
        many = "more than one unit begins" if rows else "no unit begins"
        raise UnknownJobError(f"{many} with {name!r}: give more of its identity, or a job (--job)")
    return _found(rows[0])


def slowest_unit(database: Database, job: int) -> FoundUnit:
    """Return the unit of a job that a worker was at for longest.

    Raises
    ------
    UnknownJobError
        If there is no such job, or none of its units is published.
    """
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    query = (
        _query()
        .where(UNITS.c.result.in_(of_job), UNITS.c.seconds.is_not(None))
        .order_by(UNITS.c.seconds.desc(), UNITS.c.unit)
        .limit(1)
    )
    with database.read() as connection:
        job_of(connection, job)
        row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownJobError(
            f"no unit of job {job} is published, so that none is the slowest: name one, such as a "
            "dead letter ('forebay dead list')"
        )
    return _found(row)


def _query() -> sa.Select[Any]:
    return sa.select(UNITS, RESULTS).join(RESULTS, RESULTS.c.result == UNITS.c.result)


def _found(row: sa.Row[Any]) -> FoundUnit:
    return FoundUnit(
        unit=row.unit,
        start=row.start,
        stop=row.stop,
        y=row.y,
        x=row.x,
        state=row.state,
        seconds=row.seconds,
        target=target_of(row),
        before=row.before,
    )
