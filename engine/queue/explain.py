"""Why a job stands as it does, what is before it, and when it should be done."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import JobRecord, Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import AGEING_SECONDS
from forebay.engine.queue.places import hindrances
from forebay.engine.queue.progress import Progress
from forebay.engine.queue.schema import DEPENDENCIES, JOB_RESULTS, JOBS, RESULTS, SERVICES, UNITS
from forebay.engine.queue.settle import open_unit
from forebay.engine.queue.states import HELD_UNITS, OPEN_UNITS, JobState, UnitState
from forebay.engine.queue.submission import Target, target_of
from forebay.engine.queue.turns import ONE_OF
from forebay.engine.wording import counted

_LATELY_SECONDS = 300
_RESULTS_LOOKED_AT = 200
_UNITS_LOOKED_AT = 2000
_PLACES_LOOKED_AT = 20
_NO_DEADLINE = 2**62
_ORDER = (
    JOBS.c.lane,
    -JOBS.c.priority,
    sa.func.coalesce(JOBS.c.deadline, _NO_DEADLINE),
    JOBS.c.job,
)
_LAST = (
    sa.select(UNITS.c.published_at)
    .where(UNITS.c.result == sa.bindparam("of"), UNITS.c.state == UnitState.DONE)
    .order_by(UNITS.c.start.desc())
    .limit(_UNITS_LOOKED_AT)
    .subquery()
)
_LATELY = sa.select(sa.func.count(), sa.func.min(_LAST.c.published_at)).where(
    _LAST.c.published_at > sa.bindparam("since")
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a job stands, and why."""

    job: JobRecord
    """The job."""
    progress: Progress
    """How many of its units stand how."""
    reasons: tuple[str, ...]
    """Why it stands so, in sentences."""
    place: int | None
    """Its place among the jobs that are served, from 1; None if it is not among them."""
    units_before: int
    """Units of jobs before it that are not done."""
    starts_in: float | None
    """Seconds until its turn, by how fast units were done lately; None where nothing tells."""
    ends_in: float | None
    """Seconds until it is done."""
    deadline_in: float | None
    """Seconds until it should be done by its deadline; less than 0 after that."""


def explain(database: Database, job: int, *, ageing_seconds: float = AGEING_SECONDS) -> Explanation:
    """Explain how a job stands.

    Parameters
    ----------
    database
        The queue.
    job
        Number of the job.
    ageing_seconds
        Time without a turn after which services let a job move up by one lane.

    Raises
    ------
    UnknownJobError
        If there is none.
    """
    jobs = Jobs(database)
    record, progress = jobs.get(job), jobs.progress(job)
    with database.read() as connection:
        now = database.now(connection)
        before = _before(connection, record) if record.state == JobState.READY else None
        rate = _rate(connection, now=now)
        first = before is None or not before[0]
        reasons = [*_reasons(connection, record, progress, now=now, first=first)]
        aged = None
        if not first and progress.count(UnitState.READY) and not progress.count(*HELD_UNITS):
            aged = _out_of_turn(connection, record, int(ageing_seconds * 1e9), now=now)
        unfinished = _unfinished(connection, record)
        tried_again = _tried_again_in(connection, record, now=now)
    if aged is not None:
        reasons.append(aged.told)
    # Files may be slow to answer, and nothing is kept waiting in the database meanwhile.
    where = Path(database.name) if database.dialect == "sqlite" else database.name
    reasons += hindrances(unfinished, ledger=where, live=record.live)
    units_before = before[1] if before else 0
    own = progress.count(*OPEN_UNITS)
    starts = ends = None
    if before is not None and rate:
        starts, ends = units_before / rate, max((units_before + own) / rate, tried_again[1])
        if progress.count(*HELD_UNITS):
            starts = 0.0
        elif progress.count(UnitState.FAILED) == own:
            starts = max(starts, tried_again[0])
        elif aged is not None:
            starts = min(starts, max(aged.seconds, ONE_OF * aged.others / rate))
    place = None if before is None else before[0] + 1
    left = None if record.deadline is None or record.ended else (record.deadline - now) / 1e9
    return Explanation(record, progress, tuple(reasons), place, units_before, starts, ends, left)


def _unfinished(connection: sa.Connection, record: JobRecord) -> list[Target]:
    """Return some of what a job asks for and what is not done."""
    if record.ended:
        return []
    query = (
        sa.select(RESULTS)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
        .where(
            JOB_RESULTS.c.job == record.job,
            sa.or_(~RESULTS.c.closed, open_unit(RESULTS.c.result).is_not(None)),
        )
        .limit(_PLACES_LOOKED_AT)
    )
    return [target_of(row) for row in connection.execute(query)]


