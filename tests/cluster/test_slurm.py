"""Clusters of jobs on a real Slurm: what is refused before, what is started, what is left."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.cli.conftest import Forebay, forebay
from tests.slurm import Slurm, forked, running_slurm, slurm, until

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run
from forebay.cluster import ClusterError, SlurmClusterSpecification, connect
from forebay.cluster.keeping.talk import scale, standing
from forebay.cluster.slurm import check
from forebay.cluster.slurm.check import Nodes, parse_nodes, unfit
from forebay.cluster.slurm.pool import parse
from forebay.cluster.worker_memory import ENVIRONMENT
from forebay.engine import Algorithm, process
from forebay.engine.errors import ClusterLostError
from forebay.engine.execution.events import JobEvent, UnitPublished

__all__ = ["forebay", "running_slurm", "slurm"]

on_slurm = pytest.mark.slurm
pytestmark = pytest.mark.timeout(400)


def small(folder: Path, **more: Any) -> SlurmClusterSpecification:
    """Return a cluster of small workers that come and go quickly."""
    fields: dict[str, Any] = {
        "maximum_workers": 2,
        "memory_limit": "500 MiB",
        "interface": "lo",
        "folder": folder / "clusters",
        "look_seconds": 0.2,
        "idle_seconds": 1.0,
        "work_seconds": 1.0,
        **more,
    }
    return SlurmClusterSpecification(**fields)


def counting(log: Path, seconds: float) -> Algorithm:
    """Return an algorithm that notes each time that it is begun."""

    def counted(frames: xr.DataArray, *, log: str = str(log)) -> pd.DataFrame:
        first = int(frames.t[0])
        with Path(log).open("ab", buffering=0) as file:
            file.write(f"{first}\n".encode())
        with Path(log).with_suffix(".workers").open("ab", buffering=0) as file:
            file.write(f"{os.getpid()}\n".encode())
        time.sleep(seconds)
        return pd.DataFrame({"t": frames.t})

    return Algorithm("counted", "1.0.0", counted)


def recorded(folder: Path, blocks: int) -> Run:
    """Return a run of so many small blocks."""
    writer = RunWriter.create(
        folder / "run", Geometry(("y", "x"), (4, 4), np.dtype("uint16")), frames_per_block=1
    )
    for counter in range(blocks):
        writer.append(Frame(counter, time.time_ns(), np.zeros((4, 4), np.uint16)))
    writer.close()
    return open_run(folder / "run")


# Before anything is submitted.


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"walltime": "00:00:30"}, "Slurm counts in minutes"),
        ({"walltime": "1h"}, "a time is HH:MM:SS or D-HH:MM:SS"),
        ({"walltime": "00:02:00"}, "leaves no time for work beside margin_seconds = 120"),
        ({"minimum_workers": 3}, "minimum_workers = 3 are more than maximum_workers = 2"),
        ({"protocol": "tcp", "interface": None}, "in the clear: leave it at 'tls'"),
        ({"gpus_per_worker": 1, "workers_per_job": 2}, "workers_per_job must be 1"),
        ({"directives": ["--qos=a\nrm -r /"]}, "it must be one line"),
        ({"partition": "main;reboot"}, "it must be one word"),
        ({"memory_limit": "much"}, "could not interpret|could not parse|value and unit"),
    ],
)
def test_a_specification_that_cannot_work_is_refused(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        small(tmp_path, **wrong)


def test_ctrl_c_is_left_to_who_has_it(tmp_path: Path) -> None:
    """Importing dask-jobqueue lets SIGINT end the process with code 0, if nobody puts that right."""
    code = """
import signal
from forebay.cluster.slurm.script import script_of
def handle(*_): raise SystemExit("in order")
signal.signal(signal.SIGINT, handle)
script_of("w", "tcp://here:1", dict(cores=1, memory="1 GiB", processes=1))
assert signal.getsignal(signal.SIGINT) is handle
signal.raise_signal(signal.SIGINT)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.strip()) == (1, "in order")


def test_the_users_configuration_of_dask_jobqueue_says_nothing_here(tmp_path: Path) -> None:
    """Neither where jobs go and what they need, nor where their logs lie; what has no name here does."""
    elsewhere = {
        "queue": "urgent",
        "account": "somebody",
        "interface": "eth0",
        "job-mem": "1M",
        "log-directory": str(tmp_path / "elsewhere"),
        "worker-command": "other.worker",
        "worker-extra-args": ["--dashboard-address", "0.0.0.0:8787"],
        "extra": ["--dashboard"],
        "env-extra": ["export SITE=north"],
        "job-extra": ["--exclusive"],
    }
    own = small(tmp_path, interface=None).plan("gpu").submitted
    with dask.config.set({f"jobqueue.slurm.{name}": it for name, it in elsewhere.items()}):
        assert small(tmp_path, interface=None).plan("gpu").submitted == own
    with dask.config.set({"jobqueue.slurm.local-directory": "/scratch"}):
        assert "--local-directory /scratch" in small(tmp_path).plan("gpu").submitted


