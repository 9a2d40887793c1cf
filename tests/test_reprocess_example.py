"""The example that reprocesses a folder can be stopped and started at will."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forebay

EXAMPLE = Path(__file__).parents[1] / "examples" / "reprocess.py"
SECONDS = 100


def started(folder: Path, python: str | Path = sys.executable) -> subprocess.Popen[str]:
    """Start the example, in a process group of its own."""
    return subprocess.Popen(
        [str(python), str(EXAMPLE), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@pytest.mark.whole
def test_what_was_stopped_is_completed_and_then_nothing_is_left(
    tmp_path: Path, warmed: Path
) -> None:
    """Ctrl-C after the first part costs what was being computed, and no more."""
    process = started(tmp_path)
    deadline = time.monotonic() + SECONDS
    while not list(tmp_path.glob("results/*/*/parts/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode in {0, 130}, err
    out, err = started(tmp_path, warmed / "python").communicate(timeout=SECONDS)
    assert "{'done': 18} in all" in out, err
    for day in ("monday", "tuesday", "wednesday"):
        (folder,) = (tmp_path / "results" / day).iterdir()
        assert forebay.open_result(folder).frames == 12
    runs = [forebay.open_run(path.parent) for path in tmp_path.glob("*/_forebay")]
    report = forebay.reprocess(runs, "find-particles", diameter=7, minmass=500)
    assert (report.complete, report.computed) == (True, 0)
