"""How fast units go through the queue, and how soon people are told, however many units wait."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import forebay
from forebay.engine.queue.backlog import backlogs
from forebay.engine.queue.database import Database
from forebay.engine.queue.explain import explain
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.submission import Submission, Target
from forebay.engine.queue.waiting import waiting
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, Region, Unit

_AT_ONCE = 1000
_TIMES = 5
_UNITS_OF_RUN = 10_000

type Row = dict[str, Any]


def job_named(name: str) -> Job:
    """Return an algorithm over a run that is nowhere."""
    return Job(name, name, "nothing", "1.0.0", forebay.Blockwise(), {})


def unit_of(job: Job, number: int) -> Unit:
    """Return a unit of such a run."""
    pixels = forebay.Extent(0, 8)
    core = Region(forebay.Extent(number, number + 1), pixels, pixels)
    return Unit(job, core, core, (f"{number}",), 0)


class FullQueue:
    """A queue in which many units of less urgent jobs wait.

    Parameters
    ----------
    database
        Where it is kept.
    batch
        Units in a transaction.
    """

    def __init__(self, database: Database, *, batch: int) -> None:
        self._database = database
        self._batch = batch
        self._jobs = Jobs(database)
        self._service = Service(database)
        self._planning = Planning(database, self._service.identity)
        self._waiting = 0
        self._runs = 0
        self._behind: int | None = None

    def with_waiting(self, number: int, *, units: int) -> Row:
        """Let at least so many units wait, and measure with others that go before them."""
        while self._waiting < number:
            count = min(_UNITS_OF_RUN, number - self._waiting)
            self._behind = self._submit(count, priority=-1)
            self._waiting += count
        began = time.perf_counter()
        self._submit(units, priority=1)
        added = units / (time.perf_counter() - began)
        began = time.perf_counter()
        done = 0
        slowest = 0.0
        while done < units:
            once = time.perf_counter()
            claims = self._service.claim(min(self._batch, units - done), begin=True)
            part = Part("part", "0" * 64, 1, 1)
            published = self._service.outcomes.publish([(each, part, 0.1) for each in claims])
            done += len(published)
            slowest = max(slowest, time.perf_counter() - once)
        return {
            "database": self._database.dialect,
            "units": units,
            "waiting": self._waiting,
            "batch": self._batch,
            "added/s": added,
            "claimed and published/s": units / (time.perf_counter() - began),
            "slowest batch ms": slowest * 1000,
        }

    def questions(self) -> Row:
        """Return how long the answer takes to what people and the service itself ask."""
        job = self._behind
        questions: dict[str, Callable[[], object]] = {
            "backlog ms": lambda: backlogs(self._database),
            "waiting ms": lambda: waiting(self._database),
            "keep house ms": self._keep_house,
        }
        if job is not None:
            questions["list ms"] = self._list
            questions["show ms"] = lambda: (explain(self._database, job), self._jobs.results(job))
        return {name: _milliseconds(question) for name, question in questions.items()}

    def _list(self) -> object:
        return self._jobs.tallies([each.job for each in self._jobs.find(limit=30)])

    def _keep_house(self) -> object:
        return (
            self._service.bury_the_dead(),
            self._service.outcomes.promote(),
            self._planning.take(4),
            self._service.wanting(),
        )

    def _submit(self, count: int, *, priority: int) -> int:
        """Submit a job over a run of its own, and add its units."""
        self._runs += 1
        job = job_named(f"run-{self._runs}")
        target = Target(job, "nowhere", "nowhere")
        wanted = Submission(targets=[target], priority=priority, key=f"{self._runs}")
        number, _ = self._jobs.submit(wanted)
        for begin in range(0, count, _AT_ONCE):
            end = min(begin + _AT_ONCE, count)
            some = [(unit_of(job, at), 1) for at in range(begin, end)]
            self._planning.add(job.identity, some, blocks=0, frames=0, complete=end == count)
        return number


def _milliseconds(question: Callable[[], object]) -> float:
    took = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        question()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def bare_statements(where: Path | str, *, units: int, batch: int) -> float:
    """Count the same by the least statements that take a unit and note that it is done."""
    with Database(where) as database:
        with database.write() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS bare")
            connection.exec_driver_sql(
                "CREATE TABLE bare (unit INTEGER PRIMARY KEY, state TEXT, attempt INTEGER)"
            )
            rows = [{"unit": number} for number in range(units)]
            insert = sa.text("INSERT INTO bare VALUES (:unit, 'ready', 0)")
            connection.execute(insert, rows)
            connection.exec_driver_sql("CREATE INDEX bare_ready ON bare (state, unit)")
        began = time.perf_counter()
        for _ in range(0, units, batch):
            with database.write() as connection:
                taken = connection.execute(
                    sa.text(
                        "UPDATE bare SET state = 'held', attempt = attempt + 1 WHERE unit IN "
                        "(SELECT unit FROM bare WHERE state = 'ready' ORDER BY unit LIMIT :most) "
                        "RETURNING unit, attempt"
                    ),
                    {"most": batch},
                ).all()
            with database.write() as connection:
                connection.execute(
                    sa.text(
                        "UPDATE bare SET state = 'done' WHERE unit = :unit AND attempt = :attempt"
                    ),
                    [{"unit": unit, "attempt": attempt} for unit, attempt in taken],
                )
        return units / (time.perf_counter() - began)