BIG = Nodes("main", True, 4, 8000 << 20, 7200.0, "gpu:1")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"partition": "mian"}, "partition = 'mian': Slurm has main"),
        ({"walltime": "03:00:00"}, "longer than jobs of the partition main may take (2:00:00)"),
        ({"memory_limit": "9 GiB"}, "a job needs 9 GiB"),
        ({"workers_per_job": 9}, "a job needs 9 CPUs"),
        ({"threads_per_worker": 5}, "a job needs 5 CPUs"),
    ],
)
def test_what_no_node_has_is_said(tmp_path: Path, wanted: dict[str, Any], said: str) -> None:
    assert unfit(small(tmp_path), [BIG]) == []
    (problem,) = unfit(small(tmp_path, **wanted), [BIG])
    assert said in problem


@pytest.mark.parametrize(
    ("printed", "seconds"),
    [
        ("30", 1800),
        ("5:00", 300),
        ("05:30", 330),
        ("1:05:00", 3900),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        ("infinite", None),
        ("UNLIMITED", None),
        ("n/a", None),
        ("INVALID", None),
    ],
)
def test_a_time_is_read_as_slurm_means_it(printed: str, seconds: float | None) -> None:
    """As the longest that a partition allows, and as what is left of a job."""
    assert parse_nodes(f"main|main*|4|8000|{printed}|(null)").seconds == seconds
    parsed = parse(f"8|RUNNING|{printed}|n1|forebay:ab|None", "forebay:ab")
    assert parsed is not None
    assert parsed[1].seconds_left == seconds


def test_the_larger_worker_is_one_job_that_a_node_has_to_have_room_for(tmp_path: Path) -> None:
    wanted = small(tmp_path, memory_ceiling="9 GiB", workers_per_job=2, threads_per_worker=2)
    assert wanted.larger is not None
    (problem,) = unfit(wanted, [BIG])
    assert "the larger worker needs 9 GiB (memory_ceiling)" in problem
    assert (wanted.larger.workers_per_job, wanted.larger.threads_per_worker) == (1, 1)
    with pytest.raises(ValueError, match="memory_ceiling = 1024 bytes is not above"):
        small(tmp_path, memory_ceiling="1 KiB")


def test_a_partition_without_gpus_is_said(tmp_path: Path) -> None:
    plain = Nodes("plain", True, 4, 8000 << 20, None, "(null)")
    (problem,) = unfit(small(tmp_path, gpus_per_worker=1), [plain])
    assert "no node of the partition plain has the generic resource 'gpu'" in problem


def configured(folder: Path, **more: Any) -> None:
    """Write the settings of a cluster called gpus."""
    table = json.loads(small(folder, **more).model_dump_json(exclude_none=True))
    table |= {f"environment.{key}": value for key, value in table.pop("environment").items()}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    (folder / "forebay.toml").write_text("\n".join(["[clusters.gpus]", *lines]))


