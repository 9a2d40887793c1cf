"""An acquisition that only remembers what it is asked."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from forebay.acquisition.control import ControlServer
from forebay.acquisition.errors import AcquisitionError

RUN = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
SERVING = Path(__file__).with_name("serving.py")
SECONDS = 60


class Remembering:
    """Does nothing, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.found: Mapping[str, Any] = {"flow": "normal", "committed": 12}
        self.hold = threading.Event()
        self.hold.set()
        self.held = threading.Event()
        self.storage_answers = threading.Event()
        self.storage_answers.set()
        self.noting = threading.Event()

    def status(self) -> Mapping[str, Any]:
        self.held.set()
        self.hold.wait(SECONDS)
        return self.found

    def stop(self, reason: str) -> None:
        self.asked.append(("stop", reason))

    def start(self) -> None:
        raise AcquisitionError("the acquisition has begun already")

    def note(self, topic: str, text: str) -> None:
        if text == "defect":
            raise ZeroDivisionError("one by nothing")
        self.noting.set()
        self.storage_answers.wait(SECONDS)
        self.asked.append(("note", topic, text))

    def reduce(self, level: int, seconds: float) -> None:
        self.asked.append(("reduce", str(level), str(seconds)))


@pytest.fixture(autouse=True)
def runtime_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the sockets a folder of their own, with a short name: clients here use plain paths."""
    with TemporaryDirectory() as base:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)
        yield Path(base) / "forebay"


@pytest.fixture
def controlled() -> Remembering:
    return Remembering()


@pytest.fixture
def server(controlled: Remembering) -> Iterator[ControlServer]:
    with ControlServer(RUN, controlled) as server:
        yield server


type Start = Callable[[Path], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start_serving() -> Iterator[Start]:
    """Start a process that writes a run and serves its socket; give it and the run's identity."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, str(SERVING), str(path)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=SECONDS)
