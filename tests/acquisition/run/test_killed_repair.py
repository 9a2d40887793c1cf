"""A repair may be killed anywhere: the next one finishes it, and comes to the same."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_repair.py")


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.fault)])
def test_a_killed_repair_is_finished_by_the_next(memory: Callable[[], Path], stride: int) -> None:
    """Rebuilding a log, and moving blocks up behind one that is set aside, at every call of each."""
    command = [sys.executable, "-W", "error", str(SCRIPT), str(memory()), str(stride)]
    # Who has threads cannot fork.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-4000:]}"
    points = [json.loads(line) for line in done.stdout.splitlines()]
    survived = [each["point"].partition("-")[0] for each in points if not each["call"]]
    assert survived == ["log", "block"]
    assert len(points) > 100 / stride
    if stride == 1:
        kinds = {"mkdir", "rmdir", "write", "fsync", "unlink", "rename", "replace", ""}
        assert kinds == {each["call"] for each in points}
