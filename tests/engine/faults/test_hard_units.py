"""Units that kill, hang, leak, fork or hold the interpreter, at a service that goes on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Expected, Process, Site

from forebay.acquisition import Run
from forebay.engine import SubmittedJob
from forebay.engine.queue.database import Database
from forebay.engine.queue.dead import DeadLetter, DeadLetters

pytestmark = pytest.mark.fault

BLOCKS = 12
AT = 8
"""First frame of the unit that does harm."""


@pytest.fixture(scope="module")
def hard_site(
    tmp_path_factory: pytest.TempPathFactory, expected: Expected, warmed: Path
) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"), expected, warmed=warmed)
    made.configure(
        {"lease_seconds": 2, "unit_seconds": 10}, {"memory_limit": "700 MB", "workers": 2}
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def service(hard_site: Site) -> Iterator[Process]:
    """A service that has to survive all of the tests."""
    started = hard_site.serve("chosen")
    yield started
    assert started.process.poll() is None, started.errors
    assert started.end() == 0
    assert "was silent" not in started.errors
    assert len(started.told("ready")) == 1
    hard_site.check_nobody_is_there()


def letter_of(site: Site, job: int) -> DeadLetter:
    """Return the only dead letter of a job."""
    with Database(site.ledger, create=False) as database:
        (letter,) = DeadLetters(database).find(job=job)
    assert letter.start == AT
    return letter


def attempts_of(site: Site, job: SubmittedJob, run: Run, failure: str) -> dict[str, list[int]]:
    """Return the attempts at the units of a job that failed in a way."""
    own = {row.unit for row in site.units_of(job, run)}
    return {unit: numbers for unit, numbers in site.attempts(failure).items() if unit in own}


def test_a_poisonous_block_kills_two_workers_and_no_third(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    job = hard_site.submit(run := give_run(BLOCKS), harm="die", at=AT)
    hard_site.check(job, dead=[AT])
    assert len({pid for pid, first in hard_site.begun(job) if first == AT}) == 2
    letter = letter_of(hard_site, job.number)
    assert letter.failure == "worker-lost"
    assert letter.attempts == 2
    assert attempts_of(hard_site, job, run, "worker-lost") == {letter.unit: [1, 2]}


def test_a_unit_that_never_ends_is_stopped_twice(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    job = hard_site.submit(run := give_run(BLOCKS), harm="sleep", at=AT)
    hard_site.check(job, dead=[AT])
    assert len({pid for pid, first in hard_site.begun(job) if first == AT}) == 2
    letter = letter_of(hard_site, job.number)
    assert letter.failure == "timed-out"
    assert letter.error == "it took longer than 10 s"
    assert attempts_of(hard_site, job, run, "timed-out") == {letter.unit: [1, 2]}


def test_a_unit_that_takes_all_memory_is_given_up(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    """The nanny ends its worker; it is a dead letter, and no unit beside it.

    Where memory is given slowly it may be stopped for its time once before that.
    """
    job = hard_site.submit(give_run(BLOCKS), harm="leak", at=AT)
    hard_site.check(job, dead=[AT])
    letter = letter_of(hard_site, job.number)
    assert letter.failure in {"worker-lost", "timed-out"}
    assert len({pid for pid, first in hard_site.begun(job) if first == AT}) in {2, 3}


def test_a_child_that_outlives_its_unit_keeps_nothing_waiting(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    job = hard_site.submit(give_run(BLOCKS), harm="fork", at=AT)
    hard_site.check(job)
    assert len([first for _, first in hard_site.begun(job) if first == AT]) == 1


def test_a_unit_that_holds_the_interpreter_loses_no_lease(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    """The service beats from a process of its own; the worker is not taken for dead either."""
    job = hard_site.submit(give_run(BLOCKS), harm="hold", at=AT)
    hard_site.check(job)
    begun = [pid for pid, first in hard_site.begun(job) if first == AT]
    assert len(begun) == 1
    assert hard_site.attempts("lease-expired") == {}


def test_what_is_returned_and_cannot_be_kept(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    job = hard_site.submit(give_run(BLOCKS), harm="return", at=AT)
    hard_site.check(job, dead=[AT])
    letter = letter_of(hard_site, job.number)
    assert letter.failure == "invalid"
    assert letter.error.startswith("OutputError: harmful-1.0.0 returned ")
    assert letter.attempts == 1


def test_an_exported_dead_letter_fails_again_at_a_desk(
    hard_site: Site, service: Process, give_run: GiveRun
) -> None:
    """One process, without a cluster or a ledger, raises what the worker raised."""
    job = hard_site.submit(give_run(BLOCKS), harm="fail", at=AT)
    hard_site.check(job, dead=[AT])
    letter = letter_of(hard_site, job.number)
    assert letter.failure == "raised"
    assert letter.error == "ValueError: this frame is too dark"
    script = hard_site.folder / "again.py"
    words = ["dead", "export", letter.unit[:12], script, "--ledger", hard_site.ledger]
    exporting = hard_site.start(*words)
    assert exporting.ended() == 0, exporting.errors
    done = subprocess.run(
        [sys.executable, script], cwd=hard_site.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: this frame is too dark\n"), done.stderr


def test_work_goes_on_after_all_that(hard_site: Site, service: Process, give_run: GiveRun) -> None:
    """On the workers that Dask's nannies have brought back; they may give one up."""
    job = hard_site.submit(give_run(24), seconds=0.1)
    hard_site.check(job)
    assert 1 <= len({pid for pid, _ in hard_site.begun(job)}) <= 2, service.errors