def _before(connection: sa.Connection, record: JobRecord) -> tuple[int, int]:
    """Return how many jobs are served before one, and how many units they have left."""
    left = (
        sa.select(sa.func.count())
        .select_from(UNITS)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == UNITS.c.result)
        .where(JOB_RESULTS.c.job == JOBS.c.job, UNITS.c.state.in_(OPEN_UNITS))
        .correlate(JOBS)
        .scalar_subquery()
    )
    mine = (record.lane, -record.priority, record.deadline or _NO_DEADLINE, record.job)
    # Units of those behind it are not counted.
    behind = sa.tuple_(*_ORDER) >= sa.tuple_(*mine)
    query = sa.select(left).where(JOBS.c.state == JobState.READY, ~behind)
    numbers = [int(number) for number in connection.execute(query).scalars() if number]
    return len(numbers), sum(numbers)


@dataclass(frozen=True, slots=True)
class _OutOfTurn:
    """When a job gets a unit though others are served before it."""

    seconds: float
    """How long it has to wait at least."""
    others: int
    """Jobs that have waited longer, and get one before."""

    @property
    def told(self) -> str:
        when = f"in {self.seconds:.0f} s" if self.seconds else "now"
        after = f", after {counted(self.others, 'other job')}" if self.others else ""
        return (
            f"of {ONE_OF} units one is of a job that has had no turn for long: of this one {when}"
            f"{after}"
        )


def _out_of_turn(
    connection: sa.Connection, record: JobRecord, ageing: int, *, now: int
) -> _OutOfTurn:
    """Return when a job gets a unit for having had no turn, however much is before it."""
    unit = (
        sa.select(UNITS.c.unit)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == UNITS.c.result)
        .where(JOB_RESULTS.c.job == JOBS.c.job, UNITS.c.state == UnitState.READY)
        .limit(1)
        .correlate(JOBS)
        .scalar_subquery()
        .is_not(None)
    )
    ready = sa.and_(JOBS.c.state == JobState.READY, JOBS.c.job != record.job, unit)
    served = connection.execute(
        sa.select(JOBS.c.job, JOBS.c.lane).where(ready).order_by(*_ORDER).limit(1)
    ).first()
    lanes = 1 if served is None else max(1, record.lane - served.lane)
    aged_at = record.served_at + lanes * ageing
    moved = sa.cast(JOBS.c.lane, sa.BigInteger) * ageing + JOBS.c.served_at
    longer = sa.and_(
        ready,
        JOBS.c.job != (0 if served is None else served.job),
        moved < record.lane * ageing + record.served_at,
        JOBS.c.served_at <= min(now, aged_at) - ageing,
    )
    others = connection.execute(sa.select(sa.func.count()).select_from(JOBS).where(longer)).scalar()
    return _OutOfTurn(max(0.0, (aged_at - now) / 1e9), int(others or 0))


def _tried_again_in(
    connection: sa.Connection, record: JobRecord, *, now: int
) -> tuple[float, float]:
    """Return in how many seconds the first and the last of a job's failed units are tried again."""
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == record.job)
    query = sa.select(sa.func.min(UNITS.c.not_before), sa.func.max(UNITS.c.not_before)).where(
        UNITS.c.result.in_(of_job), UNITS.c.state == UnitState.FAILED
    )
    first, last = (max(0.0, ((at or now) - now) / 1e9) for at in connection.execute(query).one())
    return first, last


def _rate(connection: sa.Connection, *, now: int) -> float | None:
    """Return how many units are done in a second, lately."""
    since = now - _LATELY_SECONDS * 10**9
    served = (
        sa.select(JOB_RESULTS.c.result)
        .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
        .where(JOBS.c.served_at > since, JOBS.c.served_at > JOBS.c.created_at)
        .distinct()
        .limit(_RESULTS_LOOKED_AT)
    )
    number, first = 0, now
    for result in connection.execute(served).scalars().all():
        # In the order of their frames they are published, or nearly so.
        count, earliest = connection.execute(_LATELY, {"of": result, "since": since}).one()
        number, first = number + count, min(first, earliest or now)
    return number / max(1.0, (now - first) / 1e9) if number else None


