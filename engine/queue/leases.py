"""Leases: which service holds which units, for how long, and what becomes of those of the dead."""

import itertools
import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import sqlalchemy as sa

from forebay.engine.errors import LeaseLostError
from forebay.engine.queue.database import Database, plain
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.outcomes import Outcomes
from forebay.engine.queue.retry import Failure, FailureClass, RetryPolicy
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, SERVICES, UNITS
from forebay.engine.queue.settle import end_job
from forebay.engine.queue.states import ENDED_JOBS, HELD_UNITS, JobState, UnitState

LEASE_SECONDS = 30.0
"""Silence after which a service is taken for dead."""
_AGEING_SECONDS = 600.0
_TURNS_BETWEEN = 9
"""Units that are taken in their order before another job that has aged may pass."""
_CANDIDATES = 64
"""Results that are looked at for one claim."""
_MANY = 500
_CLAIMED = (
    UNITS.c.unit,
    UNITS.c.attempt,
    UNITS.c.label,
    UNITS.c.start,
    UNITS.c.stop,
    UNITS.c.y,
    UNITS.c.x,
    UNITS.c.bytes,
    UNITS.c.alone,
    UNITS.c.deaths,
    UNITS.c.taken_at,
    UNITS.c.before,
    UNITS.c.avoid,
)


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


@dataclass(frozen=True, slots=True)
class _Turn:
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

    @property
    def place(self) -> tuple[int, ...]:
        """Its place among the others, the lowest first."""
        row = self.row
        deadline = 2**62 if row.deadline is None else row.deadline
        late = self.state == UnitState.DEFERRED
        return self.lane, row.lane, -row.priority, deadline, row.job, late


