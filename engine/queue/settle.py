"""What follows from a change: whom a result serves, and which jobs have ended."""

import functools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.schema import (
    DEPENDENCIES,
    JOB_RESULTS,
    JOBS,
    RESULTS,
    SERVICES,
    UNITS,
)
from forebay.engine.queue.states import (
    ENDED_JOBS,
    OPEN_UNITS,
    JobState,
    UnitState,
)

_MOST_LIKELY = sorted(OPEN_UNITS, key=lambda each: each != UnitState.READY)
_AT_ONCE = 500
"""Names in one statement: databases bound their number."""


def assign(connection: sa.Connection, results: Sequence[str]) -> None:
    """Let each result serve the most urgent of the jobs that ask for it and may be worked on.

    One that is for a cluster for which nobody computes goes behind all others: what it shares with
    them would else wait as long as that is so.
    """
    served = sa.select(SERVICES.c.service).where(SERVICES.c.cluster == JOBS.c.cluster).exists()
    nobodys = sa.and_(JOBS.c.cluster.is_not(None), ~served)
    # As a join, SQLite would begin with all jobs that are ready, for each result.
    asking = sa.select(JOB_RESULTS.c.job).where(JOB_RESULTS.c.result == RESULTS.c.result)
    most_urgent = (
        sa.select(JOBS.c.job)
        .where(
            JOBS.c.job.in_(asking.correlate(RESULTS)),
            JOBS.c.state == JobState.READY,
            JOBS.c.private.is_(None),
        )
        .order_by(
            sa.case((nobodys, 1), else_=0),
            JOBS.c.lane,
            JOBS.c.priority.desc(),
            sa.func.coalesce(JOBS.c.deadline, 2**62),
            JOBS.c.job,
        )
        .limit(1)
        .correlate(RESULTS)
        .scalar_subquery()
    )
    for some in _in_groups(results):
        connection.execute(
            sa.update(RESULTS).where(RESULTS.c.result.in_(some)).values(driver=most_urgent)
        )


def assign_shared(connection: sa.Connection) -> None:
    """Assign anew what jobs for one cluster share with others, as services come and go."""
    of_clusters = (
        sa.select(JOB_RESULTS.c.result)
        .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
        .where(JOBS.c.state == JobState.READY, JOBS.c.cluster.is_not(None))
    )
    shared = (
        sa.select(JOB_RESULTS.c.result)
        .where(JOB_RESULTS.c.result.in_(of_clusters))
        .group_by(JOB_RESULTS.c.result)
        .having(sa.func.count() > 1)
    )
    assign(connection, list(connection.execute(shared).scalars()))


def drop_unwanted(connection: sa.Connection, results: Sequence[str], *, now: int) -> None:
    """Cancel the units that no job asks for any more; whoever holds one can record nothing."""
    wanted = (
        sa.select(JOB_RESULTS.c.result)
        .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
        .where(JOBS.c.state.not_in(ENDED_JOBS))
    )
    for some in _in_groups(results):
        asked = connection.execute(wanted.where(JOB_RESULTS.c.result.in_(some))).scalars()
        if unwanted := set(some).difference(asked):
            cancel_open(connection, unwanted, now=now)


def cancel_open(connection: sa.Connection, results: Collection[str], *, now: int) -> None:
    """Cancel what is still to be worked on; whoever holds a unit can record nothing."""
    mine = sa.and_(UNITS.c.result.in_(results), UNITS.c.state.in_(OPEN_UNITS))
    # What was published stays so, though it was to be computed anew.
    state = sa.case((UNITS.c.part.is_not(None), UnitState.DONE), else_=UnitState.CANCELLED)
    values = {"state": state, "holder": None, "not_before": None, "ended_at": now}
    connection.execute(sa.update(UNITS).where(mine).values(**values))


def settle_results(connection: sa.Connection, results: Iterable[str], *, now: int) -> None:
    """End the jobs that ask for these results, if everything of theirs is done."""
    for some in _in_groups(sorted(set(results))):
        ending = connection.execute(_may_end(), {"results": some}).scalars()
        settle_jobs(connection, list(ending), now=now)


@functools.cache
def _may_end() -> sa.Select[Any]:
    """Return the query for jobs that ask for some results, and may have nothing more to do.

    Nearly always there is more, which it finds without a look at each result.  As a join, databases
    may choose to begin with all jobs that are ready.
    """
    some = JOB_RESULTS.c.result.in_(sa.bindparam("results", expanding=True))
    asking = sa.select(JOB_RESULTS.c.job).where(some).distinct().subquery()
    nothing_open = _open_result(JOBS.c.job).is_(None)
    ends = (
        sa.select(
            sa.case(
                (JOBS.c.state != JobState.READY, 0),
                (JOBS.c.failures_allowed.is_not(None), 1),
                (nothing_open, 1),
                else_=0,
            )
        )
        .where(JOBS.c.job == asking.c.job)
        .correlate(asking)
        .scalar_subquery()
    )
    return sa.select(asking.c.job).where(ends == 1).order_by(asking.c.job)


def settle_jobs(connection: sa.Connection, jobs: Iterable[int], *, now: int) -> None:
    """End those of the jobs of which everything is done; go on with what waited for them."""
    for job in jobs:
        state, error = _outcome(connection, job)
        if state is not None:
            end_job(connection, job, state, now=now, error=error)


