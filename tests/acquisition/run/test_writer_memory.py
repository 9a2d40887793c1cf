"""What a writer keeps: nothing more, however many blocks it has written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).with_name("kept_by_writer.py")
MOST_BYTES = 60.0
"""For each block: Python 3.12 keeps each part of a path that it has seen, which takes about 100."""


def test_a_block_leaves_nothing_behind_in_memory(memory: Callable[[], Path]) -> None:
    kept = subprocess.run(
        [sys.executable, SCRIPT, memory() / "run"], capture_output=True, text=True, check=False
    )
    assert kept.returncode == 0, kept.stderr
    assert float(kept.stdout) < MOST_BYTES
