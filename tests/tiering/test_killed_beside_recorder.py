"""A mover is killed by the kernel while a recorder appends to the run whose blocks it moves."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHAT_CONCERNS_BOTH = ("object copied", "published", "objects marked")
"""Points at which the run's folder has just changed, or is about to."""


def killed_at(points: tuple[str, ...], folder: Path, python: Path) -> set[str]:
    """Kill the mover at points of these names, and the recorder then; return the names."""
    program = Path(__file__).with_name("killed_beside_recorder.py")
    ended = subprocess.run(
        [str(python), str(program), str(folder), "warm", *points],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split("\n"))


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_killed_beside_a_recorder_no_frame_is_lost(quick: Path, warmed: Path) -> None:
    """Both are killed, both go on, the run closes, and every frame is what it was."""
    assert killed_at(WHAT_CONCERNS_BOTH, quick, warmed / "python") == set(WHAT_CONCERNS_BOTH)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_at_any_point_beside_a_recorder(quick: Path, warmed: Path) -> None:
    """At those where nothing of the run changes as well."""
    assert killed_at((), quick, warmed / "python") > set(WHAT_CONCERNS_BOTH)
