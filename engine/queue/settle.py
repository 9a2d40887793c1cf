"""What follows from a change: whom a result serves, and which jobs have ended."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from forebay.engine.queue.schema import DEPENDENCIES, JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.states import (
    ENDED_JOBS,
    OPEN_UNITS,
    JobState,
    UnitState,
)

_AT_ONCE = 500
"""Names in one statement: databases bound their number."""


def assign(connection: sa.Connection, results: Sequence[str]) -> None:
    """Let each result serve the most urgent of the jobs that ask for it and may be worked on."""
    most_urgent = (
        sa.select(JOBS.c.job)
        .join(JOB_RESULTS, JOB_RESULTS.c.job == JOBS.c.job)
        .where(
            JOB_RESULTS.c.result == RESULTS.c.result,
            JOBS.c.state == JobState.READY,
            JOBS.c.private.is_(None),
        )
        .order_by(JOBS.c.lane, JOBS.c.priority.desc(), JOBS.c.job)
        .limit(1)
        .correlate(RESULTS)
        .scalar_subquery()
    )
    for some in _in_groups(results):
        connection.execute(
            sa.update(RESULTS).where(RESULTS.c.result.in_(some)).values(driver=most_urgent)
        )


def drop_unwanted(connection: sa.Connection, results: Sequence[str], *, now: int) -> None:
    """Cancel the units that no job asks for any more; whoever holds one can record nothing."""
    wanted = (
        sa.select(JOB_RESULTS.c.result)
        .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
        .where(JOBS.c.state.not_in(ENDED_JOBS), JOB_RESULTS.c.result == UNITS.c.result)
        .correlate(UNITS)
        .exists()
    )
    for some in _in_groups(results):
        mine = sa.and_(UNITS.c.result.in_(some), UNITS.c.state.in_(OPEN_UNITS), ~wanted)
        # What was published stays so, though it was to be computed anew.
        state = sa.case((UNITS.c.part.is_not(None), UnitState.DONE), else_=UnitState.CANCELLED)
        values = {"state": state, "holder": None, "not_before": None, "ended_at": now}
        connection.execute(sa.update(UNITS).where(mine).values(**values))


def settle_results(connection: sa.Connection, results: Iterable[str], *, now: int) -> None:
    """End the jobs that ask for these results, if everything of theirs is done."""
    for some in _in_groups(sorted(set(results))):
        query = (
            sa.select(JOB_RESULTS.c.job)
            .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
            .where(JOB_RESULTS.c.result.in_(some), JOBS.c.state == JobState.READY)
            .distinct()
        )
        settle_jobs(connection, list(connection.execute(query).scalars()), now=now)


def settle_jobs(
    connection: sa.Connection, jobs: Iterable[int], *, now: int, ended: Iterable[int] = ()
) -> None:
    """End those of the jobs of which everything is done; go on with what waited for them."""
    over = list(ended)
    for job in jobs:
        if _all_done(connection, job):
            state = JobState.FAILED if _anything_failed(connection, job) else JobState.DONE
            values = {"state": state, "ended_at": now}
            where = sa.and_(JOBS.c.job == job, JOBS.c.state == JobState.READY)
            if connection.execute(sa.update(JOBS).where(where).values(**values)).rowcount:
                over.append(job)
        else:
            _give_up_when_too_many_failed(connection, job, now=now)
    while over:
        over = _wake_dependents(connection, over, now=now)


def _all_done(connection: sa.Connection, job: int) -> bool:
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    unplanned = sa.select(RESULTS.c.result).where(
        RESULTS.c.result.in_(of_job), ~RESULTS.c.planned, RESULTS.c.error.is_(None)
    )
    if connection.execute(unplanned.limit(1)).first() is not None:
        return False
    left = sa.select(UNITS.c.unit).where(UNITS.c.result.in_(of_job), UNITS.c.state.in_(OPEN_UNITS))
    return connection.execute(left.limit(1)).first() is None


def _anything_failed(connection: sa.Connection, job: int) -> bool:
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    dead = sa.select(UNITS.c.unit).where(
        UNITS.c.result.in_(of_job), UNITS.c.state == UnitState.DEAD
    )
    broken = sa.select(RESULTS.c.result).where(
        RESULTS.c.result.in_(of_job), RESULTS.c.error.is_not(None)
    )
    return any(connection.execute(each.limit(1)).first() is not None for each in (dead, broken))


def _give_up_when_too_many_failed(connection: sa.Connection, job: int, *, now: int) -> None:
    allowed = connection.execute(
        sa.select(JOBS.c.failures_allowed).where(JOBS.c.job == job)
    ).scalar()
    if allowed is None:
        return
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
    count = sa.select(sa.func.count()).where(
        UNITS.c.result.in_(of_job), UNITS.c.state == UnitState.DEAD
    )
    dead = int(connection.execute(count).scalar_one())
    if dead <= allowed:
        return
    error = f"given up after {dead} dead letters, of which {allowed} are allowed"
    connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.job == job)
        .values(state=JobState.FAILED, error=error, ended_at=now)
    )
    results = list(connection.execute(of_job).scalars())
    assign(connection, results)
    drop_unwanted(connection, results, now=now)
    settle_jobs(connection, [], now=now, ended=[job])


def _wake_dependents(connection: sa.Connection, ended: Sequence[int], *, now: int) -> list[int]:
    """Make ready what waited for these jobs alone; return what ended because of them."""
    query = (
        sa.select(JOBS.c.job)
        .join(DEPENDENCIES, DEPENDENCIES.c.job == JOBS.c.job)
        .where(DEPENDENCIES.c.after.in_(list(ended)), JOBS.c.state == JobState.WAITING)
        .distinct()
    )
    over = []
    for job in connection.execute(query).scalars().all():
        before = sa.select(JOBS.c.job, JOBS.c.state).join(
            DEPENDENCIES, DEPENDENCIES.c.after == JOBS.c.job
        )
        states = dict(connection.execute(before.where(DEPENDENCIES.c.job == job)).all())
        bad = [
            f"job {each} is {state}"
            for each, state in states.items()
            if state in {JobState.FAILED, JobState.CANCELLED}
        ]
        if bad:
            values = {"state": JobState.CANCELLED, "error": "; ".join(bad), "ended_at": now}
            connection.execute(sa.update(JOBS).where(JOBS.c.job == job).values(**values))
            over.append(job)
        elif all(state == JobState.DONE for state in states.values()):
            connection.execute(
                sa.update(JOBS).where(JOBS.c.job == job).values(state=JobState.READY)
            )
            wanted = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
            assign(connection, list(connection.execute(wanted).scalars()))
    return over


def _in_groups(names: Sequence[str]) -> Iterable[list[str]]:
    return (list(names[begin : begin + _AT_ONCE]) for begin in range(0, len(names), _AT_ONCE))
