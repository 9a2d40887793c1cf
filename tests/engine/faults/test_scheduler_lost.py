"""A Dask scheduler that is killed and started again, with its workers, under a service."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, in_session, until

pytestmark = pytest.mark.fault


@contextmanager
def cluster(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a scheduler and two workers; all of them are gone at the end."""
    dask = [sys.executable, "-W", "ignore", "-m", "dask"]
    own = ["--host", "127.0.0.1", "--no-dashboard"]
    address = f"tcp://127.0.0.1:{port}"
    words = [
        ["scheduler", "--port", str(port)],
        *([["worker", address, "--nthreads", "1", "--no-nanny", "--death-timeout", "30"]] * 2),
    ]
    started = [
        subprocess.Popen(
            [*dask, *each, *own],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for each in words
    ]
    try:
        yield started[0]
    finally:
        for each in started:
            each.kill()
        for each in started:
            each.wait()
        until(lambda: not any(in_session(each.pid) for each in started), "the cluster's end")


def test_it_is_waited_for_and_gone_on(site: Site, give_run: GiveRun) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site.configure(
        cluster={"kind": "address", "address": f"tcp://127.0.0.1:{port}", "timeout": 5.0}
    )
    job = site.submit(give_run(60), seconds=0.1)
    with cluster(port) as scheduler:
        service = site.serve("chosen")
        service.wait_for("published", 5)
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        published = len(site.units("done"))
        assert published < 60
    until(lambda: "trying again in 1 s" in service.errors, "that it misses the scheduler")
    assert not job.record().ended
    with cluster(port):
        service.wait_for("ready", 2)
        site.check(job)
        assert service.end() == 0
    site.check_nobody_is_there()
    assert site.attempts("worker-lost") == {}
