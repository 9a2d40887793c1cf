"""A recording that is killed."""

import subprocess
from pathlib import Path

import pytest
from tests.acquisition.service.killed_recording import KILLED, Killed

from forebay.acquisition.journal.row import Room


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal is to have segments of 256 MiB for a few frames; so it is in `KILLED`, too."""
    monkeypatch.setattr(Room.__init__, "__defaults__", (2**32, 2**20, 2))


@pytest.fixture
def killed(small_segments: None, warmed: Path, tmp_path: Path) -> Killed:
    """Record into a run in another process, which dies before the frame `last`.

    From a frame above 0 on, a run that is there is gone on with.
    """
    (script := tmp_path / "killed.py").write_text(KILLED)

    def record(
        path: Path, *, last: int, first: int = 0, frozen: int = -1, changes: str = "{}"
    ) -> None:
        words = [str(path), changes, str(first), str(last), str(frozen)]
        command = [str(warmed / "python"), "-W", "error", str(script), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == -9, done.stderr

    return record
