"""Exports, imports and transfers are killed by the kernel at each kind of point."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PASSED = {
    "export: object",
    "export: before the name",
    "export: behind the name",
    "export_tar: before the name",
    "take_in: object",
    "take_in: before the name",
    "take_in: behind the name",
    "transfer: manifest put",
    "transfer: object there",
    "transfer: objects sent",
    "transfer: before the name",
    "transfer: behind the name",
    "transfer: receipt at the target",
    "transfer: receipt at the source",
    "transfer_result: manifest put",
    "transfer_result: object there",
    "transfer_result: objects sent",
    "transfer_result: named",
    "transfer_result: receipt at the target",
}


@pytest.mark.fault
def test_killed_anywhere_nothing_half_is_seen_and_it_is_done_again(
    quick: Path, warmed: Path
) -> None:
    program = Path(__file__).with_name("killed_handoff.py")
    ended = subprocess.run(
        [str(warmed / "python"), str(program), str(quick)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
    assert set(ended.stdout.splitlines()) >= PASSED
