"""What is recorded of units: parts that are published, and failures.

Nothing is recorded but by the service that holds the unit, under the number of its attempt.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import sqlalchemy as sa

from forebay.engine.definition import Sequential
from forebay.engine.errors import OutputError
from forebay.engine.queue.database import Database, plain
from forebay.engine.queue.many import Names, among, given_rows
from forebay.engine.queue.retry import Failure, FailureClass, RetryPolicy
from forebay.engine.queue.schema import ATTEMPTS, RESULTS, UNITS
from forebay.engine.queue.sequence import give_up_behind, go_on
from forebay.engine.queue.settle import settle_results
from forebay.engine.queue.states import HELD_UNITS, UnitState
from forebay.engine.results.form import common_form
from forebay.engine.results.part import Part
from forebay.engine.unit import needs_of

_LONGEST_TEXT = 20_000
_ONE_FORM = (
    "all units of a result are to return the same columns, types and axes (another form is that of "
    "another version); if the parts before are the wrong ones, compute all anew with --force"
)
_MOST_KNOWN = 10_000
_OWNED = (
    UNITS.c.unit,
    UNITS.c.result,
    UNITS.c.attempt,
    UNITS.c.start,
    UNITS.c.stop,
    UNITS.c.y,
    UNITS.c.x,
    UNITS.c.part,
    UNITS.c.retries,
    UNITS.c.deaths,
    UNITS.c.alone,
    UNITS.c.memory,
    UNITS.c.pieces,
    UNITS.c.error,
    UNITS.c.began_at,
)


_NAMES = sa.bindparam("names", type_=Names())
_OWN = sa.select(*_OWNED).where(
    among(UNITS.c.unit, _NAMES),
    UNITS.c.holder == sa.bindparam("holder"),
    UNITS.c.state.in_(HELD_UNITS),
)
_PLACE = ("result", "start", "y", "x")
_GIVEN = UNITS.alias("given")
_PLACES = (
    sa.select(
        *(UNITS.c[name] for name in _PLACE),
        *(UNITS.c[name] for name in ("unit", "attempt", "holder", "state", "stop", "part")),
        RESULTS.c.form,
    )
    .join(RESULTS, RESULTS.c.result == UNITS.c.result)
    .join(
        _GIVEN,
        sa.and_(*(UNITS.c[name] == _GIVEN.c[name] for name in _PLACE)),
    )
    .where(among(_GIVEN.c.unit, _NAMES))
    .where(UNITS.c.state != UnitState.SUPERSEDED)
    .with_for_update(of=UNITS)
)
"""Finds units, the others over the same frames, and what is known of the result's form."""


@functools.cache
def _publish(dialect: str) -> sa.Update:
    """Return the statement that publishes parts."""
    given = given_rows(
        dialect,
        {
            "unit": sa.String(),
            "part": sa.String(),
            "part_blake3": sa.String(),
            "part_bytes": sa.BigInteger(),
            "rows": sa.BigInteger(),
            "seconds": sa.Double(),
        },
    )
    new = {each.name: each for each in given.c if each.name != "unit"}
    now = sa.bindparam("now", type_=sa.BigInteger())
    return (
        sa.update(UNITS)
        .where(UNITS.c.unit == given.c.unit)
        .values(
            **new,
            state=UnitState.DONE,
            holder=None,
            not_before=None,
            error=None,
            failure=None,
            ended_at=now,
            published_at=now,
        )
    )


class Held(Protocol):
    """A unit that is held, under the number of an attempt."""

    @property
    def unit(self) -> str:
        """Identity of the unit."""

    @property
    def attempt(self) -> int:
        """The attempt."""


@dataclass(frozen=True, slots=True)
class Published:
    """A part that the ledger has taken in."""

    unit: str
    """The unit."""
    replaced: tuple[str, ...]
    """The parts that it has taken the place of."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A part that the ledger has not taken in, since it is of another form than those before."""

    failure: Failure
    """What differs."""
    state: UnitState
    """How its unit stands now."""


