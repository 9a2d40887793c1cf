"""Leases: which service holds which units, for how long, and what becomes of those of the dead."""

import os
import socket
import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import psutil
import sqlalchemy as sa

from forebay.engine.errors import LeaseLostError
from forebay.engine.queue.claims import Claim, choose, hold
from forebay.engine.queue.database import Database, plain
from forebay.engine.queue.many import Names, among
from forebay.engine.queue.outcomes import Outcomes
from forebay.engine.queue.retry import Failure, FailureClass, RetryPolicy
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, SERVICES, UNITS
from forebay.engine.queue.settle import assign_shared, end_job
from forebay.engine.queue.states import ENDED_JOBS, HELD_UNITS, JobState, UnitState
from forebay.engine.queue.turns import Turns

LEASE_SECONDS = 30.0
"""Silence after which a service is taken for dead."""
AGEING_SECONDS = 600.0
"""Time without a turn after which a job moves up by one lane."""
_UNHEARD = 2 * 3600 * 10**9
"""Longer than any lease: since so long before its end a service that died may have been silent."""
_left: set[tuple[str, str]] = set()
"""Ledgers, and services of this process that have ended and could not tell them so."""
_KNOWN = sa.select(SERVICES.c.service).where(SERVICES.c.service == sa.bindparam("name"))
_SERVED = (
    sa.update(JOBS).where(JOBS.c.job == sa.bindparam("of")).values(served_at=sa.bindparam("now"))
)
_OF_NAMES = sa.update(UNITS).where(among(UNITS.c.unit, sa.bindparam("names", type_=Names())))
_BEGUN = _OF_NAMES.values(state=UnitState.RUNNING, began_at=sa.bindparam("now"))
_GIVEN_BACK = _OF_NAMES.values(state=UnitState.READY, holder=None)


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
        ageing_seconds: float = AGEING_SECONDS,
        cluster: str | None = None,
    ) -> None:
        self._database = database
        self._lease = int(lease_seconds * 1e9)
        self.identity = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """What it is called."""
        ageing = int(ageing_seconds * 1e9)
        self._turns = Turns(self.identity, cluster=cluster, ageing=ageing)
        self._heard_of: int | None = None
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
            # Nobody else may take over from a process that is alive before their leases are over.
            left = {each for each in _left if each[0] == database.name}
            for _, name in left:
                self._give_back(connection, name)
            assign_shared(connection)
        _left.difference_update(left)

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
            dead = [row for row in rows if row.alive_until < now or _process_is_gone(row)]
            for row in dead:
                self._take_from(connection, row.service, now=now)
                self._forget(connection, row.service)
            if dead:
                assign_shared(connection)
        ends = [row.alive_until for row in dead]
        self._heard_of = min(filter(None, (self._heard_of, *ends)), default=None)
        return [row.service for row in dead]

    def left_behind(self) -> list[tuple[str, str]]:
        """Return the results, each with its folder, that those it has buried may have worked on.

        Each time it tells of those that were buried since it was asked last.
        """
        ends, self._heard_of = self._heard_of, None
        if ends is None:
            return []
        since = ends - _UNHEARD
        lately = sa.exists().where(UNITS.c.result == RESULTS.c.result, UNITS.c.ended_at > since)
        open_still = sa.and_(JOBS.c.state.not_in(ENDED_JOBS), lately)
        query = (
            sa.select(RESULTS.c.result, RESULTS.c.folder)
            .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
            .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
            .where(RESULTS.c.folder.is_not(None), sa.or_(JOBS.c.ended_at > since, open_still))
            .distinct()
        )
        with self._database.read() as connection:
            return [(row.result, row.folder) for row in connection.execute(query)]

    def end(self) -> None:
        """Give everything back that is not done, and be forgotten.

        If the ledger cannot be written, the next service of this process does it.
        """
        _left.add((self._database.name, self.identity))
        with self._database.write() as connection:
            self._give_back(connection, self.identity)
            assign_shared(connection)
        _left.discard((self._database.name, self.identity))

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
            for turn in self._turns.all(connection, now=now, job=job, lanes=chosen):
                if len(claims) >= most or (claims and left is not None and left <= 0):
                    break
                room = 1 if turn.passes else most - len(claims)
                taken = choose(connection, turn, room, left, at_least_one=not claims)
                self._turns.took(turn, len(taken))
                if left is not None:
                    left -= sum(each.bytes for each in taken)
                if taken:
                    connection.execute(_SERVED, {"of": turn.row.job, "now": now})
                claims += taken
            begun = [each for each in claims if begin and not each.alone]
            hold(connection, begun, by=self.identity, begun_at=now)
            others = [each for each in claims if not begin or each.alone]
            hold(connection, others, by=self.identity)
        return claims

    def choose(self, results: Collection[str] | None) -> None:
        """Take from some results alone, and leave the others to services with another cluster.

        Parameters
        ----------
        results
            Their identities; None to take from any. Jobs for this cluster alone are always taken.
        """
        self._turns.choose(results)

    def wanting(self) -> frozenset[int]:
        """Return the lanes that have units which this service could take now."""
        with self._database.read() as connection:
            return self._turns.wanting(connection, now=self._database.now(connection))

    def begin(self, claims: Sequence[Claim]) -> list[Claim]:
        """Note that units were given to workers; return those that are still its own."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            own = self.outcomes.own(connection, claims)
            kept = [each for each in claims if each.unit in own]
            if kept:
                connection.execute(_BEGUN, {"names": [each.unit for each in kept], "now": now})
        return kept

    def hand_back(self, claims: Sequence[Claim]) -> None:
        """Give units back that were not computed through no fault of theirs."""
        with self._database.write() as connection:
            own = self.outcomes.own(connection, claims)
            if own:
                connection.execute(_GIVEN_BACK, {"names": list(own)})

    def still_own(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Return which of these units it still holds; the others were cancelled or taken."""
        with self._database.read() as connection:
            return frozenset(self.outcomes.own(connection, claims, lock=False))

    def hold_back(self, result: str, seconds: float, *, because: str) -> None:
        """Let nobody take units of a result for some time, since what it needs is not there."""
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

    def _give_back(self, connection: sa.Connection, service: str) -> None:
        """Make ready what a service held that has ended."""
        held = sa.and_(UNITS.c.holder == service, UNITS.c.state.in_(HELD_UNITS))
        connection.execute(sa.update(UNITS).where(held).values(state=UnitState.READY, holder=None))
        self._end_private(connection, service, now=self._database.now(connection))
        self._forget(connection, service)

    def _forget(self, connection: sa.Connection, service: str) -> None:
        released = sa.update(RESULTS).where(RESULTS.c.planner == service)
        connection.execute(released.values(planner=None))
        connection.execute(sa.delete(SERVICES).where(SERVICES.c.service == service))

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
    if connection.execute(_KNOWN, {"name": service}).first() is None:
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
