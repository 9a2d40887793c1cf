"""Jobs: submitting them, and what may be done with them afterwards."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from forebay.engine.errors import JobError, UnknownJobError
from forebay.engine.queue.database import Database, plain
from forebay.engine.queue.keys import job_of_key
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.progress import Progress, Tally, progresses_of, tallies_of
from forebay.engine.queue.schema import (
    DEPENDENCIES,
    JOB_RESULTS,
    JOBS,
    RESULTS,
    SERVICES,
    UNITS,
)
from forebay.engine.queue.sequence import NOT_DISCARDED, renew
from forebay.engine.queue.settle import assign, end_job, settle_jobs
from forebay.engine.queue.states import ENDED_JOBS, JobState, UnitState
from forebay.engine.queue.submission import (
    LARGEST,
    Submission,
    Target,
    check,
    checked_priority,
    default_key,
    target_of,
)
from forebay.engine.queue.units import add_units, upsert


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job, as the queue knows it."""

    job: int
    key: str
    algorithm: str
    version: str
    parameters: dict[str, Any]
    lane: int
    priority: int
    owner: str
    labels: dict[str, str]
    deadline: int | None
    live: bool
    keep_up: int
    force: bool
    private: str | None
    cluster: str | None
    partial: bool
    reduce_at: int | None
    recall_ahead: int | None
    recall_most: float | None
    recall_cost: float
    failures_allowed: int | None
    state: str
    error: str | None
    created_at: int
    served_at: int
    ended_at: int | None

    @property
    def told(self) -> str:
        """What is said of how it stands."""
        return JobState(self.state).told

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in ENDED_JOBS


def _recalls(submission: Submission) -> dict[str, Any]:
    """Return what was agreed to of recalls; what is agreed to anew counts from then on."""
    return {
        "recall_ahead": submission.recall_ahead,
        "recall_most": submission.recall_most,
        "recall_cost": submission.recall_cost,
    }


