"""The logs of workers: which are shown, and for how long they are kept."""

import os
import time
from pathlib import Path

import pytest

from forebay.cluster import ClusterError
from forebay.cluster.keeping import logs
from forebay.cluster.keeping.place import Place

DAY = 86_400.0


def said(place: Place, name: str, *, days_ago: float = 0.0) -> Path:
    place.logs.mkdir(exist_ok=True)
    (log := place.logs / name).write_text("something\n")
    written_at = time.time() - days_ago * DAY
    os.utime(log, (written_at, written_at))
    return log


def test_logs_of_the_last_start_are_told_from_those_before(tmp_path: Path) -> None:
    """Also when it is over, and after somebody has tried to start it once more."""
    place = Place(tmp_path)
    before = said(place, "1.log", days_ago=1)
    assert place.split_logs() == ([], [before])
    with place.taken():
        since = [said(place, "3.log"), said(place, "2.log")]
        with pytest.raises(ClusterError, match="runs in"), Place(tmp_path).taken():
            pass
        assert place.split_logs() == ([before], since)
    assert place.split_logs() == ([before], since)


def test_a_start_removes_old_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of some weeks ago, and of very many the oldest."""
    monkeypatch.setattr(logs, "_MOST", 3)
    place = Place(tmp_path)
    kept = [said(place, f"{each}.log", days_ago=each) for each in (3, 2, 1)]
    said(place, "4.log", days_ago=4)
    with place.taken():
        assert place.split_logs() == (kept, [])
    said(place, "3.log", days_ago=40)
    with place.taken():
        assert place.split_logs() == (kept[1:], [])
