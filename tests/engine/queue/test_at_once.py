"""Many at once: services and people that change the same tables at the same time."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import sqlalchemy as sa
from tests.engine.queue.desk import RAISED, Desk, OpenDatabase, Place, target
from tests.engine.queue.servers import Server

from forebay.engine.errors import JobError, LedgerError
from forebay.engine.queue import database as database_module
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.schema import UNITS
from forebay.engine.queue.submission import Submission
from forebay.engine.results.part import Part

THREADS = 4


def all_at_once[T](*works: Callable[[], T]) -> list[T]:
    """Do some things at the same time, each in its own thread; return what came of them."""
    together = threading.Barrier(len(works))

    def begin(work: Callable[[], T]) -> T:
        together.wait(30)
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return [each.result() for each in [threads.submit(begin, work) for work in works]]


def test_nobody_gets_a_unit_twice(desk: Desk, open_database: OpenDatabase) -> None:
    """Services that claim at the same time are given all units, each to one of them."""
    desk.queue_up("a", 60)
    desk.queue_up("b", 60, lane=Lane.VALIDATION)
    services = [Service(open_database()) for _ in range(THREADS)]

    def claim(service: Service) -> list[Claim]:
        claims: list[Claim] = []
        while more := service.claim(3):
            claims += more
        return claims

    taken = all_at_once(*(partial(claim, each) for each in services))
    units = Counter(claim.unit for claims in taken for claim in claims)
    assert len(units) == 120
    assert set(units.values()) == {1}
    assert sum(service.held() for service in services) == 120
    assert desk.states("a") == desk.states("b") == {"leased": 60}


def test_one_service_may_claim_from_many_threads(desk: Desk) -> None:
    """It is no thread's own."""
    desk.queue_up("run", 40)

    def claim() -> Sequence[Claim]:
        return [*itertools.chain.from_iterable(iter(lambda: desk.take(1), []))]

    taken = all_at_once(*[claim] * THREADS)
    starts = sorted(each.start for claims in taken for each in claims)
    assert starts == [4 * number for number in range(40)]