class Outcomes:
    """Records what became of the units that a service holds."""

    def __init__(self, database: Database, holder: str, policy: RetryPolicy) -> None:
        self._database = database
        self._holder = holder
        self._policy = policy
        self._sequential: dict[str, bool] = {}

    def own(
        self, connection: sa.Connection, held: Iterable[Held], *, lock: bool = True
    ) -> dict[str, sa.Row[Any]]:
        """Return the rows of those units that are still held under these attempts."""
        attempts = {each.unit: each.attempt for each in held}
        query = _OWN.with_for_update() if lock else _OWN
        values = {"names": list(attempts), "holder": self._holder}
        found: Sequence[Any] = connection.execute(query, values).all() if attempts else []
        return {row.unit: row for row in found if row.attempt == attempts[row.unit]}

    def publish(self, parts: Sequence[tuple[Held, Part, float]]) -> dict[str, Published | Refused]:
        """Publish parts, in one transaction; those whose attempt is not the current one are not.

        A part takes the place of the unit's earlier one, and of those of units over the same
        frames that had read other data, as after a block was lost and taken anew.  One of another
        form than the result's parts before is refused, and its unit has failed.

        Parameters
        ----------
        parts
            Units, their parts, and the seconds that a worker was at each.

        Returns
        -------
        dict
            By unit, what was published or refused.
        """
        published: dict[str, Published | Refused] = {}
        with self._database.write() as connection:
            now = self._database.now(connection)
            own, there = self._places(connection, [held for held, _, _ in parts])
            unlike = _learn_forms(connection, own, parts)
            for held, _ in unlike:
                del own[held.unit], there[held.unit]
            gone = self._supersede(connection, own, there)
            rows, results, stops = [], set(), set()
            for held, part, seconds in parts:
                row = own.pop(held.unit, None)
                if row is None:
                    continue
                replaced = [row.part, *gone.get(row.unit, [])]
                published[row.unit] = Published(row.unit, tuple(filter(None, replaced)))
                results.add(row.result)
                stops.add(row.stop)
                rows.append(
                    {
                        "unit": row.unit,
                        "part": part.name,
                        "part_blake3": part.blake3,
                        "part_bytes": part.bytes,
                        "rows": part.rows,
                        "seconds": seconds,
                    }
                )
            if rows:
                values = {"rows": rows, "now": now}
                connection.execute(_publish(self._database.dialect), values)
                self._go_on(connection, results, stops)
                settle_results(connection, results, now=now)
            if unlike:
                states = self._fail(connection, unlike, now=now)
                published |= {held.unit: Refused(why, states[held.unit]) for held, why in unlike}
        return published

    def fail(self, failures: Sequence[tuple[Held, Failure]]) -> dict[str, UnitState]:
        """Record failures, in one transaction, and decide what becomes of the units.

        Returns
        -------
        dict
            By unit, how it stands now; what is not held under its attempt is left out.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            return self._fail(connection, failures, now=now)

    def _fail(
        self, connection: sa.Connection, failures: Sequence[tuple[Held, Failure]], *, now: int
    ) -> dict[str, UnitState]:
        own = self.own(connection, [held for held, _ in failures])
        reasons = {held.unit: why for held, why in failures if held.unit in own}
        mine = [(own[unit], why) for unit, why in reasons.items()]
        return self.fail_rows(connection, mine, now=now)

    def fail_rows(
        self,
        connection: sa.Connection,
        failures: Sequence[tuple[sa.Row[Any], Failure]],
        *,
        now: int,
    ) -> dict[str, UnitState]:
        """Record failures of units whose rows are known to be current."""
        from forebay.engine.results.provenance import environment

        states: dict[str, UnitState] = {}
        for row, told in failures:
            failure = _plain(told)
            deaths = row.deaths + (failure.kind is FailureClass.WORKER_LOST)
            verdict = self._policy.decide(
                failure,
                retries=row.retries,
                deaths=deaths,
                error_before=row.error,
                pieces=row.pieces,
            )
            state = UnitState.DEAD
            if failure.remedy and not verdict.retry:
                failure = replace(failure, error=f"{failure.error}; {failure.remedy}")
            if verdict.retry:
                state = UnitState.FAILED if verdict.wait_seconds else UnitState.READY
            values: dict[str, Any] = {
                "state": state,
                "holder": None,
                "retries": row.retries + verdict.retry,
                "deaths": deaths,
                "alone": row.alone or verdict.alone,
                "avoid": failure.worker if verdict.elsewhere else None,
                "memory": failure.memory if verdict.more_memory else row.memory,
                "pieces": row.pieces * (1 + verdict.split),
                "failure": failure.kind,
                "error": failure.error,
                "not_before": now + int(verdict.wait_seconds * 1e9)
                if state == UnitState.FAILED
                else None,
                "ended_at": now,
            }
            connection.execute(sa.update(UNITS).where(UNITS.c.unit == row.unit).values(**values))
            connection.execute(
                sa.insert(ATTEMPTS).values(
                    unit=row.unit,
                    attempt=row.attempt,
                    failure=failure.kind,
                    error=failure.error,
                    traceback=failure.traceback,
                    worker=failure.worker,
                    log=failure.log,
                    environment=environment(),
                    began_at=row.began_at,
                    ended_at=now,
                )
            )
            states[row.unit] = state
        dead = {row.result for row, _ in failures if states[row.unit] == UnitState.DEAD}
        if dead:
            give_up_behind(connection, dead)
            settle_results(connection, dead, now=now)
        return states

    def promote(self) -> float | None:
        """Make ready what has waited long enough; return the seconds until the next one has."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            due = sa.and_(UNITS.c.not_before <= now, UNITS.c.state == UnitState.FAILED)
            connection.execute(
                sa.update(UNITS).where(due).values(state=UnitState.READY, not_before=None)
            )
            first = sa.select(sa.func.min(UNITS.c.not_before)).where(
                UNITS.c.not_before.is_not(None)
            )
            at = connection.execute(first).scalar()
            return None if at is None else (at - now) / 1e9

    def _go_on(self, connection: sa.Connection, results: set[str], stops: set[int]) -> None:
        """Make ready what goes on with the state of what was published."""
        if unknown := results.difference(self._sequential):
            if len(self._sequential) > _MOST_KNOWN:
                self._sequential.clear()
            query = sa.select(RESULTS.c.result, RESULTS.c.needs).where(
                RESULTS.c.result.in_(unknown)
            )
            for result, needs in connection.execute(query):
                self._sequential[result] = isinstance(needs_of(needs), Sequential)
        following = [each for each in results if self._sequential[each]]
        if following:
            go_on(connection, following, starts=stops)

    def _places(
        self, connection: sa.Connection, held: Iterable[Held]
    ) -> tuple[dict[str, sa.Row[Any]], dict[str, sa.Row[Any]]]:
        """Return the units still held under these attempts, and all that are in their places."""
        attempts = {each.unit: each.attempt for each in held}
        own: dict[str, sa.Row[Any]] = {}
        there: dict[str, sa.Row[Any]] = {}
        values = {"names": list(attempts)}
        found: Sequence[Any] = connection.execute(_PLACES, values).all() if attempts else []
        for row in found:
            there[row.unit] = row
            if (
                row.attempt == attempts.get(row.unit)
                and row.holder == self._holder
                and row.state in HELD_UNITS
            ):
                own[row.unit] = row
        return own, there

    def _supersede(
        self,
        connection: sa.Connection,
        own: dict[str, sa.Row[Any]],
        there: dict[str, sa.Row[Any]],
    ) -> dict[str, list[str]]:
        """Put units into the place of others; return the parts that go, by the unit that came.

        Blocks before one that is taken anew stay as they are, so that both begin at one frame.
        However the others stand, what they had read is not there any more.
        """
        gone: dict[str, list[str]] = {}
        units = {_place(row): name for name, row in own.items()}
        if len(units) == len(there):
            return gone
        for name, row in there.items():
            unit = units.get(_place(row))
            if unit is not None and unit != name:
                own.pop(name, None)
                gone.setdefault(unit, []).append(row.part)
                values = {
                    "state": UnitState.SUPERSEDED,
                    "part": None,
                    "holder": None,
                    "not_before": None,
                }
                connection.execute(sa.update(UNITS).where(UNITS.c.unit == name).values(**values))
        return gone


