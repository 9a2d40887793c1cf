"""A writer may be killed at any call: what was added and is not freed is there, once and in order."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_journal.py")


@pytest.mark.parametrize(
    "stride",
    [
        pytest.param(5, marks=pytest.mark.part_of("test_nothing_that_was_added_is_lost[1]")),
        pytest.param(1, marks=pytest.mark.fault),
    ],
)
def test_nothing_that_was_added_is_lost(
    memory: Callable[[], Path], warmed: Path, stride: int
) -> None:
    """Journalling, spilling, and taking over a queue whose writer died, at every call of each."""
    folder = memory() / "kills"
    command = [str(warmed / "python"), "-W", "error", str(SCRIPT), str(folder), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-4000:]}"
    points = [json.loads(line) for line in done.stdout.splitlines()]
    survived = [each["point"].partition("-")[0] for each in points if not each["call"]]
    assert survived == ["kept", "spilled", "recovered"]
    calls = Counter(each["call"] for each in points)
    assert len(points) > 140 / stride
    if stride == 1:
        kinds = {"mkdir", "posix_fallocate", "pwrite", "pwritev", "fsync", "fdatasync"}
        assert kinds | {"link", "unlink", "rename", ""} == set(calls)
    assert any(each["told"] for each in points if each["call"])