def test_without_slurm_a_sentence_says_so(
    forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job script is shown all the same."""
    configured(tmp_path, gpus_per_worker=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = forebay("cluster", "check", "gpus")
    assert outcome.code == 3
    assert outcome.error.startswith(
        "the cluster gpus cannot be started: there is no sbatch here: install Slurm's commands"
    )
    assert "#SBATCH --mem=500M" in outcome.out
    for name, value in ENVIRONMENT.items():
        assert f"export {name}={value}" in outcome.out
    # A worker with a GPU has the frames of its units there.
    assert "export DASK_ARRAY__BACKEND=cupy" in outcome.out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo 'Slurmctld(primary) at head is DOWN'; exit 1", "at head is DOWN"),
        ("exec sleep 600", "scontrol has not answered within 0.5 s"),
    ],
    ids=["down", "silent"],
)
def test_a_controller_is_asked_once_whether_it_is_there(
    forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str
) -> None:
    """Slurm's other commands would try again and again before they say so."""
    configured(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel", "sinfo", "scontrol"):
        does = answer if name == "scontrol" else f"touch {tmp_path}/asked"
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(check, "_PING_SECONDS", 0.5)
    outcome = forebay("cluster", "check", "gpus")
    assert outcome.code == 3
    assert "Slurm does not answer" in outcome.error
    assert said in outcome.error
    assert not (tmp_path / "asked").exists()


@on_slurm
def test_what_would_be_submitted_is_said(forebay: Forebay, tmp_path: Path, slurm: Slurm) -> None:
    """And nothing is; Slurm itself has looked at it."""
    configured(tmp_path, gpus_per_worker=1, cost_per_worker_hour=0.5)
    outcome = forebay("cluster", "check", "gpus")
    assert outcome.code == 0, outcome.err
    assert "#SBATCH --gres=gpu:1" in outcome.out
    assert "cost per hour" in outcome.out
    (described,) = forebay("cluster", "check", "gpus", "--json").json
    assert described["cost_per_hour"] == [0.0, 1.0]
    assert described["problems"] == []
    configured(tmp_path, directives=["--constraint=quantum"])
    outcome = forebay("cluster", "check", "gpus")
    assert outcome.code == 3
    assert "Slurm would not take the job" in outcome.error
    assert slurm.jobs("all") == slurm.jobs()


@on_slurm
def test_a_slurm_that_does_not_answer_is_said(tmp_path: Path, slurm: Slurm) -> None:
    """With what to look at; nothing is left in the folder."""
    slurm.stop("munged")
    try:
        with (
            pytest.raises(ClusterError, match=r"Slurm does not answer .*is munged running"),
            connect(small(tmp_path), name="gpus"),
        ):
            pass
    finally:
        slurm.start_munge()
    assert list(tmp_path.rglob("*.pem")) == []


# While it runs.


@on_slurm
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"python": "/no/such/python"}, "/no/such/python: No such file or directory"),
        (
            {"prologue": ["export FOREBAY_EXPECTS=dask=2020.1.0"]},
            "the scheduler's side has 2020.1.0: install the same versions on both",
        ),
    ],
    ids=["no Python", "another Dask"],
)
def test_jobs_that_cannot_work_end_after_a_few_starts_with_the_reason(
    tmp_path: Path, slurm: Slurm, broken: dict[str, Any], reason: str
) -> None:
    """What the job's own log says is the error of the command."""
    run = recorded(tmp_path, 2)
    with (
        connect(small(tmp_path, failed_starts=2, **broken), name="gpus") as client,
        pytest.raises(ClusterLostError) as lost,
    ):
        process(run, counting(tmp_path / "log", 0.0), client=client)
    assert "2 jobs in a row have brought no worker" in str(lost.value)
    assert reason in str(lost.value)
    until(lambda: not slurm.jobs(), "that no job is left")


@on_slurm
def test_jobs_that_wait_for_ever_are_told_and_taken_back(tmp_path: Path, slurm: Slurm) -> None:
    with connect(small(tmp_path, directives=["--hold"]), name="gpus") as client:
        scale(client, 2)
        until(
            lambda: "jobs wait: JobHeldUser" in standing(client)["notes"],
            "that it is told why they wait",
        )
        assert standing(client)["waiting"] == 2 == len(slurm.jobs())
    until(lambda: not slurm.jobs(), "that no job is left")