def _learn_forms(
    connection: sa.Connection,
    own: Mapping[str, sa.Row[Any]],
    parts: Sequence[tuple[Held, Part, float]],
) -> list[tuple[Held, Failure]]:
    """Note what parts tell of the form of their results; return those that differ from it."""
    known: dict[str, str] = {}
    unlike: list[tuple[Held, Failure]] = []
    for held, part, _ in parts:
        row = own.get(held.unit)
        if row is None or part.form is None:
            continue
        before = known.get(row.result, row.form)
        try:
            form = part.form if before is None else common_form(before, part.form)
        except OutputError as error:
            why = f"OutputError: {error}"
            unlike.append((held, Failure(FailureClass.INVALID, why, remedy=_ONE_FORM)))
            continue
        known[row.result] = form
        if form != before:
            of_result = sa.update(RESULTS).where(RESULTS.c.result == row.result)
            connection.execute(of_result.values(form=form))
    return unlike


def _place(row: sa.Row[Any]) -> Sequence[Any]:
    return row[: len(_PLACE)]


def _plain(failure: Failure) -> Failure:
    """Return a failure as every database can keep it."""
    return replace(
        failure,
        error=plain(failure.error),
        traceback=plain(failure.traceback)[-_LONGEST_TEXT:],
        worker=plain(failure.worker) if failure.worker else failure.worker,
        log=plain(failure.log)[-_LONGEST_TEXT:] if failure.log else None,
    )
