"""The queue against a model: whatever is done in whatever order, what must hold does."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.engine.queue.conftest import Ledger
from tests.engine.queue.crashes import DiedError, drop_connections, dying_at_commits
from tests.engine.queue.desk import target, units
from tests.engine.queue.model import MOST_UNITS, RUNS, QueueModel
from tests.engine.queue.tables import Tables

from forebay.engine.errors import JobError, LeaseLostError
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.jobs import JobRecord
from forebay.engine.queue.lanes import Lane
from forebay.engine.queue.leases import Service
from forebay.engine.queue.outcomes import Published
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.queue.states import JobState, UnitState
from forebay.engine.results.part import Part

shares = st.integers(0, 10**6)
"""Chooses one of what there is at the time."""


class QueueMachine(QueueModel):
    """Services and people that do what they may, in any order, and services that die."""

    services = Bundle("services")

    # Who works.

    @initialize(target=services)
    def two_services(self) -> Any:
        """Begin with two services, on connections of their own, and something to do."""
        self.desk.submit(*RUNS)
        for run in RUNS:
            self.add(self.desk.planning, run, MOST_UNITS, complete=True, late=set())
        self.before = Tables(self.desk)
        both = self.new_service(1), self.new_service(2)
        # Most rules are about what is held: few steps would come to them.
        for each in both:
            self.take(each, 1)
        return multiple(*both)

    @rule(target=services)
    def one_more_service(self) -> Service:
        """Another one comes."""
        return self.new_service(1)

    @rule(service=services)
    def beat(self, service: Service) -> None:
        """Who was not buried lives on; who was is told."""
        self.unless_buried(service, service.beat)

    @rule(seconds=st.sampled_from([0.5, 10.0, 31.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        """Leases expire, waits end and jobs age."""
        self.clock.step(seconds)

    @rule(service=services)
    def bury(self, service: Service) -> None:
        """Look after the dead; who was buried oneself may do that too."""
        until = self.tables_of_services()
        late = {name for name, alive in until.items() if alive < self.clock.time}
        gone = set(service.bury_the_dead())
        assert gone == late - {service.identity}
        self.forget(gone)

    @rule(service=services)
    def end(self, service: Service) -> None:
        """A service gives back what it holds; one that was buried has nothing to give."""
        service.end()
        self.forget({service.identity})

    def unless_buried(self, service: Service, work: Callable[[], Any]) -> Any:
        """Do what only a living service may."""
        if service.identity in self.buried:
            with pytest.raises(LeaseLostError):
                work()
            return None
        return work()

    # What people ask for.

    @rule(
        runs=st.lists(st.sampled_from(RUNS), min_size=1, max_size=2, unique=True),
        lane=st.sampled_from([*Lane]),
        after=st.lists(shares, max_size=2),
        force=st.booleans(),
        failures_allowed=st.sampled_from([None, None, 0, 1]),
        live=st.booleans(),
    )
    def submit(
        self,
        runs: list[str],
        lane: Lane,
        after: list[int],
        force: bool,
        failures_allowed: int | None,
        live: bool,
    ) -> None:
        """Ask for one run or two, maybe after other jobs."""
        known = [*self.before.jobs]
        follows = sorted({known[share % len(known)] for share in after if known})
        bad = (JobState.FAILED, JobState.CANCELLED)
        refused = any(self.before.jobs[each].state in bad for each in follows)
        options: dict[str, Any] = {
            "lane": lane,
            "after": follows,
            "force": force,
            "failures_allowed": failures_allowed,
            "live": live,
            "key": f"key {next(self.names)}",
        }
        if refused:
            with pytest.raises(JobError):
                self.desk.submit(*runs, **options)
            return
        job = self.desk.submit(*runs, **options)
        done = all(self.before.jobs[each].state == JobState.DONE for each in follows)
        assert self.desk.state(job) == (JobState.READY if done else JobState.WAITING)

    @rule(service=services, run=st.sampled_from(RUNS), live=st.booleans())
    def submit_in_private(self, service: Service, run: str, live: bool) -> None:
        """Ask for a run that only one service is to work on."""
        if service.identity not in self.buried:
            name = f"key {next(self.names)}"
            self.desk.submit(run, private=service.identity, key=name, live=live)

    def one_job(self, share: int) -> JobRecord | None:
        known = [*self.before.jobs]
        return self.desk.job(known[share % len(known)]) if known else None

    @rule(share=shares)
    def cancel(self, share: int) -> None:
        """Only what has not ended can be cancelled."""
        self.change(share, self.desk.jobs.cancel, {"waiting", "ready", "paused"}, {"cancelled"})

    @rule(share=shares)
    def pause(self, share: int) -> None:
        """Only what is to be worked on can be paused."""
        self.change(share, self.desk.jobs.pause, {"waiting", "ready"}, {"paused"})

    @rule(share=shares)
    def resume(self, share: int) -> None:
        """What is paused goes on, or has to wait for what it comes after."""
        job = self.one_job(share)
        if job is not None and self.follows_bad(job.job):
            with pytest.raises(JobError):
                self.desk.jobs.resume(job.job)
        else:
            then = {"waiting", "ready", "done", "failed"}
            self.change(share, self.desk.jobs.resume, {"paused"}, then)

    def follows_bad(self, job: int) -> bool:
        bad = (JobState.FAILED, JobState.CANCELLED)
        return any(self.before.jobs[each].state in bad for each in self.before.after[job])

    def change(
        self, share: int, change: Callable[[int], object], among: set[str], then: set[str]
    ) -> None:
        job = self.one_job(share)
        if job is None:
            return
        if job.state in among:
            change(job.job)
            assert self.desk.state(job.job) in then
        else:
            with pytest.raises(JobError):
                change(job.job)

    @rule(share=shares)
    def retry(self, share: int) -> None:
        """Dead letters are tried again, unless what the job comes after is bad itself."""
        job = self.one_job(share)
        if job is None:
            return
        dead = [row for row in self.before.of_job(job.job) if row.state == UnitState.DEAD]
        try:
            number = self.desk.jobs.retry(job.job)
        except JobError:
            private_gone = job.private is not None and job.private not in self.before.services
            assert job.ended
            assert private_gone or self.follows_bad(job.job)
        else:
            assert number == len(dead)
            if not job.ended:
                assert self.desk.state(job.job) == job.state

    @rule(share=shares, lane=st.sampled_from([*Lane]), priority=st.integers(-2, 2))
    def reprioritise(self, share: int, lane: Lane, priority: int) -> None:
        """A job may be put anywhere at any time."""
        job = self.one_job(share)
        if job is not None:
            self.desk.jobs.reprioritise(job.job, lane=lane, priority=priority)
            assert self.desk.state(job.job) == job.state

    # What services do.

    @rule(
        run=st.sampled_from(RUNS),
        number=st.integers(0, MOST_UNITS),
        complete=st.booleans(),
        late=st.sets(st.integers(0, MOST_UNITS)),
    )
    def plan(self, run: str, number: int, complete: bool, late: set[int]) -> None:
        """Some service adds units, whether it was to plan them or not."""
        if target(run).job.identity in self.before.results:
            self.add(self.desk.planning, run, number, complete=complete, late=late)

    def add(
        self, planning: Planning, run: str, number: int, *, complete: bool, late: set[int]
    ) -> None:
        wanted = target(run)
        added = units(wanted, number)
        done = planning.add(
            wanted.job.identity,
            added,
            blocks=number,
            frames=4 * number,
            complete=complete,
            deferred={unit.identity for place, (unit, _) in enumerate(added) if place in late},
        )
        known = self.before.units
        assert done == {
            unit.identity
            for unit, _ in added
            if unit.identity in known and known[unit.identity].state == UnitState.DONE
        }
        self.planned[run] = max(self.planned[run], number)

    @rule(service=services, share=st.none() | shares)
    def take_to_plan(self, service: Service, share: int | None) -> None:
        """What is to be planned is given to one service, or to that of the job."""
        job = None if share is None else self.one_job(share)
        planning = self.plannings.setdefault(
            service.identity, Planning(service._database, service.identity)
        )
        number = None if job is None else job.job
        taken = self.unless_buried(service, lambda: planning.take(1, job=number))
        for each in taken or ():
            row, asking = self.before.results[each.result], self.before.jobs[each.job]
            assert asking.state == JobState.READY
            assert row.error is None
            assert not row.closed
            assert number is not None or row.planner is None
            follow = [other.live for other in self.before.wanting(each.result)]
            assert not row.planned or any(follow)

    @rule(service=services, run=st.sampled_from(RUNS), number=st.integers(0, MOST_UNITS))
    def plan_to_the_end(self, service: Service, run: str, number: int) -> None:
        """Who took it adds what there is, and is done with it."""
        planning = self.plannings.get(service.identity)
        if planning is not None and target(run).job.identity in planning._following:
            self.add(planning, run, number, complete=True, late=set())

    @rule(run=st.sampled_from(RUNS))
    def cannot_plan(self, run: str) -> None:
        """The run is not there."""
        if target(run).job.identity in self.before.results:
            self.desk.planning.fail(target(run).job.identity, "there is no such run")

    @rule(service=services, most=st.integers(1, 4), share=st.none() | shares, begin=st.booleans())
    def claim(self, service: Service, most: int, share: int | None, begin: bool) -> None:
        """Units that are ready are taken, of jobs that are; those of the most urgent lane first."""
        job = None if share is None else self.one_job(share)
        number = None if job is None else job.job
        self.take(service, most, job=number, begin=begin)

    def take(
        self, service: Service, most: int, *, job: int | None = None, begin: bool = False
    ) -> None:
        claims = self.unless_buried(service, lambda: service.claim(most, job=job, begin=begin))
        if claims is None:
            return
        assert len(claims) <= most
        assert len({each.unit for each in claims}) == len(claims)
        for each in claims:
            row, asking = self.before.units[each.unit], self.before.jobs[each.job]
            assert row.state in {UnitState.READY, UnitState.DEFERRED}
            assert each.attempt == row.attempt + 1
            assert asking.state == JobState.READY
            assert asking.private in {None, service.identity}
            assert each.result in self.before.asked[each.job]
            assert each.unit not in self.holding
            self.holding[each.unit] = (service, each)
            self.claims.append((service, each))
        if job is None and not claims:
            assert not any(
                row.state in {UnitState.READY, UnitState.DEFERRED}
                and any(
                    job.state == JobState.READY and job.private is None
                    for job in self.before.wanting(row.result)
                )
                for row in self.before.units.values()
            )

    def one_claim(self, share: int) -> tuple[Service, Claim]:
        """Return a claim, often one on a unit that is held now, under this number or another."""
        held = [each for each in self.claims if each[1].unit in self.holding]
        some = held if held and share % 2 else self.claims
        return some[share // 2 % len(some)]

    def holds(self, service: Service, claim: Claim) -> bool:
        """Tell whether this is the current attempt, held by its service."""
        held = self.holding.get(claim.unit)
        return held is not None and held == (service, claim)

    @precondition(lambda self: self.claims)
    @rule(share=shares)
    def begin(self, share: int) -> None:
        """What is held may be given to a worker, and what is not may not."""
        service, claim = self.one_claim(share)
        kept = service.begin([claim])
        assert kept == ([claim] if self.holds(service, claim) else [])
        assert service.still_own([claim]) == ({claim.unit} if kept else set())

    @precondition(lambda self: self.claims)
    @rule(share=shares)
    def publish(self, share: int) -> None:
        """What is held is published, once; what is not changes nothing."""
        service, claim = self.one_claim(share)
        name = f"part {next(self.names)}"
        part = Part(name, "0" * 64, 1, 1)
        taken = service.outcomes.publish([(claim, part, 1.0)])
        if not self.holds(service, claim):
            assert taken == {}
            self.nothing_has_changed()
            return
        before = self.parts.get(claim.unit)
        assert taken[claim.unit] == Published(claim.unit, (before,) if before else ())
        self.parts[claim.unit] = name
        self.published[claim.unit, claim.attempt] += 1
        del self.holding[claim.unit]

    @precondition(lambda self: self.claims)
    @rule(share=shares, kind=st.sampled_from([*FailureClass]), error=st.sampled_from("xy"))
    def fail(self, share: int, kind: FailureClass, error: str) -> None:
        """What is held is tried again or given up; what is not changes nothing."""
        service, claim = self.one_claim(share)
        states = service.outcomes.fail([(claim, Failure(kind, error))])
        if not self.holds(service, claim):
            assert states == {}
            self.nothing_has_changed()
            return
        assert states[claim.unit] in {UnitState.READY, UnitState.FAILED, UnitState.DEAD}
        del self.holding[claim.unit]

    @precondition(lambda self: self.claims)
    @rule(share=shares)
    def hand_back(self, share: int) -> None:
        """What is held is ready again; what is not stays as it is."""
        service, claim = self.one_claim(share)
        service.hand_back([claim])
        if self.holds(service, claim):
            del self.holding[claim.unit]
        else:
            self.nothing_has_changed()

    @precondition(lambda self: self.claims)
    @rule(share=shares, what=st.sampled_from(["claim", "publish", "fail", "hand back", "bury"]))
    def die_before_the_commit(self, share: int, what: str) -> None:
        """Who dies within a transaction has changed nothing, whatever it was to be."""
        service, claim = self.one_claim(share)
        part, why = Part("lost", "0" * 64, 1, 1), Failure(FailureClass.RAISED, "x")
        changes: dict[str, Callable[[], object]] = {
            "claim": lambda: service.claim(3, begin=True),
            "publish": lambda: service.outcomes.publish([(claim, part, 1.0)]),
            "fail": lambda: service.outcomes.fail([(claim, why)]),
            "hand back": lambda: service.hand_back([claim]),
            "bury": service.bury_the_dead,
        }
        # One that was buried is told so before it comes to a commit.
        with dying_at_commits(), contextlib.suppress(LeaseLostError, DiedError):
            changes[what]()
        self.nothing_has_changed()

    @rule()
    def lose_connections(self) -> None:
        """A server that drops its clients has them come again, and has lost nothing."""
        if isinstance(self.ledger.place, str):
            drop_connections(self.ledger.place)
        self.nothing_has_changed()

    @rule(service=services)
    def promote(self, service: Service) -> None:
        """What has waited long enough is ready."""
        seconds = service.outcomes.promote()
        waiting = [row for row in Tables(self.desk).units.values() if row.not_before is not None]
        assert (seconds is None) == (not waiting)
        assert all(row.not_before > self.clock.time for row in waiting)


def check(ledger: Ledger, *, examples: int, steps: int) -> None:
    """Look for a way to break the rules."""
    machine = type("Machine", (QueueMachine,), {"ledger": ledger})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_whatever_is_done_the_rules_hold(sqlite_ledger: Ledger) -> None:
    """Units have one holder, are published once, and every job ends when all of it is over."""
    check(sqlite_ledger, examples=15, steps=30)


@pytest.mark.postgres
def test_whatever_is_done_the_rules_hold_on_a_server(postgresql_ledger: Ledger) -> None:
    """The same in PostgreSQL."""
    check(postgresql_ledger, examples=5, steps=30)
