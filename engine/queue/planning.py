"""Units come into the queue as runs are planned, and runs are planned as jobs ask for them."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from forebay.engine.queue.database import Database, plain
from forebay.engine.queue.leases import check_alive
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.settle import cancel_open, drop_unwanted, settle_results
from forebay.engine.queue.states import HELD_UNITS, JobState, UnitState
from forebay.engine.queue.submission import Target, target_of
from forebay.engine.queue.units import add_units
from forebay.engine.unit import Unit

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class ToPlan:
    """A result whose units are not all known."""

    result: str
    """The result."""
    target: Target
    """What is wanted."""
    job: int
    """The job for which it is planned."""
    live: bool
    """Whether it is to be followed while the run grows."""
    planned_blocks: int
    """Blocks of which the units are known."""
    keep_up: int
    """When it is late, only every so-manieth block is computed at once."""
    reduce_at: int | None
    """Blocks that may wait before the acquisition is asked to reduce its frames."""


class Planning:
    """Which results are to be planned, and the units that come of it."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._service = service
        self._following: dict[str, bool] = {}

    def take(self, most: int, *, job: int | None = None) -> list[ToPlan]:
        """Take results to plan, the most urgent first, so that no other service plans them.

        With `job`, those of one job, whether others plan them or not: planning twice does no harm.
        What a live job asks for is followed for all that ask for it.

        Raises
        ------
        LeaseLostError
            If others have taken the service for dead: what it took now, nobody would take from it.
        """
        asking = JOBS.alias("asking")
        # The most urgent job that follows the run, which says how; none if none does.
        following = (
            sa.select(asking.c.job)
            .join(JOB_RESULTS, JOB_RESULTS.c.job == asking.c.job)
            .where(
                JOB_RESULTS.c.result == RESULTS.c.result,
                asking.c.state == JobState.READY,
                asking.c.live,
                asking.c.job == job if job is not None else asking.c.private.is_(None),
            )
            .order_by(asking.c.lane, asking.c.priority.desc(), asking.c.job)
            .limit(1)
            .correlate(RESULTS)
            .scalar_subquery()
        )
        leader = JOBS.alias("leader")
        query = sa.select(RESULTS, JOBS.c.job, leader.c.keep_up, leader.c.reduce_at)
        asked: sa.FromClause = RESULTS
        if job is None:
            asked = asked.join(JOBS, JOBS.c.job == RESULTS.c.driver)
            query = query.where(RESULTS.c.planner.is_(None))
        else:
            asked = asked.join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
            asked = asked.join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
            query = query.where(JOBS.c.job == job)
        followed = leader.c.job.is_not(None)
        query = (
            query.select_from(asked.outerjoin(leader, leader.c.job == following))
            .where(
                sa.or_(~RESULTS.c.planned, sa.and_(~RESULTS.c.closed, followed)),
                RESULTS.c.error.is_(None),
                JOBS.c.state == JobState.READY,
                ~JOBS.c.partial,
            )
            .order_by(JOBS.c.lane, JOBS.c.priority.desc(), JOBS.c.job, RESULTS.c.run_name)
            .limit(most)
            .with_for_update(skip_locked=True, of=RESULTS)
        )
        with self._database.write() as connection:
            check_alive(connection, self._service)
            rows = connection.execute(query).all()
            if job is None and rows:
                taken = sa.update(RESULTS).where(RESULTS.c.result.in_([row.result for row in rows]))
                connection.execute(taken.values(planner=self._service))
        found = [
            ToPlan(
                row.result,
                target_of(row),
                row.job,
                row.keep_up is not None,
                row.planned_blocks,
                row.keep_up or 1,
                row.reduce_at,
            )
            for row in rows
        ]
        self._following |= {each.result: each.live for each in found}
        return found

    def add(
        self,
        result: str,
        units: Sequence[tuple[Unit, int]],
        *,
        blocks: int,
        frames: int,
        complete: bool,
        deferred: Container[str] = (),
    ) -> set[str]:
        """Add units of a result; those that are there already stay as they stand.

        Parameters
        ----------
        result
            The result.
        units
            Units, and the bytes of memory that each needs.
        blocks
            Blocks of the run that are planned with these.
        frames
            Frames of the run.
        complete
            Whether no more will come: of a run that is followed, because it is closed, and
            otherwise as far as it had come.
        deferred
            Those that are computed only when there is time.

        Returns
        -------
        set of str
            Those that are done already.
        """
        done: set[str] = set()
        with self._database.write() as connection:
            for begin in range(0, len(units), _AT_ONCE):
                done |= add_units(connection, result, units[begin : begin + _AT_ONCE], deferred)
            values: dict[str, object] = {"planned_blocks": blocks, "frames": frames}
            if complete:
                values["planned"] = True
                mine = RESULTS.c.planner == self._service
                values["planner"] = sa.case((mine, None), else_=RESULTS.c.planner)
                if self._following.pop(result, True):
                    values["closed"] = True
            connection.execute(
                sa.update(RESULTS).where(RESULTS.c.result == result).values(**values)
            )
            now = self._database.now(connection)
            # The job may have been cancelled in the meantime.
            drop_unwanted(connection, [result], now=now)
            if complete:
                settle_results(connection, [result], now=now)
            self._database.announce(connection)
        return done

    def waiting(self, result: str) -> int:
        """Return the number of units of a result that are to be taken, or are worked on."""
        query = sa.select(sa.func.count()).where(
            UNITS.c.result == result,
            UNITS.c.state.in_([UnitState.WAITING, UnitState.READY, *HELD_UNITS]),
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def fail(self, result: str, error: str) -> None:
        """Note that a result cannot be planned, as its run is not there or cannot be read."""
        self._fail(result, error, planned_too=False)

    def give_up(self, result: str, error: str) -> None:
        """Note that nothing more of a result can be computed; what is published stays."""
        self._fail(result, error, planned_too=True)

    def _fail(self, result: str, error: str, *, planned_too: bool) -> None:
        with self._database.write() as connection:
            values = {"error": plain(error), "planner": None}
            connection.execute(
                sa.update(RESULTS).where(RESULTS.c.result == result).values(**values)
            )
            now = self._database.now(connection)
            if planned_too:
                cancel_open(connection, [result], now=now)
            settle_results(connection, [result], now=now)

    def release(self, result: str) -> None:
        """Let another service go on with the planning of a result."""
        mine = sa.and_(RESULTS.c.result == result, RESULTS.c.planner == self._service)
        with self._database.write() as connection:
            connection.execute(sa.update(RESULTS).where(mine).values(planner=None))
