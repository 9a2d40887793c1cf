"""What a queue must be like after each step, whatever is done to it."""

import itertools
from collections import Counter

import sqlalchemy as sa
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
)
from tests.engine.queue.conftest import Ledger
from tests.engine.queue.desk import Desk, target
from tests.engine.queue.tables import Tables

from forebay.engine.errors import JobError
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.schema import SERVICES
from forebay.engine.queue.states import ENDED_JOBS, HELD_UNITS, OPEN_UNITS, JobState, UnitState

RUNS = ("a", "chain")
"""The units of a chain go on from one to the next."""
MOST_UNITS = 3
LEASE = 30.0


class QueueModel(RuleBasedStateMachine):
    """What is known of a queue by what was done to it, and what must hold of its tables."""

    ledger: Ledger
    """Where, for the class that is made of this one."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger.empty()
        self.clock = self.ledger.clock
        self.desk = Desk(self.ledger.open(0))
        # It beats and buries, and holds nothing.
        self.undertaker = self.desk.service
        self.names = itertools.count(1)
        self.planned: dict[str, int] = dict.fromkeys(RUNS, 0)
        self.holding: dict[str, tuple[Service, Claim]] = {}
        """Who holds what, as far as they have been told."""
        self.claims: list[tuple[Service, Claim]] = []
        """All that was ever claimed."""
        self.published: Counter[tuple[str, int]] = Counter()
        self.parts: dict[str, str] = {}
        self.buried: set[str] = set()
        self.plannings: dict[str, Planning] = {}
        self.before = Tables(self.desk)

    def teardown(self) -> None:
        """Let everything come to its end, which it must."""
        try:
            self.come_to_the_end()
        finally:
            self.ledger.empty()

    def new_service(self, connection: int) -> Service:
        return Service(self.ledger.open(connection), lease_seconds=LEASE)

    def forget(self, gone: set[str]) -> None:
        """Note that services hold nothing any more."""
        self.buried |= gone
        for unit, (holder, _) in list(self.holding.items()):
            if holder.identity in gone:
                del self.holding[unit]

    def tables_of_services(self) -> dict[str, int]:
        query = sa.select(SERVICES.c.service, SERVICES.c.alive_until)
        with self.desk.database.read() as connection:
            return {row.service: row.alive_until for row in connection.execute(query)}

    def nothing_has_changed(self) -> None:
        now = Tables(self.desk)
        assert (now.units, now.jobs, now.results) == (
            self.before.units,
            self.before.jobs,
            self.before.results,
        )

    # What must hold.

    @invariant()
    def all_is_well(self) -> None:
        """Compare the tables with the model, and with what they were."""
        now, before = Tables(self.desk), self.before
        self.who_holds_what(now)
        self.units_are_as_they_may_be(now, before)
        self.jobs_end_when_all_is_over(now, before)
        self.results_serve_who_can_be_served(now)
        self.before = now

    def who_holds_what(self, now: Tables) -> None:
        for name, row in now.units.items():
            held = row.state in HELD_UNITS
            assert held == (row.holder is not None)
            if held:
                service, claim = self.holding[name]
                assert (row.holder, row.attempt) == (service.identity, claim.attempt)
                assert row.holder in now.services
        for name in list(self.holding):
            if now.units[name].holder is None:
                # It was cancelled, or the one before it is computed anew; nothing else takes a
                # unit from who holds it.
                given_up = {UnitState.CANCELLED, UnitState.DONE}
                if now.units[name].before is not None:
                    given_up |= {UnitState.WAITING}
                assert now.units[name].state in given_up
                del self.holding[name]

    def units_are_as_they_may_be(self, now: Tables, before: Tables) -> None:
        numbers = Counter(row.result for row in now.units.values())
        for run in RUNS:
            assert numbers[target(run).job.identity] == self.planned[run]
        for name, row in now.units.items():
            old = before.units.get(name)
            assert row.attempt >= (old.attempt if old is not None else 0)
            assert (row.not_before is not None) == (row.state == UnitState.FAILED)
            assert row.part == self.parts.get(name)
            if row.state == UnitState.DONE:
                assert row.part is not None
            if row.state in OPEN_UNITS:
                assert now.wanting(row.result), "it is open, and nobody wants it"
            first = None if row.before is None else now.units[row.before].state
            if row.state == UnitState.WAITING:
                assert first in {*OPEN_UNITS, UnitState.DEFERRED}, "it waits for what never comes"
            elif row.state in OPEN_UNITS:
                assert first in {None, UnitState.DONE}, "it has no state to go on with"
        assert all(number == 1 for number in self.published.values())

    def jobs_end_when_all_is_over(self, now: Tables, before: Tables) -> None:
        for job, row in now.jobs.items():
            progress = self.desk.jobs.progress(job)
            assert progress.total == len(now.of_job(job)) == sum(progress.units.values())
            old = before.jobs.get(job)
            just_ended = old is None or old.state not in ENDED_JOBS
            assert (row.ended_at is not None) == (row.state in ENDED_JOBS)
            follows = {now.jobs[each].state for each in now.after[job]}
            match row.state:
                case JobState.READY:
                    assert not now.over(job)
                case JobState.WAITING:
                    assert follows - {JobState.DONE}
                    assert not follows & {JobState.FAILED, JobState.CANCELLED}
                case JobState.DONE if just_ended:
                    assert now.over(job)
                    assert not any(each.state == UnitState.DEAD for each in now.of_job(job))
                case JobState.FAILED if just_ended:
                    dead = [each for each in now.of_job(job) if each.state == UnitState.DEAD]
                    broken = [now.results[each].error for each in now.asked[job]]
                    assert dead or any(broken)
                    if row.error is None:
                        assert now.over(job)
                    else:
                        assert len(dead) > row.failures_allowed

    def results_serve_who_can_be_served(self, now: Tables) -> None:
        for name, row in now.results.items():
            assert row.planner is None or row.planner in now.services
            public = [
                (job.lane, -job.priority, job.job)
                for job in now.wanting(name)
                if job.state == JobState.READY and job.private is None
            ]
            if public:
                assert row.driver == min(public)[2]

    def come_to_the_end(self) -> None:
        """Nothing waits for ever: with a service that works, every job ends."""
        for service in {each.identity: each for each, _ in self.claims}.values():
            service.end()
        self.clock.step(LEASE + 1)
        last = self.new_service(0)
        last.bury_the_dead()
        for _ in range(2):
            for job in self.desk.jobs.find(states=["paused"], limit=10**6):
                try:
                    self.desk.jobs.resume(job.job)
                except JobError:
                    self.desk.jobs.cancel(job.job)
        desk = Desk(self.ledger.open(0), last)
        for _ in range(100):
            last.outcomes.promote()
            planned = desk.planning.take(10)
            for wanted in planned:
                desk.plan(wanted.target, self.planned[wanted.target.job.run_name])
            claims = last.claim(10, begin=True)
            desk.publish(claims)
            if not planned and not claims and last.outcomes.promote() is None:
                break
            self.clock.step(600)
            last.beat()
        left = self.desk.jobs.find(states=["waiting", "ready", "paused"], limit=10**6)
        assert left == []
