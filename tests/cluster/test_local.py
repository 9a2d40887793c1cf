"""A cluster on this machine: it computes, listens to nobody else, and leaves nothing behind."""

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import distributed
import psutil
import pytest
from distributed.diagnostics.task_stream import TaskStreamPlugin
from tests.cli.conftest import Forebay, forebay
from tests.cluster.processes import children

from forebay.cluster import ClusterError, LocalClusterSpecification, connect, refill
from forebay.cluster.client import known_workers
from forebay.cluster.local import start

__all__ = ["forebay"]

THREADS = LocalClusterSpecification(workers=2, processes=False)
PROCESSES = LocalClusterSpecification(workers=1, threads_per_worker=2)


@pytest.fixture(params=[THREADS, PROCESSES], ids=["threads", "processes"])
def specification(request: pytest.FixtureRequest) -> LocalClusterSpecification:
    assert isinstance(request.param, LocalClusterSpecification)
    return request.param


def eventually(claim: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not claim() and time.monotonic() < end:
        time.sleep(0.02)
    return claim()


def test_what_dask_keeps_of_what_is_over_is_short() -> None:
    """By its own settings, in the scheduler and in a worker's process."""

    def kept_by_scheduler(dask_scheduler: Any) -> tuple[int | None, ...]:
        stream = TaskStreamPlugin(dask_scheduler)  # type: ignore[no-untyped-call]
        logs = (dask_scheduler.transition_log, dask_scheduler.computations, stream.buffer)
        return (*(each.maxlen for each in logs), dask_scheduler.monitor.maxlen)

    def kept_by_worker(dask_worker: Any) -> tuple[int | None, ...]:
        return dask_worker.state.log.maxlen, dask_worker.monitor.maxlen

    with connect(PROCESSES) as connected:
        client: Any = connected
        assert client.run_on_scheduler(kept_by_scheduler) == (100, 100, 10_000, 1200)
        assert [*client.run(kept_by_worker).values()] == [(100, 1200)]


def test_every_worker_is_there_and_computes(specification: LocalClusterSpecification) -> None:
    """The block begins when all that was asked for can be used."""
    with connect(specification) as client:
        workers = known_workers(client)
        assert len(workers) == specification.workers
        assert {each["nthreads"] for each in workers.values()} == {specification.threads_per_worker}
        assert client.submit(sum, [1, 2, 3]).result() == 6
        pids = set(client.run(os.getpid).values())
        assert (os.getpid() in pids) is (not specification.processes)


def test_nothing_is_left_behind(specification: LocalClusterSpecification) -> None:
    """No process, no event loop, no client that is Dask's default, no changed log level."""
    with connect(specification):  # what a process has from its first cluster on
        pass
    processes, threads = children(), set(threading.enumerate())
    level = logging.getLogger("distributed").level
    with connect(specification) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert set(threading.enumerate()) - threads
        workers = {*client.run(os.getpid).values()} - {os.getpid()}
        assert bool(workers) is specification.processes
        with pytest.raises(ValueError, match="No clients found"):
            distributed.default_client()  # type: ignore[no-untyped-call]
    assert children() <= processes
    assert eventually(lambda: not any(map(psutil.pid_exists, workers)))
    # Dask keeps the thread that takes long messages to pieces, once there was one.

    def more() -> set[threading.Thread]:
        return {x for x in set(threading.enumerate()) - threads if "Offload" not in x.name}

    assert eventually(lambda: not more()), more()
    assert logging.getLogger("distributed").level == level
    assert client.status == "closed"


def test_an_error_in_the_block_is_passed_on_and_nothing_is_left_behind() -> None:
    """What goes wrong among the units is not hidden by closing the cluster."""
    processes = children()
    with pytest.raises(LookupError, match="ours"), connect(PROCESSES):
        raise LookupError("ours")
    assert children() <= processes


PREPARED = """
import os, signal, sys
from forebay.cluster import LocalClusterSpecification, connect

def there():
    return os.getpid(), "wave" in sys.modules

def faults():
    import resource
    import numpy
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        numpy.ones(2**17)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def profiled(dask_worker):
    return "profile" in dask_worker.periodic_callbacks

if __name__ == "__main__":
    with connect(LocalClusterSpecification(workers=1), modules=["wave"]) as client:
        (first,) = client.run(there).values()
        os.kill(first[0], signal.SIGKILL)
        client.submit(int, pure=False).result(timeout=30)
        (second,) = client.run(there).values()
        assert second[0] != first[0]
        print(first[1], second[1], "wave" in sys.modules, client.submit(faults).result())
        print(*client.run(profiled).values())
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a program tells of its worker: a real program, for a forked one was prepared before."""
    (script := tmp_path_factory.mktemp("told") / "script.py").write_text(PREPARED)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_workers_find_imported_what_they_need(told: list[str]) -> None:
    """Also one that takes the place of a dead one; this process has not imported it."""
    assert told[:3] == ["True", "True", "False"]


def test_a_worker_keeps_no_call_stacks(told: list[str]) -> None:
    """Dask's own profiler would keep those of each second for an hour."""
    assert told[4] == "False"


def test_a_worker_uses_the_memory_again_that_it_has_freed(told: list[str]) -> None:
    """The system has not got to clear each page for each of a hundred arrays."""
    pages = 100 * 2**20 // resource.getpagesize()
    assert int(told[3]) < pages / 5


@pytest.mark.parametrize("dashboard", [False, True])
def test_only_this_machine_can_reach_it(
    specification: LocalClusterSpecification, dashboard: bool
) -> None:
    """Nothing listens on an interface of the network, with a dashboard or without."""
    if dashboard:
        pytest.importorskip("bokeh", reason="the dashboard needs bokeh")
    before = listening()
    with connect(specification.model_copy(update={"dashboard": dashboard})):
        hosts = {host for host, _ in listening() - before}
    assert hosts <= {"127.0.0.1", "::1"}
    assert hosts or not specification.processes


def listening() -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in (psutil.Process(), *psutil.Process().children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_a_dashboard_without_bokeh_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than starting and showing nothing."""
    monkeypatch.setattr(start, "find_spec", lambda name: None)
    with (
        pytest.raises(ClusterError, match="needs bokeh: install it, or set dashboard = false"),
        connect(LocalClusterSpecification(workers=1, processes=False, dashboard=True)),
    ):
        pass


def test_workers_share_the_memory_of_the_machine_or_have_what_was_given() -> None:
    """All of them together do not promise more than there is."""
    for given, expected in (("auto", distributed.system.MEMORY_LIMIT // 2), (2**28, 2**28)):
        specification = THREADS.model_copy(update={"memory_limit": given})
        with connect(specification) as client:
            workers = known_workers(client).values()
            assert {each["memory_limit"] for each in workers} == {expected}


def test_check_says_what_is_more_than_the_memory_of_the_machine(
    forebay: Forebay, tmp_path: Path
) -> None:
    """Each problem once, in units that people read."""
    (tmp_path / "forebay.toml").write_text(
        "[clusters.lab]\nkind = 'local'\nworkers = 4\nmemory_limit = '900 GiB'\n"
        "memory_ceiling = '9000 GiB'"
    )
    outcome = forebay("cluster", "check", "lab")
    assert outcome.code == 3
    assert "4 workers of 900.0 GiB are more than the " in outcome.error
    assert outcome.error.endswith("(and 1 more, above)")
    assert "memory_ceiling = 8.8 TiB has to be above the 900.0 GiB of a worker" in outcome.out
    assert "are more than" not in outcome.out


def test_workers_that_do_not_come_up_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends in time, says how many came, and leaves nothing behind."""
    processes = children()
    monkeypatch.setattr(distributed.LocalCluster, "scale", lambda cluster, workers: None)
    with (
        pytest.raises(ClusterError, match=r"only 0 of 1 local workers came up within 0\.3 s"),
        connect(PROCESSES.model_copy(update={"start_seconds": 0.3})),
    ):
        pass
    assert children() <= processes


def test_a_worker_process_that_never_says_anything_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a signal to all processes ends it while it starts: nobody waits for it for ever."""
    from distributed.nanny import WorkerProcess

    from forebay.cluster import client

    async def silent(process: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(WorkerProcess, "start", silent)
    monkeypatch.setattr(client, "CLOSE_TIMEOUT", 0.5)
    with (
        pytest.raises(ClusterError, match=r"0 of 1 local workers came up|do not start"),
        connect(LocalClusterSpecification(workers=1, start_seconds=0.3)),
    ):
        pass


@pytest.mark.parametrize("there", range(4))
def test_workers_that_are_still_starting_when_time_is_over_are_ended_without_a_word(
    there: int,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither they nor Dask say anything besides the error: nothing went wrong in them."""
    processes = children()
    wait = distributed.Client.wait_for_workers

    def too_short(client: Any, workers: int, timeout: float) -> None:
        if there:
            wait(client, there)
        raise TimeoutError

    monkeypatch.setattr(distributed.Client, "wait_for_workers", too_short)
    with (
        pytest.raises(ClusterError, match=r"of 4 local workers came up within 60 s"),
        connect(LocalClusterSpecification(workers=4, start_seconds=60)),
    ):
        pass
    assert children() <= processes
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []
    assert "Traceback" not in capfd.readouterr().err


def test_ctrl_c_while_the_workers_start_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever changes their mind early does not have to look for processes."""
    processes = children()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(distributed.Client, "wait_for_workers", interrupted)
    with pytest.raises(KeyboardInterrupt), connect(PROCESSES):
        pass
    assert children() <= processes


def test_a_heartbeat_that_a_closing_cluster_cuts_short_is_not_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its worker ends with the scheduler that it was meant for."""

    async def keep_one_waiting(dask_scheduler: Any) -> None:
        under_way = asyncio.Event()

        async def never(**_: object) -> None:
            under_way.set()
            await asyncio.Event().wait()

        dask_scheduler.handlers["heartbeat_worker"] = never
        await asyncio.wait_for(under_way.wait(), 60)

    with connect(PROCESSES) as connected:
        client: Any = connected
        client.run_on_scheduler(keep_one_waiting)
    assert capfd.readouterr().err == ""


def test_a_worker_that_dies_is_replaced() -> None:
    """A unit that kills its worker does not take the cluster with it."""
    with connect(PROCESSES) as client:
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        assert client.submit(os.getpid).result(timeout=60) != pid


def test_a_worker_that_its_nanny_did_not_bring_back_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dask waits some time for it, and then gives it up for good; so it does here at once."""
    monkeypatch.setattr(refill, "LOOK_SECONDS", 0.2)
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 ms"}),
        connect(PROCESSES) as client,
    ):
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        assert client.submit(os.getpid).result(timeout=60) != pid


CTRL_C = """
import os, signal, sys, threading, time
from forebay.cluster import LocalClusterSpecification, connect

def compute():
    time.sleep(2)
    return os.getpid()

if __name__ == "__main__":
    asked = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: asked.set())
    with connect(LocalClusterSpecification(workers=1)) as client:
        (before,) = client.run(os.getpid).values()
        unit = client.submit(compute, pure=False)
        time.sleep(0.5)
        print("computing", flush=True)
        asked.wait(120)
        print("asked" if asked.is_set() else "never asked", unit.result(120) == before)
        # A worker that is started again is sheltered as the first one was.
        os.kill(before, signal.SIGKILL)
        again = client.submit(os.getpid, pure=False).result(120)
        os.killpg(os.getpgrp(), signal.SIGINT)
        time.sleep(0.5)
        print(client.submit(os.getpid, pure=False).result(120) == again)
"""


def test_ctrl_c_reaches_the_command_and_not_its_workers(tmp_path: Path) -> None:
    """A terminal interrupts the whole group; the units under way are still finished."""
    script = tmp_path / "ctrl_c.py"
    script.write_text(CTRL_C)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "computing\n"
        os.killpg(command.pid, signal.SIGINT)
        out, err = command.communicate(timeout=180)
    assert out == "asked True\nTrue\n", err
    assert command.returncode == 0
    assert "Traceback" not in err


def test_the_mask_of_the_calling_thread_is_left_as_it_was() -> None:
    """Ctrl-C still reaches whoever started the cluster."""
    with connect(THREADS):
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
