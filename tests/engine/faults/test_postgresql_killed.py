"""A ledger in PostgreSQL: the server is killed, and so is one of two services."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.server import MortalServer, mortal_server
from tests.engine.faults.site import Expected, Process, Site, until

from forebay.engine import SubmittedJob

pytestmark = [pytest.mark.fault, pytest.mark.postgres]


@pytest.fixture(scope="module")
def server() -> Iterator[MortalServer]:
    with mortal_server() as started:
        yield started


@pytest.fixture
def shared_site(
    server: MortalServer, tmp_path: Path, expected: Expected, warmed: Path
) -> Iterator[Site]:
    """A site whose ledger is on the server."""
    with server.database("ledger") as url:
        made = Site(tmp_path, expected, warmed=warmed, ledger=url)
        yield made
        made.close()


def test_the_server_is_killed_and_started_again(
    shared_site: Site, server: MortalServer, give_run: GiveRun
) -> None:
    """The service waits for it, and goes on at once: its earlier lease is not in its way."""
    # Longer than anything is waited for.
    shared_site.configure({"lease_seconds": 3600})
    job = shared_site.submit(give_run(60), seconds=0.05)
    service = shared_site.serve()
    service.wait_for("published", 5)
    server.kill()
    until(lambda: "trying again in 1 s" in service.errors, "that it misses the server")
    server.start()
    assert not job.record().ended
    service.wait_for("ready", 2)
    told = len(service.told("published"))
    service.wait_for("published", told + 1)
    shared_site.check(job)
    assert service.end() == 0, service.errors
    shared_site.check_nobody_is_there()


def stopped_at_work(site: Site, service: Process, job: SubmittedJob) -> bool:
    """Stop a service, and let it go on where it computes nothing."""
    service.send(signal.SIGSTOP)
    until(lambda: psutil.Process(service.pid).status() == psutil.STATUS_STOPPED, "its stop")
    if any(process == service.pid for process, _ in site.computing(job)):
        return True
    service.send(signal.SIGCONT)
    return False


def test_one_of_two_services_is_killed(shared_site: Site, give_run: GiveRun) -> None:
    job = shared_site.submit(give_run(60), seconds=0.05)
    services = shared_site.serve(ready=False), shared_site.serve(ready=False)
    for each in services:
        each.wait_for("published", 3)
    until(lambda: stopped_at_work(shared_site, services[0], job), "that it is stopped at a unit")
    (name,) = {each["service"] for each in services[0].told("ready")}
    lost = {row.unit for row in shared_site.rows_of_units() if row.holder == name}
    services[0].kill()
    assert not job.record().ended
    shared_site.check(job)
    assert services[1].end() == 0
    shared_site.check_nobody_is_there()
    expired = shared_site.attempts("lease-expired")
    assert set(expired) & lost
    names = {each["service"] for each in services[0].told("ready")}
    assert names
