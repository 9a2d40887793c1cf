"""Fencing: an attempt that is not the current one changes nothing, whenever it comes."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext

import psutil
import pytest
from tests.engine.queue import others
from tests.engine.queue.desk import RAISED, Clock, Desk, Place, target

from forebay.engine.errors import LeaseLostError, LedgerError
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.database import Database
from forebay.engine.queue.leases import Service
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.queue.schema import SERVICES

LEASE = 30.0


def taken_by_another(desk: Desk, claims: Sequence[Claim], clock: Clock) -> Service:
    """Let a service be silent for so long that another takes its units."""
    clock.step(LEASE + 1)
    other = Service(desk.database)
    assert other.bury_the_dead() == [desk.service.identity]
    again = desk.take(by=other)
    assert {each.unit for each in again} == {each.unit for each in claims}
    assert {each.attempt for each in again} == {2}
    return other


def only_buried(desk: Desk, claims: Sequence[Claim], clock: Clock) -> None:
    """Let a service be silent for so long that its units are there for others."""
    clock.step(LEASE + 1)
    assert Service(desk.database).bury_the_dead() == [desk.service.identity]
    assert desk.states() == {"ready": len(claims)}


def handed_back(desk: Desk, claims: Sequence[Claim], clock: Clock) -> None:
    """Give units back, and take them again under other numbers."""
    desk.service.hand_back(claims)
    assert len(desk.take()) == len(claims)


def cancelled(desk: Desk, claims: Sequence[Claim], clock: Clock) -> None:
    """Let the job be cancelled."""
    desk.jobs.cancel(claims[0].job)


def published(desk: Desk, claims: Sequence[Claim], clock: Clock) -> None:
    """Let the attempts end well."""
    assert len(desk.publish(claims)) == len(claims)


def failed(desk: Desk, claims: Sequence[Claim], clock: Clock) -> None:
    """Let the attempts fail."""
    assert len(desk.fail(claims)) == len(claims)


def ended(desk: Desk, claims: Sequence[Claim], clock: Clock) -> None:
    """Let the service end, which gives its units back."""
    desk.service.end()


def publish(desk: Desk, claims: Sequence[Claim]) -> int:
    """Publish late; return how many were taken in."""
    return len(desk.publish(claims))


def fail(desk: Desk, claims: Sequence[Claim]) -> int:
    """Fail late; return how many were taken in."""
    return len(desk.fail(claims))


def begin(desk: Desk, claims: Sequence[Claim]) -> int:
    """Begin late; return how many may be."""
    return len(desk.service.begin(claims))


def hand_back(desk: Desk, claims: Sequence[Claim]) -> int:
    """Hand back late; nothing is told."""
    desk.service.hand_back(claims)
    return len(desk.service.still_own(claims))


@pytest.mark.parametrize("late", [publish, fail, begin, hand_back])
@pytest.mark.parametrize(
    "meanwhile", [taken_by_another, only_buried, handed_back, cancelled, published, failed, ended]
)
def test_what_is_not_held_any_more_is_not_changed(
    desk: Desk,
    clock: Clock,
    meanwhile: Callable[[Desk, Sequence[Claim], Clock], object],
    late: Callable[[Desk, Sequence[Claim]], int],
) -> None:
    """Whatever became of it meanwhile, and whatever the late attempt wants to record."""
    desk.queue_up("run", 2)
    claims = desk.take()
    meanwhile(desk, claims, clock)
    before = desk.everything()
    assert late(desk, claims) == 0
    assert desk.everything() == before


def test_of_several_those_that_are_held_are_recorded(desk: Desk) -> None:
    """One that was lost does not take the others with it."""
    desk.queue_up("run", 4)
    claims = desk.take()
    desk.service.hand_back(claims[1:2])
    assert desk.service.still_own(claims) == {claims[place].unit for place in (0, 2, 3)}
    assert len(desk.publish(claims[:2])) == 1
    assert len(desk.fail(claims[1:3])) == 1
    assert [each.unit for each in desk.service.begin(claims)] == [claims[3].unit]


def test_another_service_cannot_write_under_the_same_number(desk: Desk) -> None:
    """Who holds a unit counts as much as the number of the attempt."""
    desk.queue_up("run", 1)
    other = Service(desk.database)
    claims = desk.take()
    before = desk.everything()
    assert (desk.publish(claims, by=other), desk.fail(claims, by=other)) == ([], [])
    assert other.begin(claims) == []
    other.hand_back(claims)
    assert desk.everything() == before


def test_an_attempt_is_published_once(desk: Desk) -> None:
    """Also where it is given twice in one call, and where it has failed before."""
    desk.queue_up("run", 2)
    one, two = desk.take()
    assert len(desk.publish([one, one])) == 1
    assert desk.units()[0].part == "part 1"
    assert len(desk.service.outcomes.fail([(two, RAISED), (two, RAISED)])) == 1
    assert [each.state for each in desk.units()] == ["done", "ready"]


def test_many_units_are_recorded_at_once(desk: Desk) -> None:
    """More than one statement may name."""
    desk.queue_up("run", 450)
    claims = desk.take(450)
    assert len(desk.service.still_own(claims)) == 450
    assert len(desk.publish(claims)) == 450


def test_units_can_be_handed_back_at_no_cost(desk: Desk) -> None:
    """Another attempt follows, and none has failed."""
    desk.queue_up("run", 1)
    for attempt in range(1, 30):
        (claim,) = desk.take()
        assert claim.attempt == attempt
        desk.service.hand_back([claim])
    assert desk.states() == {"ready": 1}


def test_what_the_dead_may_have_left_behind_is_told_once(desk: Desk, clock: Clock) -> None:
    """In what was done lately, of a job that has ended or goes on; not in what was long before."""
    desk.queue_up("long ago", 1)
    desk.publish(desk.take())
    clock.step(3 * 3600)
    dead = Service(desk.database)
    desk.queue_up("ended", 1)
    goes_on = desk.submit("done", "to do")
    for run in ("done", "to do"):
        desk.plan(run, 1)
    desk.publish(desk.take(2, by=dead), by=dead)
    assert desk.state(goes_on) == "ready"
    desk.service.beat()
    assert desk.service.left_behind() == []
    clock.step(1e-9)
    assert desk.service.bury_the_dead() == [] == desk.service.left_behind()
    clock.step(LEASE - 1)
    desk.service.beat()
    clock.step(2)
    assert desk.service.bury_the_dead() == [dead.identity]
    expected = {(target(run).job.identity, target(run).folder) for run in ("ended", "done")}
    assert {*desk.service.left_behind()} == expected
    assert desk.service.left_behind() == []


def test_a_service_that_beats_keeps_what_it_holds(desk: Desk, clock: Clock) -> None:
    """For as long as it is heard of, and for one lease more."""
    other = Service(desk.database, lease_seconds=1e6)
    desk.queue_up("run", 1)
    claims = desk.take()
    for _ in range(5):
        clock.step(LEASE)
        desk.service.beat()
        assert other.bury_the_dead() == []
    clock.step(LEASE)
    assert other.bury_the_dead() == []
    assert desk.service.still_own(claims)
    clock.step(0.001)
    assert other.bury_the_dead() == [desk.service.identity]
    assert not desk.service.still_own(claims)


def test_nobody_buries_itself(desk: Desk, clock: Clock) -> None:
    """A service that was held up and comes first goes on with what it holds."""
    desk.queue_up("run", 1)
    claims = desk.take()
    clock.step(10**6)
    assert desk.service.bury_the_dead() == []
    desk.service.beat()
    assert len(desk.publish(claims)) == 1


def test_who_was_buried_cannot_beat(desk: Desk, clock: Clock) -> None:
    """It is told what has happened and what to do."""
    clock.step(LEASE + 1)
    Service(desk.database).bury_the_dead()
    message = (
        f"{desk.service.identity} was silent for longer than its lease, and others have taken over "
        "what it worked on: start it again"
    )
    with pytest.raises(LeaseLostError, match=message):
        desk.service.beat()


def test_what_was_not_begun_is_ready_again_at_no_cost(desk: Desk, clock: Clock) -> None:
    """What was begun counts as a failure of the service; what is not its own stays."""
    desk.queue_up("run", 4)
    other = Service(desk.database, lease_seconds=1e6)
    desk.service.claim(1)
    (begun,) = desk.take(1)
    (done,) = desk.take(1)
    desk.publish([done])
    (others,) = desk.take(1, by=other)
    clock.step(LEASE + 1)
    assert other.bury_the_dead() == [desk.service.identity]
    assert [each.state for each in desk.units()] == ["ready", "ready", "done", "running"]
    error = f"the service {desk.service.identity} that computed it was not heard of"
    assert [each.error for each in desk.units()] == [None, error, None, None]
    assert other.still_own([others])
    assert begun.unit == desk.units()[1].unit
    assert other.bury_the_dead() == []


def test_a_unit_whose_services_die_is_given_up_in_the_end(desk: Desk, clock: Clock) -> None:
    """Five times is chance; then it is a dead letter, and the job has failed."""
    job = desk.queue_up("run", 1)
    undertaker = Service(desk.database, lease_seconds=1e9)
    for _ in range(6):
        assert desk.states() == {"ready": 1}
        assert len(desk.take(by=Service(desk.database))) == 1
        clock.step(LEASE + 1)
        undertaker.bury_the_dead()
    assert (desk.states(), desk.state(job)) == ({"dead": 1}, "failed")


def test_private_jobs_of_the_dead_are_cancelled(desk: Desk, clock: Clock) -> None:
    """Nobody else may work on them; what waits for them is cancelled too."""
    own = Service(desk.database)
    private = desk.submit("a", private=own.identity)
    paused = desk.submit("b", private=own.identity)
    desk.jobs.pause(paused)
    after = desk.submit("d", after=[private])
    shared = desk.submit("a")
    waiting = desk.submit("c", private=own.identity, after=[shared])
    desk.plan("a", 2)
    desk.plan("b", 2)
    clock.step(LEASE + 1)
    desk.service.beat()
    assert desk.service.bury_the_dead() == [own.identity]
    for job in (private, paused, waiting):
        assert (desk.state(job), desk.job(job).error) == ("cancelled", "its process has ended")
    assert desk.job(after).error == f"job {private} was cancelled"
    assert (desk.states("b"), desk.states("a")) == ({"cancelled": 2}, {"ready": 2})
    desk.publish(desk.take())
    assert desk.state(shared) == "done"


def test_a_service_that_ends_gives_all_back(desk: Desk) -> None:
    """Its units are ready at no cost, its private jobs are cancelled, and it is forgotten."""
    own = Service(desk.database)
    private = desk.submit("a", private=own.identity)
    after = desk.submit("c", after=[private])
    job = desk.queue_up("b", 2)
    desk.plan("a", 1)
    own.claim(1)
    desk.take(1, by=own)
    desk.take(1, by=own, job=private)
    own.end()
    assert desk.states("b") == {"ready": 2}
    assert [each.error for each in desk.units("b")] == [None, None]
    assert desk.states("a") == {"cancelled": 1}
    assert [desk.state(each) for each in (private, after, job)] == ["cancelled"] * 2 + ["ready"]
    assert desk.service.bury_the_dead() == []
    with pytest.raises(LeaseLostError):
        own.beat()


def test_a_process_that_has_ended_on_this_machine_is_buried_at_once(
    desk: Desk, place: Place, processes: ForkServerContext
) -> None:
    """Nobody waits for its lease; while it lives, it is left alone."""
    desk.queue_up("run", 2)
    ear, mouth = processes.Pipe(duplex=False)
    process = processes.Process(target=others.hold, args=(place, mouth))
    process.start()
    try:
        name, *numbers = ear.recv()
        assert numbers == [1, 1]
        # It goes by the real time, which the test's clock is not.
        with desk.database.write() as connection:
            connection.execute(SERVICES.update().values(alive_until=2**62))
        assert desk.service.bury_the_dead() == []
    finally:
        process.kill()
        process.join()
    assert desk.service.bury_the_dead() == [name]
    assert [each.state for each in desk.units()] == ["ready", "ready"]
    assert [each.error is None for each in desk.units()] == [True, False]


def test_a_process_that_nobody_has_asked_after_is_dead_too(desk: Desk) -> None:
    """Whoever started it may not look at how it ended, and its number stays taken until then."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        began_at = psutil.Process(process.pid).create_time() - psutil.boot_time()
        name = registered(desk.database, process=process.pid, began_at=began_at)
        assert desk.service.bury_the_dead() == []
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.001)
        assert desk.service.bury_the_dead() == [name]