class Jobs:
    """The jobs of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, submission: Submission) -> tuple[int, bool]:
        """Submit a job.

        Returns
        -------
        int
            Number of the job.
        bool
            Whether it is new; one of the same key that has not ended is not submitted again.

        Raises
        ------
        JobError
            If it cannot be as it is asked for.
        KeyTakenError
            If there is a job of that key that has not ended, and is of something else.
        """
        check(submission)
        key = submission.key or default_key(submission)
        first = submission.targets[0].job
        with self._database.write() as connection:
            now = self._database.now(connection)
            known = job_of_key(connection, submission)
            if known is not None:
                if submission.recall_ahead is not None:
                    # What it reads may have gone into an archive since.
                    agreed = _recalls(submission)
                    connection.execute(sa.update(JOBS).where(JOBS.c.job == known).values(agreed))
                return known, False
            values = {
                "key": key,
                "algorithm": first.algorithm,
                "version": first.version,
                "parameters": first.parameters,
                "lane": int(submission.lane),
                "priority": submission.priority,
                "owner": submission.owner,
                "labels": dict(submission.labels),
                "deadline": submission.deadline,
                "live": submission.live,
                "keep_up": submission.keep_up,
                "force": submission.force,
                "private": submission.private,
                "cluster": submission.cluster,
                "partial": submission.units is not None,
                "reduce_at": submission.reduce_at,
                **_recalls(submission),
                "failures_allowed": submission.failures_allowed,
                "state": self._state_after(connection, submission.after),
                "created_at": now,
                "served_at": now,
            }
            inserted = connection.execute(sa.insert(JOBS).values(values).returning(JOBS.c.job))
            job = int(inserted.scalar_one())
            if submission.after:
                rows = [{"job": job, "after": each} for each in dict.fromkeys(submission.after)]
                connection.execute(sa.insert(DEPENDENCIES), rows)
            identities = self._add_results(connection, submission, job=job, now=now)
            if submission.units is None:
                _try_again(connection, identities, force=submission.force)
            else:
                for identity, units in submission.units.items():
                    add_units(connection, identity, units)
                    named = UNITS.c.unit.in_([unit.identity for unit, _ in units])
                    dead = sa.and_(named, UNITS.c.state == UnitState.DEAD)
                    renew(connection, dead, [identity])
            assign(connection, identities)
            if submission.units is not None:
                # Nobody plans it, and so nobody else would see that everything is done already.
                settle_jobs(connection, [job], now=now)
            self._database.announce(connection)
        return job, True

    def get(self, job: int) -> JobRecord:
        """Return a job.

        Raises
        ------
        UnknownJobError
            If there is none.
        """
        with self._database.read() as connection:
            return job_of(connection, job)

    def find(
        self,
        *,
        states: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        owner: str | None = None,
        limit: int = 100,
    ) -> list[JobRecord]:
        """Return jobs, the newest first."""
        query = sa.select(JOBS).order_by(JOBS.c.job.desc())
        if states := tuple(states):
            query = query.where(JOBS.c.state.in_(states))
        if owner is not None:
            query = query.where(JOBS.c.owner == owner)
        found = []
        with self._database.read() as connection:
            for row in connection.execute(query):
                record = JobRecord(**row._asdict())
                if all(record.labels.get(name) == value for name, value in (labels or {}).items()):
                    found.append(record)
                    if len(found) == limit:
                        break
        return found

    def results(self, job: int) -> list[Target]:
        """Return what a job asks for."""
        query = (
            sa.select(RESULTS)
            .join(JOB_RESULTS, JOB_RESULTS.c.result == RESULTS.c.result)
            .where(JOB_RESULTS.c.job == job)
            .order_by(RESULTS.c.run_name, RESULTS.c.result)
        )
        with self._database.read() as connection:
            return [target_of(row) for row in connection.execute(query)]

    def tallies(self, jobs: Collection[int]) -> dict[int, Tally]:
        """Return how many units of each job stand how, quickly, however many they are."""
        with self._database.read() as connection:
            return tallies_of(connection, jobs)

    def progress(self, job: int) -> Progress:
        """Return how a job stands; all of its units are looked at."""
        return self.progresses([job])[job]

    def progresses(self, jobs: Collection[int]) -> dict[int, Progress]:
        """Return how each job stands; all of their units are looked at, once."""
        with self._database.read() as connection:
            return progresses_of(connection, jobs)

    def pause(self, job: int) -> None:
        """Begin none of its units until it is resumed; those that were begun go on.

        Raises
        ------
        JobError
            If it has ended.
        """
        with self._database.write() as connection:
            self._check_state(connection, job, "paused", (JobState.READY, JobState.WAITING))
            connection.execute(_with(job, state=JobState.PAUSED))
            self._reassign(connection, job)
            self._database.announce(connection)

    def resume(self, job: int) -> None:
        """Go on with a job that was paused.

        Raises
        ------
        JobError
            If it is not paused.
        """
        with self._database.write() as connection:
            record = job_of(connection, job)
            if record.state != JobState.PAUSED:
                raise JobError(f"job {job} {record.told}: only one that is paused can be resumed")
            after = sa.select(DEPENDENCIES.c.after).where(DEPENDENCIES.c.job == job)
            state = self._state_after(connection, list(connection.execute(after).scalars()))
            connection.execute(_with(job, state=state))
            self._reassign(connection, job)
            settle_jobs(connection, [job], now=self._database.now(connection))
            self._database.announce(connection)

    def cancel(self, job: int, *, reason: str = "cancelled") -> None:
        """Compute nothing more for a job; what is computed for no other job is given up.

        Raises
        ------
        JobError
            If it has ended.
        """
        with self._database.write() as connection:
            among = (JobState.WAITING, JobState.READY, JobState.PAUSED)
            self._check_state(connection, job, "cancelled", among)
            now = self._database.now(connection)
            end_job(connection, job, JobState.CANCELLED, now=now, error=plain(reason))
            self._database.announce(connection)

    def reprioritise(
        self,
        job: int,
        *,
        lane: Lane | None = None,
        priority: int | None = None,
        deadline: int | None = None,
    ) -> None:
        """Put a job into another lane, or at another place in it."""
        values: dict[str, Any] = {}
        if lane is not None:
            values["lane"] = int(lane)
        if priority is not None:
            values["priority"] = checked_priority(priority)
        if deadline is not None:
            values["deadline"] = deadline
        with self._database.write() as connection:
            job_of(connection, job)
            if values:
                connection.execute(_with(job, **values))
                self._reassign(connection, job)
                self._database.announce(connection)

    def retry(self, job: int) -> int:
        """Try the dead letters of a job again; return their number.

        A job that had failed or was cancelled goes on with all that is not done and was not
        discarded; one that is paused or waits stays so.

        Raises
        ------
        JobError
            If a job that it comes after has failed or was cancelled, or the process that it was
            for has ended.
        """
        with self._database.write() as connection:
            record = job_of(connection, job)
            identities = self._identities(connection, job)
            dead = sa.and_(UNITS.c.result.in_(identities), UNITS.c.state == UnitState.DEAD)
            number = renew(connection, dead, identities)
            bad_end = record.state in {JobState.FAILED, JobState.CANCELLED}
            if bad_end:
                _try_again(connection, identities, force=False, discarded=False)
                broken = sa.and_(RESULTS.c.result.in_(identities), RESULTS.c.error.is_not(None))
                connection.execute(sa.update(RESULTS).where(broken).values(error=None))
            if bad_end or (number and record.ended):
                self._check_private(connection, record)
                after = sa.select(DEPENDENCIES.c.after).where(DEPENDENCIES.c.job == job)
                state = self._state_after(connection, list(connection.execute(after).scalars()))
                connection.execute(_with(job, state=state, ended_at=None, error=None))
                assign(connection, identities)
                settle_jobs(connection, [job], now=self._database.now(connection))
            self._database.announce(connection)
        return number

    def _check_state(
        self, connection: sa.Connection, job: int, verb: str, among: Sequence[JobState]
    ) -> None:
        state = job_of(connection, job).state
        if state not in among:
            raise JobError(f"job {job} cannot be {verb}: it {JobState(state).told}")

    def _reassign(self, connection: sa.Connection, job: int) -> list[str]:
        identities = self._identities(connection, job)
        assign(connection, identities)
        return identities

    def _check_private(self, connection: sa.Connection, record: JobRecord) -> None:
        alive = sa.select(SERVICES.c.service).where(SERVICES.c.service == record.private)
        if record.private is not None and connection.execute(alive).first() is None:
            raise JobError(
                f"job {record.job} was for the process {record.private} alone, which has ended: "
                "submit it anew"
            )

    def _identities(self, connection: sa.Connection, job: int) -> list[str]:
        query = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
        return list(connection.execute(query).scalars())

    def _state_after(self, connection: sa.Connection, after: Sequence[int]) -> JobState:
        """Return the state of a job that comes after others."""
        state = JobState.READY
        for each in after:
            before = job_of(connection, each)
            if before.state in {JobState.FAILED, JobState.CANCELLED}:
                raise JobError(
                    f"job {each} {before.told}: nothing can come after it; retry it first "
                    f"('forebay jobs retry {each}')"
                )
            if before.state != JobState.DONE:
                state = JobState.WAITING
        return state

    def _add_results(
        self, connection: sa.Connection, submission: Submission, *, job: int, now: int
    ) -> list[str]:
        rows = []
        for target in submission.targets:
            fields = asdict(target.job)
            rows.append(
                {
                    **fields,
                    "result": target.job.identity,
                    "location": target.location,
                    "folder": target.folder,
                    "created_at": now,
                    "planned": False,
                }
            )
        insert = upsert(connection, RESULTS)
        again = {
            name: insert.excluded[name] for name in ("run_name", "location", "folder", "planned")
        }
        again |= {"error": None, "planned_blocks": 0, "closed": False}
        if submission.units is not None:
            # Its other units stay as they are.
            again = {name: insert.excluded[name] for name in ("run_name", "location", "folder")}
        connection.execute(
            insert.on_conflict_do_update(index_elements=["result"], set_=again), rows
        )
        identities = [str(row["result"]) for row in rows]
        connection.execute(
            sa.insert(JOB_RESULTS), [{"job": job, "result": each} for each in identities]
        )
        return identities


def _try_again(
    connection: sa.Connection, identities: list[str], *, force: bool, discarded: bool = True
) -> None:
    """Make what is to be computed ready: what failed or was given up, and with `force` all."""
    states = [UnitState.DEAD, UnitState.CANCELLED, UnitState.FAILED]
    if force:
        states.append(UnitState.DONE)
        # What is computed anew may have been of a wrong form.
        forgotten = sa.update(RESULTS).where(RESULTS.c.result.in_(identities))
        connection.execute(forgotten.values(form=None))
    again: sa.ColumnElement[bool] = UNITS.c.state.in_(states)
    if force:
        # What goes on with a state that is computed anew waits for that.
        begun = (UnitState.READY, UnitState.LEASED, UnitState.RUNNING)
        again = sa.or_(again, sa.and_(UNITS.c.state.in_(begun), UNITS.c.before.is_not(None)))
    if not discarded:
        again = sa.and_(again, NOT_DISCARDED)
    renew(connection, sa.and_(UNITS.c.result.in_(identities), again), identities)


def job_of(connection: sa.Connection, job: int) -> JobRecord:
    """Return a job.

    Raises
    ------
    UnknownJobError
        If there is none.
    """
    query = sa.select(JOBS).where(JOBS.c.job == job)
    # SQLite takes no larger number.
    row = connection.execute(query).one_or_none() if abs(job) <= LARGEST else None
    if row is None:
        raise UnknownJobError(f"there is no job {job} ('forebay jobs list' shows those there are)")
    return JobRecord(**row._asdict())


def _with(job: int, **values: Any) -> sa.Update:
    return sa.update(JOBS).where(JOBS.c.job == job).values(**values)
