"""Units that go on with the state of the one before: each is ready when that one is published.

What comes behind a unit that nobody will compute is cancelled, and revived when that unit is tried
again; so no job waits for what will not come.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.schema import UNITS
from forebay.engine.queue.states import UnitState

FRESH: dict[str, Any] = {
    "state": sa.case((UNITS.c.before.is_not(None), UnitState.WAITING), else_=UnitState.READY),
    "holder": None,
    "not_before": None,
    "retries": 0,
    "deaths": 0,
    "alone": False,
    "avoid": None,
    "memory": None,
    "pieces": 1,
    "failure": None,
    "error": None,
}
"""What makes a unit as if it had never been tried; the number of attempts goes on."""


DISCARDED = "discarded"
"""In place of its failure's class, says of a unit that it was given up for good."""
NOT_DISCARDED = UNITS.c.failure.is_distinct_from(DISCARDED)


def renew(
    connection: sa.Connection, which: sa.ColumnElement[bool], results: Collection[str]
) -> int:
    """Let units be as if they had never been tried; return their number.

    Parameters
    ----------
    connection
        Within a transaction.
    which
        The units.
    results
        The results that they are of; what comes behind them goes on too.
    """
    number = connection.execute(sa.update(UNITS).where(which).values(**FRESH)).rowcount
    behind = sa.and_(
        UNITS.c.result.in_(results),
        UNITS.c.state == UnitState.CANCELLED,
        UNITS.c.before.is_not(None),
        NOT_DISCARDED,
    )
    connection.execute(sa.update(UNITS).where(behind).values(**FRESH))
    go_on(connection, results)
    give_up_behind(connection, results)
    return int(number)


def go_on(
    connection: sa.Connection, results: Collection[str], *, starts: Collection[int] | None = None
) -> None:
    """Make ready the units of which the one before is published.

    Parameters
    ----------
    connection
        Within a transaction.
    results
        Of these results.
    starts
        Only those that begin at these frames.
    """
    before = UNITS.alias("before_it")
    published = (
        sa.select(before.c.unit)
        .where(before.c.unit == UNITS.c.before, before.c.state == UnitState.DONE)
        .exists()
    )
    waiting = sa.and_(UNITS.c.result.in_(results), UNITS.c.state == UnitState.WAITING, published)
    if starts is not None:
        waiting = sa.and_(waiting, UNITS.c.start.in_(starts))
    connection.execute(sa.update(UNITS).where(waiting).values(state=UnitState.READY))


def give_up_behind(connection: sa.Connection, results: Collection[str]) -> None:
    """Cancel what waits behind a unit that is a dead letter, or that nobody wants."""
    first = (
        sa.select(UNITS.c.result, sa.func.min(UNITS.c.start))
        .where(
            UNITS.c.result.in_(results),
            UNITS.c.state.in_([UnitState.DEAD, UnitState.CANCELLED]),
        )
        .group_by(UNITS.c.result)
    )
    for result, start in connection.execute(first).all():
        behind = sa.and_(
            UNITS.c.result == result, UNITS.c.state == UnitState.WAITING, UNITS.c.start > start
        )
        error = f"it goes on with the state of frame {start}, which could not be computed"
        # What was published stays so, though it was to be computed anew.
        state = sa.case((UNITS.c.part.is_not(None), UnitState.DONE), else_=UnitState.CANCELLED)
        values = {"state": state, "error": error}
        connection.execute(sa.update(UNITS).where(behind).values(**values))