def registered(database: Database, *, process: int, began_at: float, host: str = "") -> str:
    """Note a service that this test makes up."""
    name = f"service of {process}"
    values = {
        "service": name,
        "host": host or socket.gethostname(),
        "process": process,
        "began_at": began_at,
        "alive_until": 2**62,
    }
    with database.write() as connection:
        connection.execute(SERVICES.insert().values(values))
    return name


def own_began_at(desk: Desk) -> float:
    """Return when this process began, as its service noted it."""
    with desk.database.read() as connection:
        (row,) = connection.execute(SERVICES.select()).all()
    assert row.process == os.getpid()
    return float(row.began_at)


def test_a_process_number_that_was_given_again_does_not_keep_a_service_alive(desk: Desk) -> None:
    """Of another process that began at another time, nothing is held."""
    other = registered(desk.database, process=os.getpid(), began_at=own_began_at(desk) - 100)
    assert desk.service.bury_the_dead() == [other]


def test_processes_of_other_machines_have_to_be_silent_first(desk: Desk) -> None:
    """Their numbers mean nothing here."""
    registered(desk.database, process=2**22 + 1, began_at=0.0, host="elsewhere")
    assert desk.service.bury_the_dead() == []


def test_a_clock_that_is_set_buries_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that learns the right time does not take its living processes for others."""
    registered(desk.database, process=os.getpid(), began_at=own_began_at(desk))
    began = psutil.Process.create_time
    booted = psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) + 5000.0)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted() + 5000.0)
    assert desk.service.bury_the_dead() == []


def test_a_process_that_may_not_be_looked_at_is_left_to_its_lease(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it cannot be seen does not mean that it is gone."""
    registered(desk.database, process=os.getpid(), began_at=own_began_at(desk))

    def hidden(self: object) -> float:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "create_time", hidden)
    assert desk.service.bury_the_dead() == []


