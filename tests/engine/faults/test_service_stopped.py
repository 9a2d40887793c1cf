"""A service that is stopped for longer than its lease, and wakes up again."""

import contextlib
import signal
import sqlite3
import time

import psutil
import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Process, Site, until

pytestmark = pytest.mark.fault

LEASE = 2


def stop_between_transactions(site: Site, service: Process) -> None:
    """Stop a service; in the middle of a transaction, SQLite would let nobody else write."""

    def stopped_outside() -> bool:
        service.send(signal.SIGSTOP)
        until(lambda: psutil.Process(service.pid).status() == psutil.STATUS_STOPPED, "its stop")
        with contextlib.closing(sqlite3.connect(site.ledger, timeout=0.2)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                service.send(signal.SIGCONT)
                return False
            return True

    until(stopped_outside, "that it is stopped outside of a transaction")


@pytest.mark.parametrize("cluster", ["none"], ids=["in-process"])
def test_another_one_takes_over(site: Site, give_run: GiveRun, cluster: str) -> None:
    """What the first one brings when it wakes up counts nothing; it begins anew."""
    site.configure({"lease_seconds": LEASE})
    job = site.submit(give_run(40), seconds=0.05)
    first = site.serve(cluster)
    first.wait_for("published", 5)
    stopped_at = time.monotonic()
    stop_between_transactions(site, first)
    held = site.units("running")
    assert held
    done = len(site.units("done"))
    second = site.serve()
    site.check_ended(job)
    assert time.monotonic() - stopped_at > LEASE
    assert len(second.told("published")) == 40 - done
    first.send(signal.SIGCONT)
    first.wait_for("ready", 2)
    names = [each["service"] for each in first.told("ready")]
    assert f"{names[0]} was silent for " in first.errors
    assert names[1] != names[0]
    site.check(job)
    expired = site.attempts("lease-expired")
    assert set(expired) == set(held)

    # Both of them go on as if nothing had been.
    again = site.submit(give_run(24), seconds=0.02)
    before = len(first.told("published")), len(second.told("published"))
    until(lambda: len(first.told("published")) > before[0], "the first one to work again")
    site.check(again)
    assert len(second.told("published")) > before[1]
    assert first.end() == second.end() == 0
    site.check_nobody_is_there()
