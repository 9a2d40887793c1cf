"""A clock that is set while two services are at work."""

import threading
import time
from contextlib import ExitStack, nullcontext
from functools import partial

import pytest
from tests.engine.faults.algorithms import HARMFUL
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, until

from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.queue.database import Database

pytestmark = pytest.mark.fault

HOUR = 3600 * 1_000_000_000


class Clock:
    """The time, and how wrong it is."""

    def __init__(self) -> None:
        self.wrong = 0

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return time.time_ns() + self.wrong


def _more_than(site: Site, number: int) -> bool:
    return len(site.units("done")) > number


def test_forward_and_back_by_an_hour(site: Site, give_run: GiveRun) -> None:
    """Each takes the other one for dead; work may be done twice, and counts once."""
    clock, stop, names = Clock(), threading.Event(), list[str]()
    job = site.submit(give_run(80), seconds=0.03)
    with ExitStack() as stack:

        def work() -> None:
            with Database(site.ledger, now=clock) as database:
                serve(
                    database,
                    lambda: nullcontext(None),
                    lambda name, version: HARMFUL,
                    options=ServiceOptions(lease_seconds=2),
                    stop=stop,
                    on_ready=names.append,
                )

        threads = [threading.Thread(target=work) for _ in range(2)]
        for each in threads:
            each.start()
            stack.callback(each.join)
        stack.callback(stop.set)
        done = 0
        for step in (HOUR, -HOUR, HOUR):
            until(partial(_more_than, site, done + 10), "units that are done")
            assert site.units("running")
            clock.wrong += step
            done = len(site.units("done"))
        assert not job.record().ended
        site.check_ended(job)
    assert len(names) > 2
    site.check(job)
    site.check_nobody_is_there()
