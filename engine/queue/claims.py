"""Claims: the units that a service takes of a result."""

from dataclasses import dataclass

import sqlalchemy as sa

from forebay.engine.queue.many import Names, among
from forebay.engine.queue.schema import UNITS
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.turns import Turn

_CHOSEN = (
    sa.select(
        *(UNITS.c[name] for name in ("unit", "attempt", "label", "start", "stop", "y", "x")),
        *(UNITS.c[name] for name in ("bytes", "alone", "deaths", "taken_at", "before", "avoid")),
        *(UNITS.c[name] for name in ("memory", "pieces")),
    )
    .where(UNITS.c.result == sa.bindparam("of"), UNITS.c.state == sa.bindparam("in_state"))
    .order_by(UNITS.c.start, UNITS.c.y, UNITS.c.x)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_HELD = sa.update(UNITS).where(among(UNITS.c.unit, sa.bindparam("names", type_=Names())))
_LEASED = _HELD.values(
    state=UnitState.LEASED,
    holder=sa.bindparam("by"),
    attempt=UNITS.c.attempt + 1,
    not_before=None,
)
_BEGUN = _LEASED.values(state=UnitState.RUNNING, began_at=sa.bindparam("now"))


@dataclass(frozen=True, slots=True)
class Claim:
    """A unit that a service holds, under the number of its attempt."""

    unit: str
    """Identity of the unit."""
    attempt: int
    """The attempt; nothing is written about the unit under another number."""
    result: str
    """The result that it is a part of."""
    job: int
    """The job that it is computed for."""
    lane: int
    """The job's lane."""
    priority: int
    """The job's priority."""
    label: str
    """Its frames and tile."""
    start: int
    """First frame."""
    y: int
    """First row."""
    x: int
    """First column."""
    frames: int
    """Number of frames that it answers for."""
    bytes: int
    """Bytes of frames that it has to see."""
    alone: bool
    """Whether nothing else may be computed meanwhile: a worker died under it."""
    deaths: int
    """Workers that died under it."""
    taken_at: int
    """When its last frame was taken."""
    before: str | None = None
    """The unit whose state it goes on with."""
    avoid: str | None = None
    """A worker that is to compute it only if no other can."""
    memory: int | None = None
    """Bytes of memory with which a worker is too small for it."""
    pieces: int = 1
    """In how many pieces, one after the other, it is computed."""


def choose(
    connection: sa.Connection,
    turn: Turn,
    most: int,
    most_bytes: int | None,
    *,
    at_least_one: bool,
) -> list[Claim]:
    """Choose units of the result whose turn it is; they are not held yet.

    Parameters
    ----------
    connection
        Within a transaction.
    turn
        Whose turn it is.
    most
        Number of units.
    most_bytes
        Bytes of memory that they may need together; None for any.
    at_least_one
        Whether to choose the first one however many bytes it needs.
    """
    row, lane = turn.row, turn.lane
    claims: list[Claim] = []
    left = most_bytes
    values = {"of": row.result, "in_state": turn.state, "most": most}
    for (
        unit,
        attempt,
        label,
        start,
        stop,
        y,
        x,
        size,
        alone,
        deaths,
        taken_at,
        before,
        avoid,
        memory,
        pieces,
    ) in connection.execute(_CHOSEN, values).all():
        if left is not None:
            if size > left and not (at_least_one and not claims):
                break
            left -= size
        claims.append(
            Claim(
                unit=unit,
                attempt=attempt + 1,
                result=row.result,
                job=row.job,
                lane=lane,
                priority=row.priority,
                label=label,
                start=start,
                y=y,
                x=x,
                frames=stop - start,
                bytes=size,
                alone=alone,
                deaths=deaths,
                taken_at=taken_at,
                before=before,
                avoid=avoid,
                memory=memory,
                pieces=pieces,
            )
        )
    return claims


def hold(
    connection: sa.Connection, claims: list[Claim], *, by: str, begun_at: int | None = None
) -> None:
    """Hold units under their next attempt.

    Parameters
    ----------
    connection
        Within a transaction.
    claims
        The units.
    by
        The service.
    begun_at
        When they were begun, if they were.
    """
    if not claims:
        return
    values: dict[str, object] = {"names": [each.unit for each in claims], "by": by}
    if begun_at is None:
        connection.execute(_LEASED, values)
    else:
        connection.execute(_BEGUN, {**values, "now": begun_at})