def end_job(
    connection: sa.Connection, job: int, state: JobState, *, now: int, error: str | None = None
) -> None:
    """End a job: what nobody else asks for is given up, and what waited for it goes on."""
    _end(connection, job, state, now=now, error=error)
    over = [job]
    while over:
        over += _go_on_after(connection, over.pop(), now=now)


def _end(
    connection: sa.Connection, job: int, state: JobState, *, now: int, error: str | None
) -> None:
    values = {"state": state, "error": error, "ended_at": now}
    connection.execute(sa.update(JOBS).where(JOBS.c.job == job).values(**values))
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    results = list(connection.execute(of_job).scalars())
    assign(connection, results)
    if state != JobState.DONE:
        drop_unwanted(connection, results, now=now)


def _outcome(connection: sa.Connection, job: int) -> tuple[JobState | None, str | None]:
    """Return how a job ends that is worked on, and why; None if it goes on."""
    row = connection.execute(
        sa.select(JOBS.c.state, JOBS.c.live, JOBS.c.partial, JOBS.c.failures_allowed).where(
            JOBS.c.job == job
        )
    ).one()
    if row.state != JobState.READY:
        return None, None
    if _all_done(connection, job, live=row.live, partial=row.partial):
        return (JobState.FAILED if _anything_failed(connection, job) else JobState.DONE), None
    if row.failures_allowed is None:
        return None, None
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    count = sa.select(sa.func.count()).where(
        UNITS.c.result.in_(of_job), UNITS.c.state == UnitState.DEAD
    )
    dead = int(connection.execute(count).scalar_one())
    if dead <= row.failures_allowed:
        return None, None
    error = f"given up after {dead} dead letters, of which {row.failures_allowed} are allowed"
    return JobState.FAILED, error


def _all_done(connection: sa.Connection, job: int, *, live: bool, partial: bool) -> bool:
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    # Another job may have planned a run as far as it had come; a live one goes on with it.
    known = RESULTS.c.closed if live else RESULTS.c.planned
    unplanned = sa.select(RESULTS.c.result).where(
        RESULTS.c.result.in_(of_job), ~known, RESULTS.c.error.is_(None)
    )
    if not partial and connection.execute(unplanned.limit(1)).first() is not None:
        return False
    return connection.execute(sa.select(_open_result(sa.literal(job)))).scalar() is None


def _open_result(job: sa.ColumnElement[int]) -> sa.ScalarSelect[str]:
    """Return a result of a job that has units to be worked on, the first one that is found."""
    return (
        sa.select(JOB_RESULTS.c.result)
        .where(JOB_RESULTS.c.job == job, open_unit(JOB_RESULTS.c.result).is_not(None))
        .limit(1)
        .correlate_except(JOB_RESULTS)
        .scalar_subquery()
    )


def open_unit(result: sa.ColumnElement[str]) -> sa.ColumnElement[str | None]:
    """Return a unit of a result that is still to be worked on, the first one that is found.

    Each state is looked for by itself, in the order of the index: of several at once, and as
    EXISTS, PostgreSQL may choose to go through all units of the result.
    """
    first = (
        sa.select(UNITS.c.unit)
        .where(UNITS.c.result == result, UNITS.c.state == state)
        .order_by(UNITS.c.start, UNITS.c.y, UNITS.c.x)
        .limit(1)
        .correlate_except(UNITS)
        .scalar_subquery()
        for state in _MOST_LIKELY
    )
    return sa.func.coalesce(*first)


def _anything_failed(connection: sa.Connection, job: int) -> bool:
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    dead = sa.select(UNITS.c.unit).where(
        UNITS.c.result.in_(of_job), UNITS.c.state == UnitState.DEAD
    )
    broken = sa.select(RESULTS.c.result).where(
        RESULTS.c.result.in_(of_job), RESULTS.c.error.is_not(None)
    )
    return any(connection.execute(each.limit(1)).first() is not None for each in (dead, broken))


def _go_on_after(connection: sa.Connection, ended: int, *, now: int) -> list[int]:
    """Make ready what waited for this job alone; return what ended because of it."""
    query = (
        sa.select(JOBS.c.job)
        .join(DEPENDENCIES, DEPENDENCIES.c.job == JOBS.c.job)
        .where(DEPENDENCIES.c.after == ended, JOBS.c.state == JobState.WAITING)
    )
    over = []
    for job in connection.execute(query).scalars().all():
        before = (
            sa.select(JOBS.c.job, JOBS.c.state)
            .join(DEPENDENCIES, DEPENDENCIES.c.after == JOBS.c.job)
            .where(DEPENDENCIES.c.job == job, JOBS.c.state != JobState.DONE)
            .order_by(JOBS.c.job)
        )
        states = connection.execute(before).all()
        bad = [
            f"job {each} {JobState(state).told}"
            for each, state in states
            if state in {JobState.FAILED, JobState.CANCELLED}
        ]
        outcome: JobState | None = None
        error: str | None = None
        if bad:
            outcome, error = JobState.CANCELLED, "; ".join(bad)
        elif not states:
            ready = sa.update(JOBS).where(JOBS.c.job == job).values(state=JobState.READY)
            connection.execute(ready)
            wanted = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
            assign(connection, list(connection.execute(wanted).scalars()))
            # What it asks for may be there by now.
            outcome, error = _outcome(connection, job)
        if outcome is not None:
            _end(connection, job, outcome, now=now, error=error)
            over.append(job)
    return over


def _in_groups(names: Sequence[str]) -> Iterable[list[str]]:
    return (list(names[begin : begin + _AT_ONCE]) for begin in range(0, len(names), _AT_ONCE))
