"""A mover is killed by the kernel at each kind of point that it passes."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVERY_MOVE = {
    "claimed",
    "copying",
    "object copied",
    "objects noted",
    "copied",
    "object verified",
    "verified",
    "published",
    "signpost put",
    "grace",
    "others there",
    "deleting",
    "signpost without it",
    "object deleted",
    "objects deleted",
    "done",
}

PACKING = ("pack copied", "pack noted")
"""What is different where objects are packed."""

HOME_CHANGES = ("object copied", "object verified", "signpost put", "object deleted")
"""What is different where a run goes back into its folder."""


@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("what", "source", "target", "points"),
    [
        ("run", "hot", "cold", ()),
        ("run", "cold", "hot", HOME_CHANGES),
        ("run", "hot", "packed", PACKING),
        ("result", "hot", "packed", HOME_CHANGES[2:]),
        ("result", "cold", "hot", HOME_CHANGES[:1]),
    ],
)
def test_killed_anywhere_no_object_is_lost(
    quick: Path, warmed: Path, what: str, source: str, target: str, points: tuple[str, ...]
) -> None:
    """Some tier has all of it each time, it is read, and the next mover ends the move."""
    program = Path(__file__).with_name("killed_mover.py")
    ended = subprocess.run(
        [str(warmed / "python"), str(program), what, str(quick), source, target, *points],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
    assert set(ended.stdout.split("\n")) >= set(points or EVERY_MOVE)


@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_two_movers_killed_at_random_lose_nothing(quick: Path, warmed: Path, seed: int) -> None:
    """All of a run is read after each of twelve kills, and what was begun is ended at last."""
    program = Path(__file__).with_name("killed_at_random.py")
    ended = subprocess.run(
        [str(warmed / "python"), str(program), str(quick), "12", str(seed)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 6, "the movers had ended before they were killed"


@pytest.mark.fault
@pytest.mark.s3
@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize(
    ("source", "target", "points"),
    [
        ("cold", "warm", ("signpost put", "signpost without it", "object deleted")),
        ("warm", "cold", ("object copied", "signpost put")),
    ],
)
def test_killed_where_a_home_is_a_bucket_no_object_is_lost(
    bucket: str, quick: Path, warmed: Path, source: str, target: str, points: tuple[str, ...]
) -> None:
    """A run leaves the bucket that it was recorded into, and comes back onto a shelf there."""
    program = Path(__file__).with_name("killed_in_bucket.py")
    credentials = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    ended = subprocess.run(
        [str(warmed / "python"), str(program), str(quick), bucket, source, target, *points],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **credentials},
    )
    assert ended.returncode == 0, ended.stderr
