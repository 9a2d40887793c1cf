"""Workers that are killed while a service goes on."""

import contextlib
import os
import random
import signal
import time

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, until

pytestmark = pytest.mark.fault


def test_killed_again_and_again_at_random(site: Site, give_run: GiveRun) -> None:
    """A unit under which one worker dies is tried once more, and no other unit suffers."""
    chance = random.Random(3)
    job = site.submit(give_run(60), seconds=0.1)
    service = site.serve("chosen")
    hit: set[int] = set()
    for _ in range(3):
        service.wait_for("published", len(service.told("published")) + chance.randrange(2, 6))
        time.sleep(chance.uniform(0.0, 0.1))
        # One that has lost a worker must not lose another one: that would be its end.
        fresh = until(
            lambda: [each for each in site.computing(job) if each[1] not in hit],
            "that a worker is at a unit",
        )
        pid, first = chance.choice(fresh)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            hit.add(first)
    site.check(job)
    assert service.end() == 0
    site.check_nobody_is_there()
    lost = site.attempts("worker-lost")
    assert 1 <= len(lost) <= len(hit) == 3
    assert all(len(attempts) == 1 for attempts in lost.values())
    assert len({pid for pid, _ in site.begun(job)}) > 2
    assert site.begun_again([job]) <= set(lost)
