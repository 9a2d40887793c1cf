"""The measurements of tiering work, and compare the same; how fast is not asked here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MOVE, VERIFIED = "forebay tier move --keep", "plain copy, flushed, read back and compared"


def measure(command: str, folder: Path) -> list[dict[str, Any]]:
    """Return the rows that a command prints for next to nothing."""
    little = ["--megabytes", "1", "--times", "1", "--folder", str(folder), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tiering", command, *little],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == [], "what was measured is still there"
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


def test_ways_of_copying_a_run_are_compared(tmp_path: Path) -> None:
    """Each that is installed, beside the plain one that reads back and compares."""
    rows = {row["way"]: row for row in measure("disk", tmp_path)}
    assert {VERIFIED, MOVE} < set(rows)
    assert rows[VERIFIED]["of_verified"] == 1
    assert all(row["of_verified"] > 0 and row["cpu_s_per_GB"] > 0 for row in rows.values())
    beside = shutil.which("rclone") or Path(sys.executable).with_name("rclone").exists()
    assert any("rclone" in way for way in rows) == bool(beside)


def test_reading_is_compared_wherever_the_run_lies(tmp_path: Path) -> None:
    """By both stores, for whole blocks and for one frame of each, and by the run itself."""
    rows = measure("read", tmp_path)
    assert {(row["run"], row["read"]) for row in rows} == {
        (run, what)
        for run in ("never-moved", "with-a-copy", "cold")
        for what in ("block", "frame", "run")
    }
    assert all(row["TieredStore_ms"] > 0 for row in rows)
