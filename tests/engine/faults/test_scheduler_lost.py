"""A Dask scheduler that is killed and started again, with its workers, under a service."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.engine.faults.conftest import GiveRun
from tests.engine.faults.site import Site, in_session, until
from tests.ports import free_port
from tests.warmed import TOLD

pytestmark = pytest.mark.fault


def told_by(path: Path) -> str:
    """Return what a file holds, once it is there."""
    return path.read_text() if path.exists() else ""


@contextmanager
def cluster(port: int, folder: Path, warmed: Path) -> Iterator[int]:
    """Run a scheduler, whose process is given, and two workers; all are gone at the end."""
    dask = [str(warmed / "python"), "-W", "ignore", "-m", "dask"]
    own = ["--host", "127.0.0.1", "--no-dashboard"]
    address = f"tcp://127.0.0.1:{port}"
    words = [
        ["scheduler", "--port", str(port)],
        *([["worker", address, "--nthreads", "1", "--no-nanny", "--death-timeout", "30"]] * 2),
    ]
    told = [folder / f"dask-{time.monotonic_ns()}-{number}" for number in range(len(words))]
    started = [
        subprocess.Popen(
            [*dask, *each, *own],
            env={**os.environ, TOLD: str(path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for each, path in zip(words, told, strict=True)
    ]
    numbers = [int(until(partial(told_by, path), "a process id")) for path in told]
    try:
        yield numbers[0]
    finally:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        for each in started:
            each.wait()
        until(lambda: not any(map(in_session, numbers)), "the cluster's end")


def test_it_is_waited_for_and_gone_on(
    site: Site, give_run: GiveRun, warmed: Path, tmp_path: Path
) -> None:
    port = free_port()
    site.configure(
        cluster={"kind": "address", "address": f"tcp://127.0.0.1:{port}", "timeout": 5.0}
    )
    job = site.submit(give_run(60), seconds=0.1)
    with cluster(port, tmp_path, warmed) as scheduler:
        service = site.serve("chosen")
        service.wait_for("published", 5)
        os.kill(scheduler, signal.SIGKILL)
        published = len(site.units("done"))
        assert published < 60
    until(lambda: "trying again in 1 s" in service.errors, "that it misses the scheduler")
    assert not job.record().ended
    with cluster(port, tmp_path, warmed):
        service.wait_for("ready", 2)
        site.check(job)
        assert service.end() == 0
    site.check_nobody_is_there()
    assert site.attempts("worker-lost") == {}
