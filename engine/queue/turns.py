"""Whose turn it is: the results with units to take, the most urgent first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.states import JobState, UnitState

ONE_OF = 10
"""Of so many units one at most is of a job that has aged; the others are taken in their order."""
MOST_CHOSEN = 10_000
"""Results that are chosen at the most: so many names a statement takes in any database."""
_MOST_QUEUED = 10**6
"""Results that are put in order at the most."""
_CANDIDATES = 64
"""Results that are looked at for one claim."""
_ORDER = (
    JOBS.c.lane,
    JOBS.c.priority.desc(),
    sa.func.coalesce(JOBS.c.deadline, 2**62),
    JOBS.c.job,
    RESULTS.c.run_name,
    RESULTS.c.result,
)
_ALL_LANES = tuple(int(each) for each in Lane)
_ANY_DEFERRED = (
    sa.select(UNITS.c.unit).where(sa.literal_column("units.state = 'deferred'")).limit(1)
)
"""Finds a unit that is deferred, by an index of these alone: nearly always there is none."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A result from which units are taken."""

    row: sa.Row[Any]
    """The result, and the job that it serves."""
    state: UnitState = UnitState.READY
    """The units that are taken."""
    passes: bool = False
    """Whether it passes others for one unit, having had no turn for long."""

    @property
    def lane(self) -> int:
        """The lane that its units are taken in."""
        return Lane.REPROCESS if self.state == UnitState.DEFERRED else self.row.lane

    def is_of(self, other: "Turn") -> bool:
        """Tell whether it takes the units that another one takes."""
        return (self.row.result, self.state) == (other.row.result, other.state)

    @property
    def place(self) -> tuple[int, ...]:
        """Its place among the others, the lowest first."""
        row = self.row
        deadline = 2**62 if row.deadline is None else row.deadline
        late = self.state == UnitState.DEFERRED
        return self.lane, row.lane, -row.priority, deadline, row.job, late