class Service:
    """A process that works on units: it holds them as long as it is heard of.

    Parameters
    ----------
    database
        The database of the queue.
    policy
        What becomes of a unit that failed.
    lease_seconds
        Silence after which others take over what it holds.
    ageing_seconds
        Time without a turn after which a job moves up by one lane.
    cluster
        The cluster that computes: it takes jobs that are for this one, or for any.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: RetryPolicy | None = None,
        lease_seconds: float = LEASE_SECONDS,
        ageing_seconds: float = _AGEING_SECONDS,
        cluster: str | None = None,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._lease = int(lease_seconds * 1e9)
        self._ageing = int(ageing_seconds * 1e9)
        self._in_order = _TURNS_BETWEEN
        self.identity = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """What it is called."""
        self.outcomes = Outcomes(database, self.identity, policy or RetryPolicy())
        """What it records."""
        with database.write() as connection:
            values = {
                "service": self.identity,
                "host": socket.gethostname(),
                "process": os.getpid(),
                "began_at": _began_at(os.getpid()),
                "alive_until": database.now(connection) + self._lease,
                "cluster": cluster,
            }
            connection.execute(sa.insert(SERVICES).values(values))

    def beat(self) -> None:
        """Say that it lives, which keeps all that it holds.

        Raises
        ------
        LeaseLostError
            If others have taken it for dead: what it held is not its own any more.
        """
        with self._database.write() as connection:
            check_alive(connection, self.identity)
            mine = SERVICES.c.service == self.identity
            until = self._database.now(connection) + self._lease
            connection.execute(sa.update(SERVICES).where(mine).values(alive_until=until))

    def bury_the_dead(self) -> list[str]:
        """Take from services that are not heard of what they hold; return their names."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            others = sa.select(SERVICES).where(SERVICES.c.service != self.identity)
            rows = connection.execute(others.with_for_update(skip_locked=True))
            dead = [row.service for row in rows if row.alive_until < now or _process_is_gone(row)]
            for name in dead:
                self._take_from(connection, name, now=now)
                connection.execute(sa.delete(SERVICES).where(SERVICES.c.service == name))
                released = sa.update(RESULTS).where(RESULTS.c.planner == name)
                connection.execute(released.values(planner=None))
        return dead

    def end(self) -> None:
        """Give everything back that is not done, and be forgotten."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            held = sa.and_(UNITS.c.holder == self.identity, UNITS.c.state.in_(HELD_UNITS))
            connection.execute(
                sa.update(UNITS).where(held).values(state=UnitState.READY, holder=None)
            )
            released = sa.update(RESULTS).where(RESULTS.c.planner == self.identity)
            connection.execute(released.values(planner=None))
            self._end_private(connection, self.identity, now=now)
            connection.execute(sa.delete(SERVICES).where(SERVICES.c.service == self.identity))

    def claim(
        self,
        most: int,
        *,
        job: int | None = None,
        lanes: Iterable[int] | None = None,
        most_bytes: int | None = None,
        begin: bool = False,
    ) -> list[Claim]:
        """Take units, those of the most urgent jobs first, in the order of their frames.

        Jobs are served by lane, then priority, then deadline, then age.  A job that has had no
        turn for long moves up a lane for one unit, so that none waits for ever; of ten units, one
        at most is taken out of turn.

        Parameters
        ----------
        most
            Number of units.
        job
            The job to take from; any that is for all services if not given.
        lanes
            The lanes to take from.
        most_bytes
            Bytes of memory that the units may need together; the first one is taken however many
            it needs.
        begin
            Whether they go to workers at once, all but those that are to be computed alone.

        Raises
        ------
        LeaseLostError
            If others have taken it for dead: what it took now, nobody would take from it.
        """
        claims: list[Claim] = []
        left = most_bytes
        with self._database.write() as connection:
            check_alive(connection, self.identity)
            now = self._database.now(connection)
            chosen = None if lanes is None else list(lanes)
            for turn in self._turns(connection, now=now, job=job, lanes=chosen):
                if len(claims) >= most or (claims and left is not None and left <= 0):
                    break
                room = 1 if turn.passes else most - len(claims)
                taken = self._take(connection, turn, room, left, at_least_one=not claims)
                self._in_order = 0 if turn.passes and taken else self._in_order + len(taken)
                if left is not None:
                    left -= sum(each.bytes for each in taken)
                if taken:
                    served = sa.update(JOBS).where(JOBS.c.job == turn.row.job).values(served_at=now)
                    connection.execute(served)
                claims += taken
            self._hold(connection, [each for each in claims if begin and not each.alone], now=now)
            self._hold(connection, [each for each in claims if not begin or each.alone], now=None)
        return claims

    def wanting(self) -> frozenset[int]:
        """Return the lanes that have units which this service could take now."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            ready = self._queued(now=now, job=None, lanes=None).with_only_columns(JOBS.c.lane)
            lanes = set(connection.execute(ready.distinct()).scalars())
            late = self._queued(now=now, job=None, lanes=None, state=UnitState.DEFERRED)
            if connection.execute(late.limit(1)).first() is not None:
                lanes.add(int(Lane.REPROCESS))
        return frozenset(lanes)

    def begin(self, claims: Sequence[Claim]) -> list[Claim]:
        """Note that units were given to workers; return those that are still its own."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            own = self.outcomes.own(connection, claims)
            kept = [each for each in claims if each.unit in own]
            if kept:
                begun = sa.update(UNITS).where(UNITS.c.unit == sa.bindparam("of"))
                values = begun.values(state=UnitState.RUNNING, began_at=now)
                connection.execute(values, [{"of": each.unit} for each in kept])
        return kept

    def hand_back(self, claims: Sequence[Claim]) -> None:
        """Give units back that were not computed through no fault of theirs."""
        with self._database.write() as connection:
            own = self.outcomes.own(connection, claims)
            if own:
                given = sa.update(UNITS).where(UNITS.c.unit == sa.bindparam("of"))
                values = given.values(state=UnitState.READY, holder=None)
                connection.execute(values, [{"of": each} for each in own])

    def still_own(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Return which of these units it still holds; the others were cancelled or taken."""
        with self._database.read() as connection:
            return frozenset(self.outcomes.own(connection, claims, lock=False))

    def hold_back(self, result: str, seconds: float, *, because: str) -> None:
        """Let nobody take units of a result for some time, since its storage is out of order."""
        with self._database.write() as connection:
            until = self._database.now(connection) + int(seconds * 1e9)
            values = {"held_until": until, "held_because": plain(because)}
            connection.execute(
                sa.update(RESULTS).where(RESULTS.c.result == result).values(**values)
            )

    def held(self) -> int:
        """Return the number of units that it holds."""
        query = sa.select(sa.func.count()).where(UNITS.c.holder == self.identity)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _turns(
        self,
        connection: sa.Connection,
        *,
        now: int,
        job: int | None,
        lanes: Sequence[int] | None,
    ) -> list[_Turn]:
        """Return the results with units to take, in their order.

        What a live job has deferred is work on old frames: it goes first in the lane of that, but
        behind what the job has not deferred.
        """
        query = self._queued(now=now, job=job, lanes=lanes)
        order = (
            JOBS.c.lane,
            JOBS.c.priority.desc(),
            sa.func.coalesce(JOBS.c.deadline, 2**62),
            JOBS.c.job,
            RESULTS.c.run_name,
            RESULTS.c.result,
        )
        rows = connection.execute(query.order_by(*order).limit(_CANDIDATES)).all()
        late = self._deferred(connection, order, now=now, job=job, lanes=lanes)
        turns = sorted([*map(_Turn, rows), *late], key=lambda turn: turn.place)
        if job is not None or self._in_order < _TURNS_BETWEEN:
            return turns
        # Who has moved up furthest: by its lane, less one for each time that it has aged.
        aged = query.where(JOBS.c.lane > 0, JOBS.c.served_at <= now - self._ageing)
        furthest = aged.order_by(
            sa.cast(JOBS.c.lane, sa.BigInteger) * self._ageing + JOBS.c.served_at, *order
        )
        first = connection.execute(furthest.limit(1)).first()
        if first is None:
            return turns
        lane = first.lane - (now - first.served_at) // self._ageing
        place = next((n for n, turn in enumerate(turns) if turn.lane >= lane), len(turns))
        if place == len(turns) or turns[place].row.job == first.job:
            return turns
        others = [each for each in turns[place:] if each.row.result != first.result]
        return [*turns[:place], _Turn(first, passes=True), *others]

    def _deferred(
        self,
        connection: sa.Connection,
        order: Sequence[Any],
        *,
        now: int,
        job: int | None,
        lanes: Sequence[int] | None,
    ) -> list[_Turn]:
        """Return the results with units that were deferred."""
        if lanes is not None and Lane.REPROCESS not in lanes:
            return []
        query = self._queued(now=now, job=job, lanes=None, state=UnitState.DEFERRED)
        rows = connection.execute(query.order_by(*order).limit(_CANDIDATES))
        return [_Turn(row, state=UnitState.DEFERRED) for row in rows]

    def _queued(
        self,
        *,
        now: int,
        job: int | None,
        lanes: Sequence[int] | None,
        state: UnitState = UnitState.READY,
    ) -> sa.Select[Any]:
        """Return the query for results with units to take."""
        columns = (
            RESULTS.c.result,
            JOBS.c.job,
            JOBS.c.lane,
            JOBS.c.priority,
            JOBS.c.deadline,
            JOBS.c.served_at,
        )
        ready = (
            sa.select(UNITS.c.unit)
            .where(UNITS.c.result == RESULTS.c.result, UNITS.c.state == state)
            .correlate(RESULTS)
            .exists()
        )
        free = sa.or_(RESULTS.c.held_until.is_(None), RESULTS.c.held_until <= now)
        query = sa.select(*columns).where(ready, free, JOBS.c.state == JobState.READY)
        if job is None:
            query = query.join(JOBS, JOBS.c.job == RESULTS.c.driver).where(
                sa.or_(JOBS.c.cluster.is_(None), JOBS.c.cluster == self._cluster)
            )
        else:
            mine = sa.or_(JOBS.c.private.is_(None), JOBS.c.private == self.identity)
            query = (
                query.select_from(RESULTS)
                .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
                .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
                .where(JOBS.c.job == job, mine)
            )
        return query if lanes is None else query.where(JOBS.c.lane.in_(lanes))

    def _take(
        self,
        connection: sa.Connection,
        turn: _Turn,
        most: int,
        most_bytes: int | None,
        *,
        at_least_one: bool,
    ) -> list[Claim]:
        """Choose units of one result."""
        query = (
            sa.select(*_CLAIMED)
            .where(UNITS.c.result == turn.row.result, UNITS.c.state == turn.state)
            .order_by(UNITS.c.start, UNITS.c.y, UNITS.c.x)
            .limit(min(most, _MANY))
            .with_for_update(skip_locked=True)
        )
        claims: list[Claim] = []
        left = most_bytes
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
        ) in connection.execute(query).all():
            if left is not None:
                if size > left and not (at_least_one and not claims):
                    break
                left -= size
            claims.append(
                Claim(
                    unit=unit,
                    attempt=attempt + 1,
                    result=turn.row.result,
                    job=turn.row.job,
                    lane=turn.lane,
                    priority=turn.row.priority,
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
                )
            )
        return claims

    def _hold(self, connection: sa.Connection, claims: Sequence[Claim], *, now: int | None) -> None:
        """Hold units under their next attempt; with a time, as begun then."""
        for some in itertools.batched(claims, _MANY):
            values: dict[str, object] = {
                "state": UnitState.LEASED,
                "holder": self.identity,
                "attempt": UNITS.c.attempt + 1,
                "not_before": None,
            }
            if now is not None:
                values |= {"state": UnitState.RUNNING, "began_at": now}
            mine = UNITS.c.unit.in_([each.unit for each in some])
            connection.execute(sa.update(UNITS).where(mine).values(values))

    def _take_from(self, connection: sa.Connection, dead: str, *, now: int) -> None:
        """Make ready what a dead service had not begun; what it had begun has failed."""
        unbegun = sa.and_(UNITS.c.holder == dead, UNITS.c.state == UnitState.LEASED)
        connection.execute(
            sa.update(UNITS).where(unbegun).values(state=UnitState.READY, holder=None)
        )
        begun = sa.select(UNITS).where(UNITS.c.holder == dead, UNITS.c.state == UnitState.RUNNING)
        failure = Failure(
            FailureClass.LEASE_EXPIRED, f"the service {dead} that computed it was not heard of"
        )
        rows = connection.execute(begun).all()
        self.outcomes.fail_rows(connection, [(row, failure) for row in rows], now=now)
        self._end_private(connection, dead, now=now)

    def _end_private(self, connection: sa.Connection, service: str, *, now: int) -> None:
        """Cancel the jobs that only this service could work on."""
        query = sa.select(JOBS.c.job).where(
            JOBS.c.private == service, JOBS.c.state.not_in(ENDED_JOBS)
        )
        for job in connection.execute(query).scalars().all():
            error = "its process has ended"
            end_job(connection, job, JobState.CANCELLED, error=error, now=now)


def check_alive(connection: sa.Connection, service: str) -> None:
    """Look whether others have taken a service for dead.

    Raises
    ------
    LeaseLostError
        If they have.
    """
    known = sa.select(SERVICES.c.service).where(SERVICES.c.service == service)
    if connection.execute(known).first() is None:
        raise LeaseLostError(
            f"{service} was silent for longer than its lease, and others have taken over what it "
            "worked on: start it again"
        )


def _began_at(process: int) -> float:
    """Return when a process began, in seconds since the machine did, however its clock is set."""
    booted = psutil.boot_time()
    return float(psutil.Process(process).create_time() - booted)


def _process_is_gone(row: sa.Row[Any]) -> bool:
    """Tell whether a service of this machine has ended, so that nobody has to wait for it."""
    if row.host != socket.gethostname():
        return False
    try:
        if psutil.Process(row.process).status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(_began_at(row.process) - row.began_at) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        # It may not be looked at.
        return False
