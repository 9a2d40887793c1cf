"""Results that nobody works on: no job asks for them, and none of their units is open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.states import ENDED_JOBS, OPEN_UNITS

_asking = (
    sa.select(sa.func.min(JOBS.c.job))
    .join(JOB_RESULTS, JOB_RESULTS.c.job == JOBS.c.job)
    .where(JOB_RESULTS.c.result == RESULTS.c.result, JOBS.c.state.not_in(ENDED_JOBS))
    .correlate(RESULTS)
    .scalar_subquery()
)
_open = (
    sa.select(UNITS.c.unit)
    .where(UNITS.c.result == RESULTS.c.result, UNITS.c.state.in_(OPEN_UNITS))
    .correlate(RESULTS)
    .exists()
)
_last = (
    sa.select(sa.func.max(UNITS.c.published_at))
    .where(UNITS.c.result == RESULTS.c.result, UNITS.c.part.is_not(None))
    .correlate(RESULTS)
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Resting:
    """A result that nobody works on."""

    result: str
    """Its identity."""
    folder: Path
    """Where it lies."""
    published_at: int
    """When the last of its parts was published, in nanoseconds since 1970-01-01 UTC."""


def resting(database: Database) -> list[Resting]:
    """Return the results with published parts that nobody works on."""
    query: sa.Select[Any] = sa.select(RESULTS.c.result, RESULTS.c.folder, _last).where(
        RESULTS.c.folder.is_not(None), _last.is_not(None), _asking.is_(None), ~_open
    )
    with database.read() as connection:
        return [
            Resting(result, Path(folder), last)
            for result, folder, last in connection.execute(query)
        ]


def worked_on(database: Database, result: str) -> str | None:
    """Return why a result is not to be touched: who works on it; None if nobody does."""
    query = sa.select(_asking, _open).where(RESULTS.c.result == result)
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row[0] is not None:
        return f"job {row[0]} publishes into it: wait for it, or cancel it ('forebay jobs cancel')"
    return "some of its units are still to be computed" if row[1] else None
