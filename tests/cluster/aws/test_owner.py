"""Whose start is whose, and whether its owner lives."""

import fcntl
from pathlib import Path
from typing import Any

import pytest

from forebay.cluster.aws.owner import dead_starts, lives, owning


def test_a_start_is_never_seen_without_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a reaper that looks just then would take it for dead, and later end its machines."""
    lock, seen = fcntl.flock, []

    def looked(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:
            seen.append(dead_starts(tmp_path, "cloud"))
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", looked)
    with owning(tmp_path, "cloud") as owner:
        assert seen == [[]]
        assert lives(tmp_path, "cloud", owner.start)
    assert dead_starts(tmp_path, "cloud") == [owner.start]
