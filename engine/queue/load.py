"""The work that a ledger has seen, as a load that can be gone through again."""

import functools
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.waiting import folders_of

_LEAST_SECONDS = 1e-3


def recorded_load(database: Database) -> Iterator[dict[str, Any]]:
    """Return the units that were computed, in the order in which they could be begun.

    A unit could be begun when its last frame was there and the first job that asked for it was
    submitted; times are seconds since 1970-01-01 UTC.

    Yields
    ------
    dict
        ``at``, ``seconds``, ``lane``, ``bytes``, ``deadline`` and ``done`` of a unit, and the
        ``places`` in which copies of its run lie now.
    """
    places = functools.cache(folders_of)
    # Both are what the service itself has written: PostgreSQL has greatest(), SQLite has max().
    taken_later = UNITS.c.taken_at > JOBS.c.created_at
    came = sa.case((taken_later, UNITS.c.taken_at), else_=JOBS.c.created_at).label("came")
    # Whom a result serves is not known any more once its jobs have ended.
    first_asked = (
        sa.select(JOB_RESULTS.c.result, sa.func.min(JOB_RESULTS.c.job).label("job"))
        .group_by(JOB_RESULTS.c.result)
        .subquery()
    )
    query = (
        sa.select(
            came,
            UNITS.c.seconds,
            UNITS.c.bytes,
            UNITS.c.published_at,
            JOBS.c.lane,
            JOBS.c.deadline,
            RESULTS.c.location,
        )
        .join(first_asked, first_asked.c.result == UNITS.c.result)
        .join(JOBS, JOBS.c.job == first_asked.c.job)
        .join(RESULTS, RESULTS.c.result == UNITS.c.result)
        .where(UNITS.c.seconds.is_not(None))
        .order_by(came, UNITS.c.unit)
    )
    with database.read() as connection:
        for row in connection.execute(query):
            yield {
                "at": row.came / 1e9,
                "seconds": max(_LEAST_SECONDS, row.seconds),
                "lane": Lane(row.lane).label,
                "bytes": row.bytes,
                "deadline": _seconds(row.deadline),
                "done": _seconds(row.published_at),
                "places": places(row.location),
            }


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
