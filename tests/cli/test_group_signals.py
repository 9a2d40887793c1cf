"""Signals that reach every process of a command: of its group, or of its control group."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.cli.conftest import lines, started

from forebay import ExitCode, acquire, open_source
from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import ATTEMPTS, SERVICES, UNITS

SECONDS = 120
SLOW = """
import subprocess, time
from pathlib import Path

import forebay


@forebay.algorithm("slow", version="1.0.0")
def slow(frames, *, begun: str):
    '''Takes a while, and ends a program that it has started.'''
    Path(begun, str(int(frames["t"][0]))).touch()
    with subprocess.Popen(["sleep", "60"]) as beside:
        time.sleep(1.5)
        beside.terminate()
        beside.wait(20)
    return frames.mean(("y", "x"))
"""
UNITS_OF_RUN = 12

type Send = Callable[[int], None]


def to_group(number: signal.Signals) -> Send:
    """Send as a terminal does."""
    return lambda leader: os.killpg(leader, number)


def to_control_group(leader: int) -> None:
    """Send as systemd does: to all, whatever their group, and here to the youngest first."""
    for each in reversed(everybody(leader)):
        each.terminate()


def everybody(leader: int) -> list[psutil.Process]:
    """Return a process and its descendants but programs that a worker has started."""
    first = psutil.Process(leader)
    return [first, *(each for each in first.children(recursive=True) if each.name() != "sleep")]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a run, and settings that know the algorithm and a cluster of two processes."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "begun").mkdir()
    (tmp_path / "forebay.toml").write_text(
        'engine.algorithm_modules = ["slow.py"]\nengine.cluster = "two"\n'
        '[clusters.two]\nkind = "local"\nworkers = 2\n'
    )
    with open_source("simulated:shape=16x16", frames=UNITS_OF_RUN) as source:
        acquire(source, tmp_path / "cell", frames_per_block=1)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "send"),
    [
        ("process", to_group(signal.SIGINT)),
        ("process", to_group(signal.SIGTERM)),
        ("serve", to_group(signal.SIGTERM)),
        ("serve", to_group(signal.SIGHUP)),
        ("serve", to_control_group),
    ],
    ids=[
        "process SIGINT",
        "process SIGTERM",
        "serve SIGTERM",
        "serve SIGHUP",
        "serve control group",
    ],
)
def test_a_signal_to_all_its_processes_ends_a_command_in_order(
    place: Path, command: str, send: Send
) -> None:
    """What was begun is published, nothing has failed, and no process is left."""
    begun = f"begun={place / 'begun'}"
    if command == "serve":
        # This process would know the algorithm of the test before by the same name.
        asked = ("jobs", "submit", "slow", "cell", "-p", begun)
        submitted = started([sys.executable, "-m", "forebay"], place, *asked)
        _, err = submitted.communicate(timeout=SECONDS)
        assert submitted.returncode == 0, err
        words: tuple[str, ...] = ("serve", "--json")
    else:
        words = ("process", "cell", "slow", "-p", begun, "--json")
    process = started([sys.executable, "-m", "forebay"], place, *words)
    told = [next(event for event in map(json.loads, lines(process.stdout)) if published(event))]
    before = everybody(process.pid)
    assert len(before) >= 4, "the command, what forks the workers, and two of these"
    send(process.pid)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == (0 if command == "serve" else ExitCode.INTERRUPTED), err
    assert "Traceback" not in err
    assert "stopping" in err
    psutil.wait_procs(before, timeout=SECONDS)
    assert not [each for each in before if each.is_running()]
    told += [event for event in map(json.loads, out.splitlines()) if published(event)]
    with Database(place / "results" / "ledger.sqlite") as database, database.read() as reading:
        states = sorted(row.state for row in reading.execute(UNITS.select()))
        assert not reading.execute(ATTEMPTS.select()).all(), "nothing was a failure"
        assert not reading.execute(SERVICES.select()).all()
        assert not [row for row in reading.execute(UNITS.select()) if row.deaths or row.retries]
    computed = len(list((place / "begun").iterdir()))
    assert states.count("done") == len(told) == computed < UNITS_OF_RUN
    # The job of a call goes with it, and what it has published stays.
    assert set(states) == {"done", "ready" if command == "serve" else "cancelled"}


def published(event: dict[str, object]) -> bool:
    """Tell whether a unit was published."""
    return event["event"] == "published"