def test_a_worker_that_died_is_told_from_a_service_that_did(desk: Desk, clock: Clock) -> None:
    """Only what died with a worker is computed alone from then on."""
    desk.queue_up("run", 2)
    one, two = desk.take()
    desk.fail([one], Failure(FailureClass.WORKER_LOST, "KilledWorker", worker="tcp://worker"))
    clock.step(LEASE + 1)
    other = Service(desk.database)
    other.bury_the_dead()
    again = other.claim(2)
    assert [(each.alone, each.deaths) for each in again] == [(True, 1), (False, 0)]
    assert [each.unit for each in again] == [one.unit, two.unit]


def test_a_process_takes_back_what_it_could_not_give_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It need not wait for the end of its own lease, and its earlier self can record nothing."""
    desk.queue_up()
    claims = desk.take(2)
    with monkeypatch.context() as full:
        full.setattr(desk.database, "write", cannot_be_written)
        with pytest.raises(LedgerError, match="disk is full"):
            desk.service.end()
    assert desk.states() == {"ready": 1, "running": 2}
    after = Service(desk.database)
    assert desk.states() == {"ready": 3}
    assert {each.attempt for each in desk.take(by=after)} == {1, 2}
    assert publish(desk, claims) == fail(desk, claims) == begin(desk, claims) == 0
    with pytest.raises(LeaseLostError):
        desk.service.beat()
    # That is done once: what the later one holds stays its own.
    Service(desk.database)
    assert after.held() == 3


def cannot_be_written() -> None:
    """Stand in for a ledger without room."""
    raise LedgerError("the ledger cannot be used: database or disk is full")
