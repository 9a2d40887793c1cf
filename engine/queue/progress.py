"""How jobs stand: how many of their units are in which state, and what they have come to."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import sqlalchemy as sa

from forebay.engine.queue.backlog import counts_of
from forebay.engine.queue.many import among
from forebay.engine.queue.schema import JOB_RESULTS, RESULTS, UNITS
from forebay.engine.queue.states import UnitState


@dataclass(frozen=True, slots=True)
class Tally:
    """How many units of a job stand how."""

    units: Mapping[str, int]
    """Number of units by state."""
    results: int
    """Runs that the job goes over."""

    @property
    def total(self) -> int:
        """Number of units that are known."""
        return sum(self.units.values())

    def count(self, *states: UnitState) -> int:
        """Return the number of units in some states."""
        return sum(self.units.get(each, 0) for each in states)


@dataclass(frozen=True, slots=True)
class Progress(Tally):
    """How a job stands, and what its units have come to."""

    frames: Mapping[str, int]
    """Number of frames by state of their unit; tiles count whole."""
    planned: int
    """Runs of which all units are known."""
    seconds: float
    """Time that workers were at what is published."""
    errors: tuple[str, ...]
    """Why runs cannot be worked on."""


def tallies_of(connection: sa.Connection, jobs: Collection[int]) -> dict[int, Tally]:
    """Return how many units of each job stand how, quickly, however many they are."""
    asked = (JOB_RESULTS.c.job.in_(jobs),)
    number = sa.func.count()
    results = sa.select(JOB_RESULTS.c.job, number).where(*asked).group_by(JOB_RESULTS.c.job)
    wanted = sa.select(JOB_RESULTS.c.result).where(*asked)
    counts = counts_of(wanted, set(UnitState) - {UnitState.SUPERSEDED})
    units = (
        sa.select(JOB_RESULTS.c.job, counts.c.state, sa.func.sum(counts.c.number))
        .join(counts, counts.c.result == JOB_RESULTS.c.result)
        .where(*asked)
        .group_by(JOB_RESULTS.c.job, counts.c.state)
    )
    by_state: dict[int, dict[str, int]] = {job: {} for job in jobs}
    for job, state, many in connection.execute(units):
        by_state[job][state] = int(many)
    runs = {job: int(many) for job, many in connection.execute(results)}
    return {job: Tally(units, runs.get(job, 0)) for job, units in by_state.items()}


def progresses_of(connection: sa.Connection, jobs: Collection[int]) -> dict[int, Progress]:
    """Return how each job stands; all of their units are looked at, once."""
    asked = (
        sa.select(JOB_RESULTS.c.job, RESULTS.c.result, RESULTS.c.planned, RESULTS.c.error)
        .join(RESULTS, RESULTS.c.result == JOB_RESULTS.c.result)
        .where(JOB_RESULTS.c.job.in_(jobs))
    )
    results: Sequence[Any] = connection.execute(asked).all()
    sums = _sums(connection, {row.result for row in results})
    rows: dict[int, list[Any]] = {job: [] for job in jobs}
    for row in results:
        rows[row.job].append(row)
    return {job: _progress(mine, sums) for job, mine in rows.items()}


def _sums(connection: sa.Connection, results: Collection[str]) -> dict[str, list[Any]]:
    """Return, by result and state, the numbers of units and of frames, and the time for them."""
    frames = sa.func.sum(UNITS.c.stop - UNITS.c.start)
    # A list of states is what the index is searched by.
    states = UNITS.c.state.in_(set(UnitState) - {UnitState.SUPERSEDED})
    query = (
        sa.select(
            UNITS.c.result, UNITS.c.state, sa.func.count(), frames, sa.func.sum(UNITS.c.seconds)
        )
        .where(among(UNITS.c.result, results), states)
        .group_by(UNITS.c.result, UNITS.c.state)
    )
    sums: dict[str, list[Any]] = {result: [] for result in results}
    for row in connection.execute(query):
        sums[row.result].append(row)
    return sums


def _progress(results: Sequence[sa.Row[Any]], sums: Mapping[str, Sequence[Any]]) -> Progress:
    units: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    seconds = 0.0
    for _, state, number, length, took in chain.from_iterable(sums[row.result] for row in results):
        units[state] += int(number)
        frames[state] += int(length)
        seconds += took or 0.0
    return Progress(
        units=dict(units),
        frames=dict(frames),
        results=len(results),
        planned=sum(1 for each in results if each.planned),
        seconds=seconds,
        errors=tuple(sorted({each.error for each in results if each.error})),
    )
