"""Units as they come into the queue."""

from collections.abc import Container, Sequence
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.schema import UNITS
from forebay.engine.queue.sequence import FRESH, give_up_behind, go_on
from forebay.engine.queue.states import UnitState
from forebay.engine.unit import Unit


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT into a table that says what to do where the row is there already."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def add_units(
    connection: sa.Connection,
    result: str,
    units: Sequence[tuple[Unit, int]],
    deferred: Container[str] = (),
) -> set[str]:
    """Add units of a result; those that are there already stay as they stand.

    Parameters
    ----------
    connection
        Within a transaction.
    result
        The result.
    units
        Units, and the bytes of frames that each has to see.
    deferred
        Those that are computed only when there is time.

    Returns
    -------
    set of str
        Those that are done already.
    """
    rows = [
        {
            "unit": unit.identity,
            "result": result,
            "label": unit.label,
            "start": unit.core.t.start,
            "stop": unit.core.t.stop,
            "y": unit.core.y.start,
            "x": unit.core.x.start,
            "bytes": nbytes,
            "before": unit.before,
            "state": _first_state(unit, deferred),
            "attempt": 0,
            "retries": 0,
            "deaths": 0,
            "alone": False,
            "taken_at": unit.taken_at,
        }
        for unit, nbytes in units
    ]
    names = [row["unit"] for row in rows]
    known = dict(
        connection.execute(
            sa.select(UNITS.c.unit, UNITS.c.state).where(UNITS.c.unit.in_(names))
        ).all()
    )
    fresh = [row for row in rows if row["unit"] not in known]
    if fresh:
        # Another service may have planned the same run in the meantime.
        connection.execute(upsert(connection, UNITS).on_conflict_do_nothing(), fresh)
    again = (UnitState.CANCELLED, UnitState.SUPERSEDED)
    if revived := [name for name, state in known.items() if state in again]:
        connection.execute(sa.update(UNITS).where(UNITS.c.unit.in_(revived)).values(**FRESH))
    if any(unit.before is not None for unit, _ in units):
        go_on(connection, [result], starts=[unit.core.t.start for unit, _ in units])
        give_up_behind(connection, [result])
    return {name for name, state in known.items() if state == UnitState.DONE}


def _first_state(unit: Unit, deferred: Container[str]) -> UnitState:
    if unit.before is not None:
        return UnitState.WAITING
    return UnitState.DEFERRED if unit.identity in deferred else UnitState.READY