def _reasons(
    connection: sa.Connection, record: JobRecord, progress: Progress, *, now: int, first: bool
) -> list[str]:
    reasons: list[str] = []
    match record.state:
        case JobState.DONE:
            return ["everything is published"]
        case JobState.CANCELLED | JobState.FAILED:
            if record.error:
                reasons.append(record.error)
        case JobState.PAUSED:
            reasons.append(f"'forebay jobs resume {record.job}' goes on with it")
        case JobState.WAITING:
            query = (
                sa.select(JOBS.c.job, JOBS.c.state)
                .join(DEPENDENCIES, DEPENDENCIES.c.after == JOBS.c.job)
                .where(DEPENDENCIES.c.job == record.job, JOBS.c.state != JobState.DONE)
            )
            waits = [
                f"job {job}, which {JobState(state).told}"
                for job, state in connection.execute(query)
            ]
            reasons.append(f"it comes after {' and '.join(waits)}")
        case JobState.READY:
            reasons += _reasons_to_wait(connection, record, progress, now=now, first=first)
    if dead := progress.count(UnitState.DEAD):
        letters = counted(dead, "dead letter")
        reasons.append(f"it has {letters} ('forebay dead list --job {record.job}' shows them)")
    reasons += progress.errors
    return reasons


def _reasons_to_wait(
    connection: sa.Connection, record: JobRecord, progress: Progress, *, now: int, first: bool
) -> list[str]:
    alive = sa.select(sa.func.count()).where(SERVICES.c.alive_until > now)
    if record.private is not None:
        alive = alive.where(SERVICES.c.service == record.private)
        nobody = "the process that submitted it for itself has ended"
    elif record.cluster is not None:
        alive = alive.where(SERVICES.c.cluster == record.cluster)
        nobody = (
            f"no service computes on the cluster {record.cluster!r}, for which it is "
            f"('forebay serve --cluster {record.cluster}' starts one)"
        )
    else:
        nobody = "no service is running ('forebay serve' starts one)"
    if not connection.execute(alive).scalar():
        return [nobody]
    reasons = []
    if held := progress.count(*HELD_UNITS):
        reasons.append(f"{_counted(held, 'of its units is', 'of its units are')} being computed")
    if retried := progress.count(UnitState.FAILED):
        of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == record.job)
        soonest = sa.select(sa.func.min(UNITS.c.not_before), sa.func.max(UNITS.c.error)).where(
            UNITS.c.result.in_(of_job), UNITS.c.state == UnitState.FAILED
        )
        at, error = connection.execute(soonest).one()
        wait = max(0.0, (at - now) / 1e9)
        one, more = "unit failed and is tried again,", "units failed and are tried again, the first"
        reasons.append(f"{_counted(retried, one, more)} in {wait:.0f} s ({error})")
    of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == record.job)
    small = sa.select(sa.func.count(), sa.func.max(UNITS.c.memory)).where(
        UNITS.c.result.in_(of_job), UNITS.c.state.in_(OPEN_UNITS), UNITS.c.memory.is_not(None)
    )
    number, most = connection.execute(small).one()
    if number:
        one, more = "unit ran out of memory and is", "units ran out of memory and are"
        reasons.append(
            f"{_counted(number, one, more)} for a worker with more than "
            f"{most / 2**30:.3g} GiB, which is started if the cluster has a memory_ceiling"
        )
    if behind := progress.count(UnitState.WAITING):
        one = "unit waits for the block before it, with whose state it goes on"
        more = "units wait for the block before them, with whose state they go on"
        reasons.append(_counted(behind, one, more))
    if late := progress.count(UnitState.DEFERRED):
        were = _counted(late, "unit was put off and is", "units were put off and are")
        lane = Lane.REPROCESS.label
        reasons.append(f"it was late: {were} computed in the lane {lane}, when there is time")
    held_back = (
        sa.select(RESULTS.c.held_until, RESULTS.c.held_because)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
        .where(JOB_RESULTS.c.job == record.job, RESULTS.c.held_until > now)
        .order_by(RESULTS.c.held_until)
    )
    waiting = connection.execute(held_back.limit(3)).all()
    for until, because in waiting:
        wait = (until - now) / 1e9
        reasons.append(
            f"it waits for what it needs, and is tried again in {wait:.0f} s ({because})"
        )
    if progress.planned + len(progress.errors) < progress.results:
        known = progress.planned
        reasons.append(
            "it follows what is recorded: blocks are computed as they are committed"
            if record.live
            else f"{known} of its {progress.results} runs are divided into units so far"
        )
    if not held and not waiting and progress.count(UnitState.READY):
        lane = Lane(record.lane).label
        order = "it is next, when there is room" if first else "the jobs before it are served first"
        reasons.append(f"{order}; it is in the lane {lane}")
    driven = (
        sa.select(RESULTS.c.driver)
        .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
        .where(JOB_RESULTS.c.job == record.job, RESULTS.c.driver != record.job)
        .distinct()
    )
    others = sorted(connection.execute(driven).scalars())
    if others:
        names = ", ".join(str(each) for each in others)
        reasons.append(f"job {names} asks for some of the same and is served first")
    return reasons


def _counted(number: int, one: str, more: str) -> str:
    """Return a number with what it counts."""
    return f"{number} {one if number == 1 else more}"
