"""How much work waits: units by algorithm, and how long one of each takes."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.states import OPEN_UNITS, JobState, UnitState

_RESULTS_LOOKED_AT = 8
"""Results of an algorithm, the newest ones, by which is told how long its units take."""
_UNITS_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Backlog:
    """The units of one algorithm that are not done."""

    algorithm: str
    """Its name."""
    version: str
    """Its version."""
    units: int
    """Units that may be computed, or are."""
    behind: int
    """Units that wait for the block before them, so that no further worker helps them."""
    longest: float
    """For how many seconds the one that is computed for longest is."""


def backlogs(
    database: Database,
    *,
    cluster: str | None = None,
    job: int | None = None,
    lanes: Collection[Lane] | None = None,
) -> list[Backlog]:
    """Return what is not done of the jobs that are served.

    Parameters
    ----------
    database
        The queue.
    cluster
        The cluster that computes: jobs for another one do not count.
    job
        The only job that counts; where it is not given, all that are for any service.
    lanes
        The lanes that count; all where they are not given.
    """
    jobs = served_jobs(cluster=cluster, job=job, lanes=lanes)
    wanted = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job.in_(jobs))
    key = (RESULTS.c.algorithm, RESULTS.c.version)
    counts = counts_of(wanted, OPEN_UNITS)
    counted = sa.select(*key, counts.c.state, sa.func.sum(counts.c.number))
    counted = counted.join_from(RESULTS, counts, RESULTS.c.result == counts.c.result)
    counted = counted.group_by(*key, counts.c.state)
    running = (
        sa.select(*key, sa.func.min(UNITS.c.began_at))
        .join_from(RESULTS, UNITS, RESULTS.c.result == UNITS.c.result)
        .where(UNITS.c.result.in_(wanted))
        .where(UNITS.c.state == UnitState.RUNNING, UNITS.c.began_at.is_not(None))
        .group_by(*key)
    )
    found: dict[tuple[str, str], Backlog] = {}
    with database.read() as connection:
        now = database.now(connection)
        numbers = connection.execute(counted).all()
        began = {(row[0], row[1]): row[2] for row in connection.execute(running)}
    for algorithm, version, state, number in numbers:
        since = began.get((algorithm, version), now)
        known = found.get((algorithm, version)) or Backlog(
            algorithm, version, 0, 0, max(0.0, (now - since) / 1e9)
        )
        found[algorithm, version] = replace(
            known,
            units=known.units + (0 if state == UnitState.WAITING else int(number)),
            behind=known.behind + (int(number) if state == UnitState.WAITING else 0),
        )
    return list(found.values())


def needing_memory(
    database: Database, *, cluster: str | None = None, job: int | None = None
) -> int:
    """Return how many units have run out of memory, and are for a worker that has more.

    The parameters are those of `backlogs`.
    """
    jobs = served_jobs(cluster=cluster, job=job)
    wanted = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job.in_(jobs))
    query = sa.select(sa.func.count()).where(
        UNITS.c.result.in_(wanted), UNITS.c.state.in_(OPEN_UNITS), UNITS.c.memory.is_not(None)
    )
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def counts_of(results: sa.Select[tuple[str]], states: Collection[UnitState]) -> sa.Subquery:
    """Return the query for the number of units by result and state.

    An index alone answers it in its own order, however many they are.

    Parameters
    ----------
    results
        The query for the results.
    states
        The states that count.
    """
    return (
        sa.select(UNITS.c.result, UNITS.c.state, sa.func.count().label("number"))
        .where(UNITS.c.result.in_(results), UNITS.c.state.in_(states))
        .group_by(UNITS.c.result, UNITS.c.state)
        .subquery()
    )


def served_jobs(
    *, cluster: str | None, job: int | None, lanes: Collection[Lane] | None = None
) -> sa.Select[tuple[int]]:
    """Return the query for the jobs that are served: one alone, or all that are for any service.

    Parameters
    ----------
    cluster
        The cluster that computes: jobs for another one do not count.
    job
        The only job, or None.
    lanes
        The lanes of jobs that are for any cluster; all where they are not given.
    """
    jobs = sa.select(JOBS.c.job).where(JOBS.c.state == JobState.READY)
    if job is not None:
        return jobs.where(JOBS.c.job == job)
    anywhere: sa.ColumnElement[bool] = JOBS.c.cluster.is_(None)
    if lanes is not None:
        anywhere = sa.and_(anywhere, JOBS.c.lane.in_([int(each) for each in lanes]))
    for_us = sa.or_(anywhere, JOBS.c.cluster == cluster)
    return jobs.where(JOBS.c.private.is_(None), for_us)


def usual_seconds(database: Database, algorithm: str, version: str) -> float | None:
    """Return how long units of an algorithm took lately; None if none is done."""
    newest = (
        sa.select(RESULTS.c.result)
        .where(RESULTS.c.algorithm == algorithm, RESULTS.c.version == version)
        .order_by(RESULTS.c.created_at.desc())
        .limit(_RESULTS_LOOKED_AT)
    )
    done = (
        sa.select(UNITS.c.seconds)
        .where(
            UNITS.c.result.in_(newest.scalar_subquery()),
            UNITS.c.state == UnitState.DONE,
            UNITS.c.seconds.is_not(None),
        )
        .limit(_UNITS_LOOKED_AT)
        .subquery()
    )
    with database.read() as connection:
        mean = connection.execute(sa.select(sa.func.avg(done.c.seconds))).scalar()
    return None if mean is None else float(mean)
