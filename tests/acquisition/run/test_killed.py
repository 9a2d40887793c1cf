"""A writer may be killed anywhere: nothing that it committed is lost, and what is lost is said."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

type Memory = Callable[[], Path]

SCRIPT = Path(__file__).with_name("killed_writer.py")


def kill(python: Path, folder: Path, *, stride: int) -> tuple[Counter[str], int]:
    """Return how often each call was the last one, and the points that were tried."""
    command = [str(python), "-W", "error", str(SCRIPT), str(folder), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-4000:]}"
    points = [json.loads(line) for line in done.stdout.splitlines()]
    survived = [each["point"].partition("-")[0] for each in points if not each["call"]]
    assert survived == ["new", "resumed"]
    return Counter(each["call"] for each in points), len(points)


@pytest.mark.part_of("test_a_writer_killed_at_any_of_its_calls_leaves_a_run_that_goes_on")
def test_a_writer_killed_at_some_of_its_calls_leaves_a_run_that_goes_on(
    memory: Memory, warmed: Path
) -> None:
    """Every seventh call of making, writing, closing and resuming a run, so that it is quick."""
    calls, points = kill(warmed / "python", memory(), stride=7)
    assert points > 30
    assert {"write", "fsync", "link", "unlink"} <= set(calls)


@pytest.mark.fault
def test_a_writer_killed_at_any_of_its_calls_leaves_a_run_that_goes_on(
    memory: Memory, warmed: Path
) -> None:
    """Readers see whole committed frames, resuming accounts for every counter, all is verified."""
    calls, points = kill(warmed / "python", memory(), stride=1)
    assert points > 200
    kinds = {
        "mkdir",
        "write",
        "pwritev",
        "fsync",
        "fdatasync",
        "link",
        "unlink",
        "rename",
        "replace",
    }
    assert kinds <= set(calls)
