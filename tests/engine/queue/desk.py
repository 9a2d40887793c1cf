"""A desk at the queue: what tests do there, in few words."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forebay.acquisition import Extent
from forebay.engine import Blockwise, Sequential
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import JobRecord, Jobs
from forebay.engine.queue.leases import Service
from forebay.engine.queue.ledger import Ledger, UnitRecord
from forebay.engine.queue.outcomes import Published, Refused
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.queue.schema import METADATA
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.submission import Submission, Target
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, Region, Unit

FRAMES = 4
"""Frames of a unit."""
BYTES = 100
"""Bytes that a unit has to see, if nothing else is said."""
SECOND = 1_000_000_000
NOON = 1_800_000_000 * SECOND
"""When tests begin."""

RAISED = Failure(FailureClass.RAISED, "ValueError: too dark", "in brightest", "tcp://worker", "log")

type Place = Path | str
"""Where a database is."""
type OpenDatabase = Callable[[], Database]


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return self.time

    def step(self, seconds: float) -> None:
        """Go on by some seconds."""
        self.time += int(seconds * SECOND)


def target(run: str = "run", *, version: str = "1.0.0", **parameters: Any) -> Target:
    """Return a result that is wanted of a run of that name; of a chain, block after block."""
    needs = Sequential() if run.startswith("chain") else Blockwise()
    job = Job(f"id of {run}", run, "blur", version, needs, parameters)
    return Target(job, f"/runs/{run}", f"/results/{run}")


def unit(of: Target, number: int, *, inputs: str = "digest", column: int = 0) -> Unit:
    """Return one unit of a result, by its place."""
    frames = Extent(number * FRAMES, (number + 1) * FRAMES)
    region = Region(frames, Extent(0, 6), Extent(column, column + 8))
    before = None
    if number and isinstance(of.job.needs, Sequential):
        before = unit(of, number - 1, inputs=inputs, column=column).identity
    taken_at = NOON + number * SECOND
    return Unit(of.job, region, region, (f"{inputs} {number}",), taken_at, before)


def units(of: Target, number: int, *, size: int = BYTES) -> list[tuple[Unit, int]]:
    """Return the first units of a result, with the bytes that each has to see."""
    return [(unit(of, place), size) for place in range(number)]


class Desk:
    """The queue, and a service that works on it."""

    def __init__(self, database: Database, service: Service | None = None) -> None:
        self.database = database
        self.jobs = Jobs(database)
        self.ledger = Ledger(database)
        self.service = service or Service(database)
        self.planning = Planning(database, self.service.identity)
        self._numbers = itertools.count(1)

    def submit(self, *wanted: Target | str, **options: Any) -> int:
        """Submit a job over runs; return its number."""
        targets = [target(each) if isinstance(each, str) else each for each in wanted]
        number, _ = self.jobs.submit(Submission(targets=targets, **options))
        return number

    def plan(
        self,
        of: Target | str,
        number: int = 3,
        *,
        complete: bool = True,
        size: int = BYTES,
        deferred: Iterable[int] = (),
    ) -> set[str]:
        """Add the first units of a result, some of them deferred; return those that are done."""
        wanted = target(of) if isinstance(of, str) else of
        return self.planning.add(
            wanted.job.identity,
            units(wanted, number, size=size),
            blocks=number,
            frames=number * FRAMES,
            complete=complete,
            deferred={unit(wanted, place).identity for place in deferred},
        )

    def queue_up(self, run: str = "run", number: int = 3, *, size: int = BYTES, **how: Any) -> int:
        """Submit a job over a run and plan it; return its number."""
        job = self.submit(run, **how)
        self.plan(run, number, size=size)
        return job

    def take(self, most: int = 100, *, by: Service | None = None, **where: Any) -> list[Claim]:
        """Claim units, and begin with them."""
        service = by or self.service
        return service.begin(service.claim(most, **where))

    def part(self, form: str | None = None) -> Part:
        """Return a part such as there was none before."""
        number = next(self._numbers)
        return Part(f"part {number}", f"{number:064}", 1000 + number, 7, form)

    def publish(self, claims: Sequence[Claim], *, by: Service | None = None) -> list[Published]:
        """Publish new parts of units; return what was taken in."""
        outcomes = (by or self.service).outcomes
        taken = outcomes.publish([(each, self.part(), 2.0) for each in claims]).values()
        return [each for each in taken if isinstance(each, Published)]

    def publish_forms(self, claims: Sequence[Claim], *forms: str) -> list[Published | Refused]:
        """Publish new parts of units, of one form each; return what was taken in and refused."""
        parts = [(each, self.part(form), 2.0) for each, form in zip(claims, forms, strict=True)]
        taken = self.service.outcomes.publish(parts)
        return [taken[each.unit] for each in claims]

    def fail(
        self, claims: Sequence[Claim], failure: Failure = RAISED, *, by: Service | None = None
    ) -> list[UnitState]:
        """Let units fail; return how they stand now."""
        outcomes = (by or self.service).outcomes
        return list(outcomes.fail([(each, failure) for each in claims]).values())

    def kill(self, claims: Sequence[Claim], *, by: Service | None = None) -> None:
        """Make dead letters of units, at once."""
        states = self.fail(claims, Failure(FailureClass.INVALID, "TypeError: no table"), by=by)
        assert states == [UnitState.DEAD] * len(claims)

    def state(self, job: int) -> str:
        """Return how a job stands."""
        return self.jobs.get(job).state

    def job(self, job: int) -> JobRecord:
        """Return a job."""
        return self.jobs.get(job)

    def units(self, run: Target | str = "run") -> list[UnitRecord]:
        """Return the units of a run's result."""
        wanted = target(run) if isinstance(run, str) else run
        return self.ledger.units(wanted.job.identity)

    def states(self, run: Target | str = "run") -> dict[str, int]:
        """Return how many units of a run's result stand how."""
        return dict(Counter(each.state for each in self.units(run)))

    def everything(self) -> dict[str, list[Any]]:
        """Return all that the database holds, to be compared with what it holds later."""
        with self.database.read() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(sa.select(table))))
                for table in METADATA.sorted_tables
            }


def by_run(claims: Sequence[Claim], desk: Desk) -> list[str]:
    """Return of which run each of these units is."""
    names: dict[str, str] = {}
    for each in claims:
        job = desk.ledger.job(each.result)
        assert job is not None
        names[each.result] = job.run_name
    return [names[each.result] for each in claims]