class Turns:
    """Says whose turn it is, for one service.

    Parameters
    ----------
    service
        The service: jobs that are for another one alone are not for it.
    cluster
        The cluster that computes for it: jobs for another one are not for it.
    ageing
        Time without a turn, in nanoseconds, after which a job moves up by one lane.
    """

    def __init__(self, service: str, *, cluster: str | None, ageing: int) -> None:
        self._service = service
        self._cluster = cluster
        self._ageing = ageing
        self._in_order = ONE_OF - 1
        self._chosen: frozenset[str] | None = None
        self._of_one_job = _with_units(self._queued(of_one_job=True).order_by(*_ORDER))
        self._ask_for_any()

    def choose(self, results: Collection[str] | None) -> None:
        """Take from some results alone, and from what is for this cluster alone.

        Parameters
        ----------
        results
            Their identities, of which `MOST_CHOSEN` count; None to take from any.
        """
        chosen = None if results is None else frozenset(sorted(results)[:MOST_CHOSEN])
        if chosen != self._chosen:
            self._chosen = chosen
            self._ask_for_any()

    def _ask_for_any(self) -> None:
        queued = self._queued(of_one_job=False)
        self._any = _with_units(queued.order_by(*_ORDER))
        # Who has moved up furthest: by its lane, less one for each time that it has aged.
        place = sa.cast(JOBS.c.lane, sa.BigInteger) * self._ageing + JOBS.c.served_at
        aged = queued.where(
            JOBS.c.served_at <= sa.bindparam("served"), JOBS.c.job != sa.bindparam("next")
        )
        self._aged = _with_units(aged.order_by(place, *_ORDER)).limit(1)

    def all(
        self,
        connection: sa.Connection,
        *,
        now: int,
        job: int | None = None,
        lanes: Sequence[int] | None = None,
    ) -> list[Turn]:
        """Return the results with units to take, in their order.

        What a live job has deferred is work on old frames: it goes first in the lane of that, but
        behind what the job has not deferred.
        """
        query = (self._any if job is None else self._of_one_job).limit(_CANDIDATES)
        values = self._values(now=now, job=job, lanes=lanes)
        rows = connection.execute(query, values).all()
        turns = [Turn(row) for row in rows]
        deferred = rows[0].deferred is not None if rows else _anything_deferred(connection)
        kinds = [values]
        if deferred and (lanes is None or Lane.REPROCESS in lanes):
            old = self._values(now=now, job=job, lanes=None, state=UnitState.DEFERRED)
            kinds.append(old)
            late = [Turn(row, UnitState.DEFERRED) for row in connection.execute(query, old)]
            turns = sorted([*turns, *late], key=lambda turn: turn.place)
        if job is not None or self._in_order < ONE_OF - 1 or not turns:
            return turns
        when = {"served": now - self._ageing, "next": turns[0].row.job}
        aged = [
            Turn(row, each["in_state"], passes=True)
            for each in kinds
            for row in connection.execute(self._aged, {**each, **when})
        ]
        if not aged:
            return turns
        first = min(aged, key=lambda turn: turn.lane * self._ageing + turn.row.served_at)
        lane = first.lane - (now - first.row.served_at) // self._ageing
        place = next((n for n, turn in enumerate(turns) if turn.lane >= lane), len(turns))
        if place == len(turns) or turns[place].row.job == first.row.job:
            return turns
        others = [each for each in turns[place:] if not each.is_of(first)]
        return [*turns[:place], first, *others]

    def took(self, turn: Turn, number: int) -> None:
        """Take in how many units were taken of one."""
        self._in_order = 0 if turn.passes and number else self._in_order + number

    def wanting(self, connection: sa.Connection, *, now: int) -> frozenset[int]:
        """Return the lanes that have units to take."""
        first = self._any.limit(1)
        lanes = {
            lane
            for lane in _ALL_LANES
            if connection.execute(first, self._values(now=now, job=None, lanes=[lane])).first()
        }
        if _anything_deferred(connection):
            values = self._values(now=now, job=None, lanes=None, state=UnitState.DEFERRED)
            if connection.execute(first, values).first() is not None:
                lanes.add(int(Lane.REPROCESS))
        return frozenset(lanes)

    def _values(
        self,
        *,
        now: int,
        job: int | None,
        lanes: Sequence[int] | None,
        state: UnitState = UnitState.READY,
    ) -> dict[str, Any]:
        values = {"now": now, "lanes": _ALL_LANES if lanes is None else lanes, "in_state": state}
        return values if job is None else {**values, "of_job": job}

    def _queued(self, *, of_one_job: bool) -> sa.Select[Any]:
        """Return the query for results that units may be taken from, if they have any."""
        columns = (
            RESULTS.c.result,
            JOBS.c.job,
            JOBS.c.lane,
            JOBS.c.priority,
            JOBS.c.deadline,
            JOBS.c.served_at,
        )
        free = sa.or_(RESULTS.c.held_until.is_(None), RESULTS.c.held_until <= sa.bindparam("now"))
        lanes = JOBS.c.lane.in_(sa.bindparam("lanes", expanding=True))
        query = sa.select(*columns).where(free, JOBS.c.state == JobState.READY, lanes)
        if not of_one_job:
            anywhere: sa.ColumnElement[bool] = JOBS.c.cluster.is_(None)
            if self._chosen is not None:
                anywhere = sa.and_(anywhere, RESULTS.c.result.in_(sorted(self._chosen)))
            return query.join(JOBS, JOBS.c.job == RESULTS.c.driver).where(
                sa.or_(anywhere, JOBS.c.cluster == self._cluster)
            )
        mine = sa.or_(JOBS.c.private.is_(None), JOBS.c.private == self._service)
        return (
            query.select_from(RESULTS)
            .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
            .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
            .where(JOBS.c.job == sa.bindparam("of_job"), mine)
        )


def _anything_deferred(connection: sa.Connection) -> bool:
    return connection.execute(_ANY_DEFERRED).first() is not None


def _with_units(ordered: sa.Select[Any]) -> sa.Select[Any]:
    """Return the query for those of the results that have units to take, in their order.

    They are put in order before their units are looked at, which a query with a limit of its own
    sees to: as many are looked at as are wanted, and not all that wait.
    """
    queued = ordered.limit(_MOST_QUEUED).subquery("queued")
    # One look at the index for each result.  As EXISTS, PostgreSQL may choose to go through all
    # units that wait.
    ready = (
        sa.select(UNITS.c.unit)
        .where(UNITS.c.result == queued.c.result, UNITS.c.state == sa.bindparam("in_state"))
        .limit(1)
        .correlate(queued)
        .scalar_subquery()
        .is_not(None)
    )
    # Asked in the same breath, and answered once.
    deferred = _ANY_DEFERRED.scalar_subquery().label("deferred")
    return sa.select(queued, deferred).where(ready)