def test_who_is_interrupted_in_a_statement_stands_in_nobodys_way(
    desk: Desk, open_database: OpenDatabase
) -> None:
    """Ctrl-C while rows are read frees the ledger at once, whoever still looks at the error."""
    desk.queue_up("run", 3)
    database = open_database()

    def interrupt(_: object, __: object, statement: str, *___: object) -> None:
        if "FROM units" in statement:
            raise KeyboardInterrupt

    sa.event.listen(database._engine, "after_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt) as held, database.write() as connection:
            connection.execute(sa.select(UNITS))
    finally:
        sa.event.remove(database._engine, "after_cursor_execute", interrupt)
    began = time.monotonic()
    assert len(desk.take(3)) == 3
    assert time.monotonic() - began < database_module._WAIT_SECONDS / 2
    assert held.value is not None


def test_a_job_ends_whoever_publishes_its_last_units(
    desk: Desk, open_database: OpenDatabase
) -> None:
    """Two that publish the last two at the same moment do not leave the end to each other."""
    other = Service(open_database())
    for number in range(8):
        job = desk.queue_up(f"run {number}", 2)
        (one,), (two,) = desk.take(1), desk.take(1, by=other)
        all_at_once(partial(desk.publish, [one]), partial(desk.publish, [two], by=other))
        assert desk.state(job) == "done"


def test_what_is_asked_for_twice_at_once_is_one_job(
    desk: Desk, open_database: OpenDatabase
) -> None:
    """One of them is told that it is new."""
    everybody = [Jobs(open_database()) for _ in range(THREADS)]
    for number in range(10):
        wanted = Submission(targets=[target(f"run {number}")])
        told = all_at_once(*(partial(each.submit, wanted) for each in everybody))
        assert sorted(new for _, new in told) == [False] * (THREADS - 1) + [True]
        assert len({job for job, _ in told}) == 1


def test_a_job_never_waits_for_what_has_ended_meanwhile(
    desk: Desk, open_database: OpenDatabase
) -> None:
    """Whether it is submitted just before or just after the end of what it comes after."""
    jobs = Jobs(open_database())
    for number in range(8):
        first = desk.queue_up(f"first {number}", 1)
        claims = desk.take(1)
        wanted = Submission(targets=[target(f"then {number}")], after=[first], key="then")
        both: list[Callable[[], object]] = [
            partial(jobs.submit, wanted),
            partial(desk.publish, claims),
        ]
        all_at_once(*both)
        (job,) = desk.jobs.find(limit=1)
        assert (job.key, job.state) == ("then", "ready")
        desk.jobs.cancel(job.job)


def test_a_result_is_planned_by_one_of_many(desk: Desk, open_database: OpenDatabase) -> None:
    """And planned twice by mistake, its units are there once."""
    desk.submit(*(f"run {number}" for number in range(20)))
    plannings = [
        Planning(database, Service(database).identity)
        for database in (open_database() for _ in range(THREADS))
    ]

    def take(planning: Planning) -> list[str]:
        return [each.result for _ in range(20) for each in planning.take(1)]

    taken = all_at_once(*(partial(take, each) for each in plannings))
    wanted = sorted(target(f"run {number}").job.identity for number in range(20))
    assert sorted(itertools.chain(*taken)) == wanted
    all_at_once(*[lambda: desk.plan("run 0", 50)] * THREADS)
    assert desk.states("run 0") == {"ready": 50}


class Worker:
    """A service that works until it is told to stop, and counts what it has published."""

    def __init__(self, database: Database, number: int, stop: threading.Event) -> None:
        self._service = Service(database)
        self._desk = Desk(database, self._service)
        self._planning = self._desk.planning
        self._chance = random.Random(number)
        self._stop = stop
        self._number = number
        self.published: Counter[tuple[str, int]] = Counter()

    def work(self) -> None:
        """Work."""
        while not self._stop.is_set():
            for wanted in self._planning.take(2):
                self._desk.plan(wanted.target, 4)
            claims = self._service.begin(self._service.claim(self._chance.randint(1, 6)))
            good = [each for each in claims if self._chance.random() < 0.8]
            bad = [each for each in claims if each not in good]
            for place, each in enumerate(good):
                name = f"part {self._number} {each.unit[:8]} {each.attempt} {place}"
                part = Part(name, "0" * 64, 1, None)
                for unit in self._service.outcomes.publish([(each, part, 0.1)]):
                    self.published[unit, each.attempt] += 1
            if self._chance.random() < 0.5:
                self._service.hand_back(bad)
            else:
                self._service.outcomes.fail([(each, RAISED) for each in bad])
            self._service.outcomes.promote()
            self._service.bury_the_dead()
            self._service.beat()


class Person:
    """Somebody who submits and changes jobs until told to stop."""

    def __init__(self, database: Database, number: int, stop: threading.Event) -> None:
        self._jobs = Jobs(database)
        self._chance = random.Random(number)
        self._stop = stop

    def work(self) -> None:
        """Ask for things, and change one's mind."""
        mine: list[int] = []
        while not self._stop.is_set():
            runs = self._chance.sample(range(6), 2)
            wanted = Submission(
                targets=[target(f"run {number}") for number in runs],
                lane=self._chance.choice([*Lane]),
                force=self._chance.random() < 0.3,
                key=f"key {self._chance.random()}",
                after=[each for each in mine[-1:] if self._chance.random() < 0.3],
            )
            changes: list[Callable[[int], object]] = [
                self._jobs.cancel,
                self._jobs.pause,
                self._jobs.resume,
                self._jobs.retry,
                partial(self._jobs.reprioritise, lane=Lane.REALTIME, priority=1),
            ]
            change = self._chance.choice(changes)
            try:
                mine.append(self._jobs.submit(wanted)[0])
                change(self._chance.choice(mine))
            except JobError:
                continue


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set when it is enough."""
    event = threading.Event()
    yield event
    event.set()


def test_everybody_at_once(desk: Desk, open_database: OpenDatabase, stop: threading.Event) -> None:
    """No one is refused because of another, and in the end every job comes to its end."""
    workers = [Worker(open_database(), number, stop) for number in range(2)]
    people = [Person(open_database(), number, stop) for number in range(2)]
    with ThreadPoolExecutor(4) as threads:
        works = [*(each.work for each in workers), *(each.work for each in people)]
        futures = [threads.submit(each) for each in works]
        time.sleep(0.7)
        patience = time.monotonic() + 60
        while not any(each.published for each in workers) and time.monotonic() < patience:
            time.sleep(0.05)
        stop.set()
        for each in futures:
            each.result(60)
    published = workers[0].published + workers[1].published
    assert published
    assert set(published.values()) == {1}
    for job in desk.jobs.find(states=["paused"], limit=10**6):
        try:
            desk.jobs.resume(job.job)
        except JobError:
            desk.jobs.cancel(job.job)
    for _ in range(100):
        for wanted in desk.planning.take(10):
            desk.plan(wanted.target, 4)
        desk.publish(desk.take())
    assert desk.jobs.find(states=["waiting", "ready"]) == []


@pytest.mark.postgres
def test_a_writer_that_does_nothing_holds_nobody_up(
    postgresql_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends its transaction, so that a process that is stopped does not stop all."""
    monkeypatch.setattr(database_module, "_IDLE_SECONDS", 2.0)
    with postgresql_server.database("idle") as url, Database(url) as one, Database(url) as other:
        stopped = one.write()
        stopped.__enter__()
        Jobs(other).submit(Submission(targets=[target()]))
        with pytest.raises(LedgerError, match="cannot be used"):
            stopped.__exit__(None, None, None)
        assert len(Jobs(one).find()) == 1


@pytest.mark.postgres
def test_nobody_waits_for_ever_for_a_writer(
    postgresql_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told after a while that it cannot write, as on SQLite."""
    monkeypatch.setattr(database_module, "_WAIT_SECONDS", 1.0)
    with postgresql_server.database("waits") as url, Database(url) as one, Database(url) as other:
        with one.write(), pytest.raises(LedgerError, match="lock timeout"):
            Jobs(other).submit(Submission(targets=[target()]))
        assert Jobs(one).find() == []


def test_many_open_a_new_ledger_at_once(empty_place: Place) -> None:
    """Threads of one process make its tables once, and all of them can use it."""

    def open_it() -> int:
        with Database(empty_place) as database:
            return len(Jobs(database).find())

    assert all_at_once(*[open_it] * THREADS) == [0] * THREADS


def test_many_open_ledgers_of_their_own_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """None of them makes another one's tables."""
    folder = tmp_path_factory.mktemp("many")

    def open_it(number: int) -> int:
        with Database(folder / f"{number}.sqlite") as database:
            return len(Jobs(database).find())

    assert all_at_once(*(partial(open_it, number) for number in range(8))) == [0] * 8
