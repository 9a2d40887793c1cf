"""Dead letters: units that were tried often enough, kept with everything that explains them."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from forebay.engine.errors import JobError, UnknownJobError
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import job_of
from forebay.engine.queue.retry import FailureClass
from forebay.engine.queue.schema import ATTEMPTS, JOB_RESULTS, JOBS, RESULTS, UNITS
from forebay.engine.queue.sequence import DISCARDED, give_up_behind, renew
from forebay.engine.queue.settle import assign, settle_results
from forebay.engine.queue.states import JobState, UnitState
from forebay.engine.queue.submission import LARGEST, Target, target_of

_SHORTEST_NAME = 6
_AT_ONCE = 400


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that failed."""

    attempt: int
    """Its number."""
    failure: str
    """Class of the failure."""
    error: str
    """Type and message of the exception."""
    traceback: str
    """Where it was raised."""
    worker: str | None
    """The worker that was at it."""
    log: str | None
    """What the worker logged last."""
    environment: dict[str, str]
    """Versions of what took part."""
    began_at: int | None
    """When it was begun, in nanoseconds since 1970-01-01 UTC."""
    ended_at: int
    """When it failed."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A unit that is not tried any more, by itself."""

    unit: str
    """Its identity."""
    label: str
    """Its frames and tile."""
    start: int
    """First frame."""
    stop: int
    """Frame after the last one."""
    y: int
    """First row."""
    x: int
    """First column."""
    failure: str
    """Class of its last failure."""
    error: str
    """Its last error."""
    attempts: int
    """How often it was begun."""
    ended_at: int
    """When it was given up."""
    target: Target
    """What it is a part of."""
    before: str | None = None
    """The unit whose state it goes on with."""
    form: str | None = None
    """What the other parts of its result have in common, as far as is known."""


class DeadLetters:
    """The dead letters of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        *,
        job: int | None = None,
        algorithm: str | None = None,
        failure: str | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> list[DeadLetter]:
        """Return dead letters, the newest first.

        Parameters
        ----------
        job
            Those of a job.
        algorithm
            Those of an algorithm: by its name, or name and version (``find-particles-1.0.0``).
        failure
            Those of a class of failures.
        text
            Those whose error holds this text.
        limit
            No more than so many.

        Raises
        ------
        UnknownJobError
            If there is no such job.
        JobError
            If there is no such class.
        """
        if failure is not None and failure not in set(FailureClass):
            known = ", ".join(FailureClass)
            raise JobError(f"there is no class of failures {failure!r}; there are {known}")
        query = self._query().order_by(UNITS.c.ended_at.desc(), UNITS.c.unit)
        if job is not None:
            of_job = sa.select(JOB_RESULTS.c.result).where(JOB_RESULTS.c.job == job)
            query = query.where(UNITS.c.result.in_(of_job))
        if algorithm is not None:
            label = RESULTS.c.algorithm + "-" + RESULTS.c.version
            query = query.where(sa.or_(RESULTS.c.algorithm == algorithm, label == algorithm))
        if failure is not None:
            query = query.where(UNITS.c.failure == failure)
        if text is not None:
            query = query.where(UNITS.c.error.contains(text, autoescape=True))
        if limit is not None:
            query = query.limit(min(limit, LARGEST))
        with self._database.read() as connection:
            if job is not None:
                job_of(connection, job)
            return [_letter(row) for row in connection.execute(query)]

    def get(self, unit: str) -> tuple[DeadLetter, list[Attempt]]:
        """Return a dead letter by the beginning of its unit's identity, with its attempts.

        Raises
        ------
        UnknownJobError
            If there is none, or more than one.
        """
        if len(unit) < _SHORTEST_NAME or not unit.isalnum():
            raise UnknownJobError(
                f"{unit!r} does not name a dead letter: give at least {_SHORTEST_NAME} characters "
                "of its identity ('forebay dead list')"
            )
        query = self._query().where(UNITS.c.unit.startswith(unit)).limit(2)
        with self._database.read() as connection:
            letters = [_letter(row) for row in connection.execute(query)]
            if len(letters) != 1:
                many = "more than one dead letter begins" if letters else "no dead letter begins"
                raise UnknownJobError(f"{many} with {unit!r} ('forebay dead list' shows them)")
            attempts = (
                sa.select(*(ATTEMPTS.c[name] for name in Attempt.__dataclass_fields__))
                .where(ATTEMPTS.c.unit == letters[0].unit)
                .order_by(ATTEMPTS.c.attempt)
            )
            return letters[0], [Attempt(*row) for row in connection.execute(attempts)]

    def replay(self, units: Sequence[str]) -> int:
        """Try dead letters again, for the jobs that asked for them; return their number."""
        with self._database.write() as connection:
            results = self._of(connection, units)
            for some in itertools.batched(units, _AT_ONCE):
                dead = sa.and_(UNITS.c.unit.in_(some), UNITS.c.state == UnitState.DEAD)
                renew(connection, dead, list(results))
            jobs = (
                sa.select(JOB_RESULTS.c.job)
                .join(JOBS, JOBS.c.job == JOB_RESULTS.c.job)
                .where(
                    JOB_RESULTS.c.result.in_(list(results)),
                    JOBS.c.state == JobState.FAILED,
                    JOBS.c.private.is_(None),
                )
            )
            again = sa.update(JOBS).where(JOBS.c.job.in_(jobs))
            connection.execute(again.values(state=JobState.READY, ended_at=None, error=None))
            assign(connection, list(results))
            self._database.announce(connection)
        return sum(results.values())

    def discard(self, units: Sequence[str]) -> int:
        """Give dead letters up for good; return their number.

        Submitting the same again computes them again; trying their job again does not.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            results = self._of(connection, units)
            for some in itertools.batched(units, _AT_ONCE):
                dead = sa.and_(UNITS.c.unit.in_(some), UNITS.c.state == UnitState.DEAD)
                given_up = {"state": UnitState.CANCELLED, "failure": DISCARDED}
                connection.execute(sa.update(UNITS).where(dead).values(**given_up))
            give_up_behind(connection, list(results))
            settle_results(connection, results, now=now)
        return sum(results.values())

    def _of(self, connection: sa.Connection, units: Sequence[str]) -> Counter[str]:
        """Return how many of the units are dead letters, by result; nobody else changes those."""
        results: Counter[str] = Counter()
        for some in itertools.batched(units, _AT_ONCE):
            dead = sa.and_(UNITS.c.unit.in_(some), UNITS.c.state == UnitState.DEAD)
            query = sa.select(UNITS.c.result).where(dead).with_for_update()
            results.update(connection.execute(query).scalars())
        return results

    def _query(self) -> sa.Select[Any]:
        return (
            sa.select(UNITS, RESULTS)
            .join(RESULTS, RESULTS.c.result == UNITS.c.result)
            .where(UNITS.c.state == UnitState.DEAD)
        )


def _letter(row: sa.Row[Any]) -> DeadLetter:
    return DeadLetter(
        unit=row.unit,
        label=row.label,
        start=row.start,
        stop=row.stop,
        y=row.y,
        x=row.x,
        failure=row.failure or "",
        error=row._mapping[UNITS.c.error] or "",  # noqa: SLF001 (both tables have one)
        attempts=row.attempt,
        ended_at=row.ended_at or 0,
        target=target_of(row),
        before=row.before,
        form=row.form,
    )
