"""A ledger in PostgreSQL: the server is killed, and so is one of two services."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.server import MortalServer, mortal_server
from tests.engine.faults.site import Expected, Site, until

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
    job = shared_site.submit(give_run(60), seconds=0.05)
    service = shared_site.serve()
    service.wait_for("published", 5)
    server.kill()
    until(lambda: "trying again in 1 s" in service.errors, "that it misses the server")
    server.start()
    back_at = time.monotonic()
    assert not job.record().ended
    service.wait_for("ready", 2)
    told = len(service.told("published"))
    service.wait_for("published", told + 1)
    # Its lease would have been over after 30 s.
    assert time.monotonic() - back_at < 20
    shared_site.check(job)
    assert service.end() == 0, service.errors
    shared_site.check_nobody_is_there()


def test_one_of_two_services_is_killed(shared_site: Site, give_run: GiveRun) -> None:
    job = shared_site.submit(give_run(60), seconds=0.05)
    services = shared_site.serve(ready=False), shared_site.serve(ready=False)
    for each in services:
        each.wait_for("published", 3)
    services[0].kill()
    (name,) = {each["service"] for each in services[0].told("ready")}
    lost = {row.unit for row in shared_site.rows_of_units() if row.holder == name}
    assert not job.record().ended
    shared_site.check(job)
    assert services[1].end() == 0
    shared_site.check_nobody_is_there()
    expired = shared_site.attempts("lease-expired")
    assert set(expired) & lost
    names = {each["service"] for each in services[0].told("ready")}
    assert names
