"""A recording on a terminal, and what becomes of it when the terminal goes."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay import ExitCode, open_run

SECONDS = 60

type OnTerminal = Callable[..., tuple[subprocess.Popen[bytes], int]]


@pytest.fixture
def on_terminal(warmed: Path, tmp_path: Path) -> Iterator[OnTerminal]:
    """Start the command line on a terminal of its own; return it, and what takes the terminal."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(*words: object) -> tuple[subprocess.Popen[bytes], int]:
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", str(warmed / "forebay"), *(str(word) for word in words)],
            cwd=tmp_path,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        begun.append(process)
        os.close(theirs)
        return process, ours

    yield start
    for each in begun:
        each.kill()
        each.wait()


def shown(terminal: int, words: bytes) -> None:
    """Wait until a program has shown some words."""
    seen = b""
    while words not in seen:
        seen += os.read(terminal, 4096)


def test_a_recording_whose_terminal_goes_is_committed_and_closed(
    on_terminal: OnTerminal, tmp_path: Path
) -> None:
    """As by Ctrl-C; the code says that nobody took what it printed."""
    process, terminal = on_terminal(
        "acquire", "simulated:shape=64x64", "endless", "--rate", 50, "--frames-per-block", 10
    )
    shown(terminal, b"delivering")
    os.close(terminal)
    assert process.wait(SECONDS) == ExitCode.STORAGE
    run = open_run(tmp_path / "endless")
    assert run.history.closed is not None
    assert run.history.closed.reason == "stopped by the operator"
    assert run.verify().ok


def test_a_recording_that_is_to_outlive_its_terminal_goes_on_without(
    on_terminal: OnTerminal, tmp_path: Path
) -> None:
    """With SIGHUP ignored, as by nohup, and its view still on that terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process, terminal = on_terminal(
            "acquire", "simulated:shape=64x64", "whole", "--rate", 50, "--frames", 100,
            "--frames-per-block", 10,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)
    shown(terminal, b"delivering")
    os.close(terminal)
    assert process.wait(SECONDS) == ExitCode.STORAGE
    run = open_run(tmp_path / "whole")
    assert run.closed
    assert run.history.frames == 100
