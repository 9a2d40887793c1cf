"""A service that is killed: the next one goes on at once with what it has left."""

import random
import time

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site

pytestmark = pytest.mark.fault


def test_killed_at_random_and_started_again(site: Site, give_run: GiveRun) -> None:
    """Nobody waits for the lease of the dead; what was begun counts as an attempt."""
    cluster, kills = "none", 2
    chance = random.Random(11)
    run = give_run(60)
    # Longer than anything is waited for.
    site.configure({"lease_seconds": 3600})
    job = site.submit(run, seconds=0.02)
    lost: dict[str, int] = {}
    killed_with_work = 0
    for _ in range(kills):
        service = site.serve(cluster)
        service.wait_for("published", chance.randrange(1, 60 // kills - 4))
        time.sleep(chance.uniform(0.0, 0.05))
        service.kill()
        running = site.units("running")
        killed_with_work += bool(running)
        lost |= running
        assert not job.record().ended
    assert killed_with_work
    service = site.serve(cluster)
    site.check(job)
    assert service.end() == 0
    assert "is gone: what it worked on is taken over" in service.errors
    site.check_nobody_is_there()
    expired = site.attempts("lease-expired")
    assert set(expired) == set(lost)
    for unit, attempt in lost.items():
        assert attempt in expired[unit]
