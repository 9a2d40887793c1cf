"""The command line, called in this process, in a folder of its own."""

import functools
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from forebay.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples" / "data" / "bulk_water"
ALGORITHMS = """
import threading
from pathlib import Path

import forebay


@forebay.algorithm("picky", version="1.0.0")
def picky(frames, *, cure: str = "", limit: int = 4):
    '''Refuses frames from a number on, until there is a cure.'''
    if int(frames["t"][-1]) >= limit and not Path(cure or "/nowhere").exists():
        raise ValueError('too dark: "frame" \\\\ 7')
    return frames.mean(("y", "x"))


@forebay.algorithm("whole", version="1.0.0", needs=forebay.WholeRun())
def whole(frames):
    '''Needs the whole run.'''
    return frames.mean("t")


@forebay.algorithm("held-up", version="1.0.0")
def held_up(frames):
    '''Never ends.'''
    print("stuck now", flush=True)
    threading.Event().wait(300)
    return frames
"""


@dataclass(frozen=True)
class Outcome:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The error, which is the only line on stderr that says so, and no traceback is there."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("forebay: error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("forebay: error: ")


type Forebay = Callable[..., Outcome]


@pytest.fixture
def forebay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Forebay]:
    """Call the command line with the given words."""
    monkeypatch.chdir(tmp_path)
    handlers = logging.getLogger().handlers[:]

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["forebay", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, printed.out, printed.err)

    yield call
    logging.getLogger().handlers[:] = handlers


type Start = Callable[..., subprocess.Popen[str]]


def started(program: list[str], folder: Path, *words: object) -> subprocess.Popen[str]:
    """Start a program as a shell does, in a process group of its own."""
    return subprocess.Popen(
        [*program, *(str(word) for word in words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def lines(stream: IO[str] | None) -> IO[str]:
    """Return what a program writes."""
    assert stream is not None
    return stream


@pytest.fixture
def start(warmed: Path) -> Start:
    """Start the command line, in a folder and with the given words."""
    return functools.partial(started, [str(warmed / "forebay")])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Make a folder of eight small PNG files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(5)
    for number in range(8):
        pixels = generator.integers(0, 255, (24, 32), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"image_{number}.png")
    return folder


@pytest.fixture
def water(forebay: Forebay) -> str:
    """Record eight real frames into the run ``water`` in blocks of four."""
    outcome = forebay("acquire", EXAMPLES, "water", "--frames", 8, "--frames-per-block", 4)
    assert outcome.code == 0, outcome.err
    return "water"


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the algorithms once: a registry takes each of them from one file."""
    path = tmp_path_factory.mktemp("algorithms") / "picky.py"
    path.write_text(ALGORITHMS)
    return path