@on_slurm
@pytest.mark.long
def test_a_larger_worker_comes_for_what_needs_it_and_goes(
    tmp_path: Path, slurm: Slurm, warmed: Path
) -> None:
    """The job of the unit's kind is submitted beside the others, and ends before them."""

    def demanding(frames: xr.DataArray) -> pd.DataFrame:
        from distributed import get_worker

        worker: Any = get_worker()
        memory = worker.memory_manager.memory_limit
        if int(frames.t[0]) == 1 and memory < 600 * 2**20:
            raise MemoryError("too much for this one")
        return pd.DataFrame({"t": frames.t, "memory": memory})

    usual = small(
        tmp_path,
        memory_ceiling="700 MiB",
        maximum_workers=1,
        minimum_workers=1,
        protocol="tcp",
        **forked(warmed),
    )
    with connect(usual, name="gpus") as client:
        result = process(
            recorded(tmp_path, 3), Algorithm("demanding", "1.0.0", demanding), client=client
        )
        table = result.table().sort_values("t")
        assert [each // 2**20 for each in table.memory] == [500, 700, 500]
        until(lambda: len(slurm.jobs()) == 1, "that the larger worker has left")
        assert standing(client)["working"] == 1
    until(lambda: not slurm.jobs(), "that no job is left")


@on_slurm
def test_the_end_of_a_jobs_time_loses_nothing(tmp_path: Path, slurm: Slurm, warmed: Path) -> None:
    """Its worker finishes what it has, another one goes on, and no unit is begun twice."""
    run, log = recorded(tmp_path, 12), tmp_path / "log"
    published: list[JobEvent] = []

    def cut_short(event: JobEvent) -> None:
        """Let the first job have no more time left than its margin."""
        if isinstance(event, UnitPublished):
            published.append(event)
            if len(published) == 3:
                (job,) = slurm.jobs("running")
                slurm.call("scontrol", "update", f"jobid={job}", "timelimit=2")

    one = small(tmp_path, maximum_workers=1, protocol="tcp", **forked(warmed))
    with connect(one, name="gpus") as client:
        result = process(run, counting(log, 0.3), client=client, on_event=cut_short)
        assert standing(client)["stopped_because"] == ""
    assert len(result.done) == 12
    assert sorted(map(int, log.read_text().split())) == list(range(12))
    workers = {line.split()[0] for line in log.with_suffix(".workers").read_text().splitlines()}
    assert len(workers) == 2


@on_slurm
def test_a_unit_does_not_begin_where_the_time_left_is_not_enough(
    tmp_path: Path, slurm: Slurm, warmed: Path
) -> None:
    """The job that cannot do it gives its place at once to one that can."""
    run, log, results = recorded(tmp_path, 2), tmp_path / "log", tmp_path / "results"
    one = small(tmp_path, maximum_workers=1, protocol="tcp", margin_seconds=5, stagger_seconds=0)
    one = one.model_copy(update={**forked(warmed), "idle_seconds": 60.0})
    with connect(one, name="gpus") as client:
        process(run, counting(log, 0.0), client=client, results=results)
        (before,) = slurm.jobs("running")
        # As if they had taken longer than is left to a job of a minute.
        with sqlite3.connect(results / "ledger.sqlite") as ledger:
            ledger.execute("UPDATE units SET seconds = 100")
        slurm.call("scontrol", "update", f"jobid={before}", "timelimit=1")
        again = tmp_path / "again"
        result = process(run, counting(again, 0.0), client=client, results=results)
        assert len(result.done) == 2
        assert before not in slurm.jobs("running")
        notes = standing(client)["notes"]
    assert sorted(map(int, again.read_text().split())) == [0, 1]
    first, second = (set(each.with_suffix(".workers").read_text().split()) for each in (log, again))
    assert first.isdisjoint(second)
    assert notes == ()


@contextmanager
def kept(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Keep a cluster running, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "forebay", "cluster", "start", "gpus", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        assert json.loads(line)["event"] == "ready"
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


@on_slurm
def test_a_cluster_is_kept_running_for_others(
    forebay: Forebay, tmp_path: Path, slurm: Slurm, warmed: Path
) -> None:
    """It is listed, sized, joined, its logs are read; a killed one leaves nothing for long."""
    configured(tmp_path, **forked(warmed))
    assert forebay("cluster", "stop", "gpus").error.startswith("no cluster gpus is kept running")
    assert forebay("cluster", "logs", "gpus").out.startswith(
        "no workers of gpus have said anything"
    )
    with kept(tmp_path) as process:
        assert forebay("cluster", "scale", "gpus", 1).code == 0
        (before,) = until(slurm.jobs, "a job")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert forebay("cluster", "scale", "gpus", 1).code == 3
    with kept(tmp_path) as process:
        until(lambda: before not in slurm.jobs(), "that the jobs of the killed one are cancelled")
        place = tmp_path / "clusters" / "gpus"
        for secret in (place / "tls-key.pem", place / "tls-certificate.pem"):
            assert secret.stat().st_mode & 0o777 == 0o600
        outcome = forebay("cluster", "start", "gpus")
        assert outcome.code == 4
        assert "runs in" in outcome.error
        (described,) = [x for x in forebay("cluster", "list", "--json").json if x["running"]]
        assert described["name"] == "gpus"
        assert described["running"]["process"] == process.pid
        assert described["running"]["address"].startswith("tls://127.0.0.1:")
        refused = forebay("cluster", "scale", "gpus", 7)
        assert refused.error == "7 workers: this cluster has from 0 to 2"
        (sized,) = forebay("cluster", "scale", "gpus", 1, "--json").json
        assert sized["wanted"] <= 1
        with connect(small(tmp_path), name="gpus") as client:
            client.wait_for_workers(1, timeout=60)
            assert client.submit(os.getpid).result(timeout=30) != process.pid
        said = forebay("cluster", "logs", "gpus").out
        assert "distributed.worker" in said
        events = forebay("cluster", "logs", "gpus", "--json").json
        logged = [line for each in events if each["event"] == "log" for line in each["lines"]]
        assert any("distributed.worker" in line for line in logged)
        assert forebay("cluster", "stop", "gpus").out == "gpus has ended\n"
        assert process.wait(20) == 0
    until(lambda: not slurm.jobs(), "that no job is left")
    assert list(place.glob("*.pem")) == []
