"""A mover is killed by the kernel at every point that it passes."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("source", "target"), [("hot", "cold"), ("cold", "hot")])
def test_killed_at_every_point_no_object_is_lost(quick: Path, source: str, target: str) -> None:
    """The run is whole and readable each time, and the next mover ends the move."""
    program = Path(__file__).with_name("killed_mover.py")
    ended = subprocess.run(
        [sys.executable, str(program), str(quick), source, target],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
    # Each object is copied, read back and deleted, and there are the steps between.
    assert int(ended.stdout) > 60
