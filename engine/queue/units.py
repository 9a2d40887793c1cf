"""Units as they come into the queue."""

import functools
from collections.abc import Container, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from forebay.engine.queue.many import among, given_rows
from forebay.engine.queue.schema import UNITS
from forebay.engine.queue.sequence import FRESH, give_up_behind, go_on
from forebay.engine.queue.states import UnitState
from forebay.engine.unit import Unit


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT into a table that says what to do where the row is there already."""
    return _of_dialect(connection.dialect.name).insert(table)


def _of_dialect(name: str) -> Any:
    return {"postgresql": postgresql, "sqlite": sqlite}[name]


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
    known: dict[str, str] = {}
    # Another service may have planned the same run, now or long ago.
    added = connection.execute(_insert(connection.dialect.name), {"rows": rows}).rowcount
    if added < len(rows):
        there = among(UNITS.c.unit, [unit.identity for unit, _ in units])
        known = dict(connection.execute(sa.select(UNITS.c.unit, UNITS.c.state).where(there)).all())
    again = (UnitState.CANCELLED, UnitState.SUPERSEDED)
    if revived := [name for name, state in known.items() if state in again]:
        connection.execute(sa.update(UNITS).where(among(UNITS.c.unit, revived)).values(**FRESH))
    if any(unit.before is not None for unit, _ in units):
        go_on(connection, [result], starts=[unit.core.t.start for unit, _ in units])
        give_up_behind(connection, [result])
    return {name for name, state in known.items() if state == UnitState.DONE}


_FIRST = (
    *("unit", "result", "label", "start", "stop", "y", "x", "bytes", "before", "state"),
    *("attempt", "retries", "deaths", "alone", "taken_at"),
)


@functools.cache
def _insert(dialect: str) -> sa.Insert:
    """Return the statement that adds units which are not there."""
    given = given_rows(dialect, {name: UNITS.c[name].type for name in _FIRST})
    # Without a condition SQLite would take what follows the table for that of a join.
    rows = sa.select(*(given.c[name] for name in _FIRST)).where(sa.true())
    insert = _of_dialect(dialect).insert(UNITS).from_select(_FIRST, rows)
    added: sa.Insert = insert.on_conflict_do_nothing()
    return added


def _first_state(unit: Unit, deferred: Container[str]) -> UnitState:
    if unit.before is not None:
        return UnitState.WAITING
    return UnitState.DEFERRED if unit.identity in deferred else UnitState.READY
