"""A repair may be killed anywhere: the next one finishes it, and comes to the same."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_repair.py")


@pytest.mark.parametrize(
    "stride",
    [
        pytest.param(
            9, marks=pytest.mark.part_of("test_a_killed_repair_is_finished_by_the_next[1]")
        ),
        pytest.param(1, marks=pytest.mark.fault),
    ],
)
def test_a_killed_repair_is_finished_by_the_next(
    memory: Callable[[], Path], warmed: Path, stride: int
) -> None:
    """Rebuilding a log, and moving blocks up behind one that is set aside, at every call of each."""
    command = [str(warmed / "python"), "-W", "error", str(SCRIPT), str(memory()), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-4000:]}"
    points = [json.loads(line) for line in done.stdout.splitlines()]
    survived = [each["point"].partition("-")[0] for each in points if not each["call"]]
    assert survived == ["log", "block"]
    assert len(points) > 100 / stride
    if stride == 1:
        kinds = {"mkdir", "rmdir", "write", "fsync", "unlink", "rename", "replace", ""}
        assert kinds == {each["call"] for each in points}
