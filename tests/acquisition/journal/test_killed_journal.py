"""A writer may be killed at any call: what was added and is not freed is there, once and in order."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_journal.py")


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.fault)])
def test_nothing_that_was_added_is_lost(memory: Callable[[], Path], stride: int) -> None:
    """Journalling, spilling, and taking over a queue whose writer died, at every call of each."""
    command = [sys.executable, "-W", "error", str(SCRIPT), str(memory() / "kills"), str(stride)]
    # Who has threads cannot fork.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
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
