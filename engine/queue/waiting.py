"""What is known of the work that waits: its lanes, what it reads, and when it has to be done."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from forebay.engine.queue.backlog import counts_of, served_jobs
from forebay.engine.queue.database import Database
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.schema import JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.states import OPEN_UNITS, JobState, UnitState
from forebay.tiering import copies_of
from forebay.tiering.catalogue.migrating import Database as AnyDatabase

_IDLE = (UnitState.READY, UnitState.WAITING, UnitState.DEFERRED, UnitState.FAILED)

_UNITS_LOOKED_AT = 100
_SOME = (
    sa.select(UNITS.c.bytes)
    .where(UNITS.c.result == RESULTS.c.result, UNITS.c.state.in_(_IDLE))
    .limit(_UNITS_LOOKED_AT)
    .correlate(RESULTS)
    .subquery()
)
_SIZE = sa.select(sa.func.avg(_SOME.c.bytes)).correlate(RESULTS).scalar_subquery()
"""How many bytes a unit of a result reads that nobody is at."""


@dataclass(frozen=True, slots=True)
class WaitingResult:
    """What is left to do of a result."""

    result: str
    """Its identity."""
    algorithm: str
    """Name of its algorithm."""
    version: str
    """Its version."""
    units: int
    """Units that may be computed, or are."""
    unit_bytes: float
    """What one of them reads, in the mean."""
    folders: tuple[str, ...]
    """The folders or buckets that the copies of its run lie in."""
    bound: bool
    """A job for this cluster alone asks for it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The units that nobody is at."""

    data: dict[tuple[str, ...], int] = field(default_factory=dict)
    """Bytes that they read, by the folders or buckets that the copies of their runs lie in.

    Where more than a hundred units of a result wait, they are taken to read as much as those do.
    """
    deadline_in: float | None = None
    """Time until the nearest deadline of their jobs, in seconds; None where there is none."""
    results: tuple[WaitingResult, ...] = ()
    """The results that they belong to."""


def waiting(
    database: Database,
    *,
    cluster: str | None = None,
    job: int | None = None,
    lanes: Collection[Lane] | None = None,
) -> Waiting:
    """Return what is known of the units of the jobs that are served, and that nobody is at.

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
    for_us = sa.false() if cluster is None else JOBS.c.cluster == cluster
    bound_to_us = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job.in_(jobs.where(for_us)))
    counts = counts_of(wanted, OPEN_UNITS)
    number = sa.func.sum(counts.c.number)
    columns = (RESULTS.c.result, RESULTS.c.algorithm, RESULTS.c.version, RESULTS.c.location)
    numbers = (
        sa.select(
            *columns,
            number.filter(counts.c.state.in_(_IDLE)).label("idle"),
            number.filter(counts.c.state != UnitState.WAITING).label("open"),
            _SIZE.label("size"),
        )
        .join_from(RESULTS, counts, RESULTS.c.result == counts.c.result)
        .group_by(*columns)
    )
    idle_unit = (
        sa.select(UNITS.c.unit)
        .join(JOB_RESULTS, UNITS.c.result == JOB_RESULTS.c.result)
        .where(JOB_RESULTS.c.job == JOBS.c.job, UNITS.c.state.in_(_IDLE))
        .limit(1)
        .correlate(JOBS)
        .scalar_subquery()
    )
    soonest = sa.select(sa.func.min(JOBS.c.deadline)).where(
        JOBS.c.job.in_(jobs), JOBS.c.deadline.is_not(None), idle_unit.is_not(None)
    )
    found: Counter[tuple[str, ...]] = Counter()
    with database.read() as connection:
        bound = {*connection.execute(bound_to_us).scalars()}
        rows = connection.execute(numbers).all()
        deadline = connection.execute(soonest).scalar()
        now = database.now(connection)
    results = []
    for row in rows:
        folders, idle, size = folders_of(row.location), int(row.idle or 0), float(row.size or 0)
        if idle:
            found[folders] += round(size * idle)
        results.append(
            WaitingResult(
                row.result,
                row.algorithm,
                row.version,
                int(row.open or 0),
                size,
                folders,
                row.result in bound,
            )
        )
    in_seconds = None if deadline is None else (deadline - now) / 1e9
    return Waiting(dict(found), in_seconds, tuple(results))


def folders_of(location: str | None) -> tuple[str, ...]:
    """Return the folders or buckets that the copies of a run lie in; none where that is not known.

    Examples
    --------
    >>> folders_of("s3://archive/2026/run-7"), folders_of("/data/runs/run-7")
    (('s3://archive/2026',), ('/data/runs',))
    """
    copies = () if location is None else copies_of(location)
    return tuple(sorted({each.rstrip("/").rpartition("/")[0] for each in copies}))


def work_waits(database: AnyDatabase, lane: Lane) -> bool:
    """Tell whether a job of a lane has units that nobody has taken yet.

    Parameters
    ----------
    database
        The queue.
    lane
        The lane.
    """
    query = (
        sa.select(UNITS.c.unit)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == UNITS.c.result)
        .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
        .where(
            JOBS.c.state == JobState.READY,
            JOBS.c.lane == int(lane),
            UNITS.c.state == UnitState.READY,
        )
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(query).first() is not None
