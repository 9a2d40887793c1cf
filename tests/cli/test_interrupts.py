"""Ctrl-C and SIGTERM end every command in order."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import EXAMPLES, Start, lines, started

from forebay import ExitCode, acquire, open_run, open_source

SECONDS = 60

GATED = """
import time
from pathlib import Path
import forebay

@forebay.algorithm("gated", version="1.0.0")
def gated(frames, *, go_on: str):
    '''Computes the first block, and then only what it is let.'''
    while frames["t"][0] > 0 and not Path(go_on).exists():
        time.sleep(0.01)
    return frames.mean(("y", "x"))
"""

STUCK = """
import threading, forebay

@forebay.algorithm("stuck", version="1.0.0")
def stuck(frames):
    print("stuck now", flush=True)
    threading.Event().wait(300)
    return frames
"""

WAITING = """
import threading

print("waiting now", flush=True)
threading.Event().wait(300)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_acquire_commits_what_has_come_and_closes_the_run(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = started(
        [sys.executable, "-m", "forebay"], tmp_path, "acquire", "simulated:shape=64x64", "endless", "--rate", 50,
        "--frames-per-block", 10, "--json",
    )  # fmt: skip
    for line in lines(process.stdout):
        if json.loads(line)["committed"] >= 20:
            break
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "closed"
    run = open_run(tmp_path / "endless")
    assert run.closed
    assert run.history.closed is not None
    assert run.history.closed.reason == "stopped by the operator"
    assert run.history.frames == last["committed"] >= 20
    assert run.verify().ok


def test_acquire_that_waits_for_its_source_ends_with_the_code_of_what_is_interrupted(
    start: Start, tmp_path: Path
) -> None:
    process = start(tmp_path, "acquire", "network:tcp://127.0.0.1:0", "never")
    assert "waiting for" in lines(process.stderr).readline()
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "stopped before" in err
    assert not (tmp_path / "never").exists()


def test_process_publishes_what_is_computed_and_goes_on_when_it_is_called_again(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "gated.py").write_text(GATED)
    (tmp_path / "forebay.toml").write_text('engine.algorithm_modules = ["gated.py"]\n')
    process = start(tmp_path, "acquire", EXAMPLES, "water", "--frames", 40, "--frames-per-block", 2)
    process.communicate(timeout=SECONDS)
    go_on = tmp_path / "go on"
    words = ("process", "water", "gated", "--cluster", "none", "-p", f"go_on={go_on}", "--json")
    process = start(tmp_path, *words)
    lines(process.stdout).readline()
    os.killpg(process.pid, signal.SIGINT)
    assert any("stopping" in line for line in lines(process.stderr))
    go_on.touch()
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err
    assert "run it again to go on" in err
    published = 1 + len(out.splitlines())
    assert published < 20
    process = start(tmp_path, *words)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    done = json.loads(out.splitlines()[-1])
    assert done["computed"] == 20 - published
    assert done["frames"] == 40


def test_a_job_that_follows_waits_for_its_run_and_ends_with_it(
    start: Start, tmp_path: Path
) -> None:
    words = ("process", "later", "find-particles", "--cluster", "none", "--follow", "--json",
             "-p", "diameter=7", "-p", "minmass=500")  # fmt: skip
    job = start(tmp_path, *words)
    assert "waiting for the run" in lines(job.stderr).readline()
    camera = start(
        tmp_path, "acquire", "simulated:shape=64x64,emitters=5", "later", "--rate", 40,
        "--frames", 24, "--frames-per-block", 4,
    )  # fmt: skip
    _, err = camera.communicate(timeout=SECONDS)
    assert camera.returncode == 0, err
    out, err = job.communicate(timeout=SECONDS)
    assert job.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["frames"] == 24


def test_a_job_that_follows_is_submitted_once_its_run_is_there(
    start: Start, tmp_path: Path
) -> None:
    job = start(tmp_path, "jobs", "submit", "find-particles", "later", "--follow", "--json")
    assert "waiting for the run" in lines(job.stderr).readline()
    with open_source("simulated:shape=16x16", frames=2) as camera:
        acquire(camera, tmp_path / "later")
    out, err = job.communicate(timeout=SECONDS)
    assert job.returncode == 0, err
    assert json.loads(out) == {"job": 1, "new": True, "state": "ready"}


@pytest.mark.parametrize("words", [("process", "never", "find-particles", "--cluster", "none"),
                                   ("jobs", "submit", "find-particles", "never")])  # fmt: skip
def test_a_job_that_follows_can_be_stopped_while_it_waits(
    words: tuple[str, ...], start: Start, tmp_path: Path
) -> None:
    job = start(tmp_path, *words, "--follow")
    assert "waiting for the run" in lines(job.stderr).readline()
    os.killpg(job.pid, signal.SIGINT)
    _, err = job.communicate(timeout=SECONDS)
    assert job.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err


def test_a_recording_goes_on_when_nobody_listens_any_more(start: Start, tmp_path: Path) -> None:
    process = start(
        tmp_path, "acquire", "simulated:shape=32x32", "unheard", "--rate", 100, "--frames", 120,
        "--frames-per-block", 4, "--json",
    )  # fmt: skip
    lines(process.stdout).readline()
    lines(process.stdout).close()
    err = lines(process.stderr).read()
    assert process.wait(SECONDS) == ExitCode.STORAGE, err
    assert "Traceback" not in err
    assert "stdout takes no more" in err
    run = open_run(tmp_path / "unheard")
    assert run.closed
    assert run.history.frames + sum(each.count for each in run.dropped) == 120


def test_the_third_signal_ends_what_hangs(start: Start, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "forebay.toml").write_text('engine.algorithm_modules = ["stuck.py"]\n')
    record = start(tmp_path, "acquire", "simulated:shape=16x16", "run", "--frames", 2)
    record.communicate(timeout=SECONDS)
    job = start(tmp_path, "process", "run", "stuck", "--cluster", "none")
    assert "stuck now" in lines(job.stdout).readline()
    os.killpg(job.pid, signal.SIGINT)
    assert any("stopping" in line for line in lines(job.stderr))
    os.killpg(job.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(2)
    os.killpg(job.pid, signal.SIGINT)
    job.communicate(timeout=SECONDS)
    assert job.returncode == ExitCode.INTERRUPTED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_has_nothing_to_finish_ends_with_the_code_of_what_is_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "forebay.toml").write_text('engine.algorithm_modules = ["waiting.py"]\n')
    listing = started([sys.executable, "-m", "forebay"], tmp_path, "algorithms", "list")
    assert "waiting now" in lines(listing.stdout).readline()
    os.killpg(listing.pid, number)
    _, err = listing.communicate(timeout=SECONDS)
    assert listing.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err
