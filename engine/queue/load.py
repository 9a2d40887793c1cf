"""The work that a ledger has seen, as a load that can be gone through again."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.schema import JOBS, RESULTS, UNITS

_LEAST_SECONDS = 1e-3


def recorded_load(database: Database) -> Iterator[dict[str, Any]]:
    """Return the units that were computed, in the order in which they could be begun.

    A unit could be begun when its last frame was there and its job was submitted; times are
    seconds from the first of them on.

    Yields
    ------
    dict
        ``at``, ``seconds``, ``lane``, ``bytes`` and ``deadline`` of a unit.
    """
    # Both are what the service itself has written: PostgreSQL has greatest(), SQLite has max().
    taken_later = UNITS.c.taken_at > JOBS.c.created_at
    came = sa.case((taken_later, UNITS.c.taken_at), else_=JOBS.c.created_at).label("came")
    query = (
        sa.select(came, UNITS.c.seconds, UNITS.c.bytes, JOBS.c.lane, JOBS.c.deadline)
        .join(RESULTS, RESULTS.c.result == UNITS.c.result)
        .join(JOBS, JOBS.c.job == RESULTS.c.driver)
        .where(UNITS.c.seconds.is_not(None))
        .order_by(came, UNITS.c.unit)
    )
    with database.read() as connection:
        first: int | None = None
        for row in connection.execute(query):
            first = row.came if first is None else first
            yield {
                "at": (row.came - first) / 1e9,
                "seconds": max(_LEAST_SECONDS, row.seconds),
                "lane": Lane(row.lane).label,
                "bytes": row.bytes,
                "deadline": None if row.deadline is None else (row.deadline - first) / 1e9,
            }
