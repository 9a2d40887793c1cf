"""What was read from other tiers is kept near, as much as fits, and is never the only copy."""

import logging
import sqlite3
import subprocess
from pathlib import Path

import pytest
from pydantic import ByteSize
from tests.tiering.site import Site

from forebay.cli.session import Session
from forebay.config import load_settings
from forebay.opening import open_run
from forebay.tiering.agreement import check_cache
from forebay.tiering.caching.in_force import cache_in_force, read_through
from forebay.tiering.caching.read_cache import CacheFigures, ReadCache
from forebay.tiering.specification import CacheSpecification, TierSpecification

ROOT = Path(__file__).parents[2]


def test_what_is_cheap_for_its_size_goes_first_and_the_unasked_in_the_end(tmp_path: Path) -> None:
    """By GreedyDual-Size; the bytes stay below the capacity at every moment."""
    cache = ReadCache(tmp_path, 100)
    cache.put("dear", bytes(30), cost=60.0)
    cache.put("cheap", bytes(30), cost=3.0)
    cache.put("asked", bytes(30), cost=6.0)
    assert cache.get("asked") == bytes(30)
    cache.put("new", bytes(30), cost=6.0)
    assert [cache.get(each) is not None for each in ("dear", "cheap", "asked")] == [1, 0, 1]
    # What nobody asks for grows old, however dear it was.
    for number in range(60):
        cache.put(str(number), bytes(30), cost=6.0)
        assert cache.used() <= 100
        assert sum(path.stat().st_size for path in tmp_path.glob("*.bytes")) <= 100
    assert cache.get("dear") is None
    cache.put("larger than all", bytes(101), cost=1e9)
    assert cache.get("larger than all") is None
    assert cache.get("59") is not None


def test_it_counts_what_it_was_asked_for_and_what_had_to_go(tmp_path: Path) -> None:
    """Over all processes that share it; one of an older forebay counts from now on."""
    ReadCache(tmp_path, 100).put("a", bytes(60), cost=1.0)
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        index.executescript("DROP TABLE counts; PRAGMA user_version = 1;")
    cache = ReadCache(tmp_path, 100)
    assert cache.figures() == CacheFigures(1, 60, 100, 0, 0, 0, 0)
    assert cache.get("a") == bytes(60)
    assert cache.get("b") is None
    cache.put("b", bytes(50), cost=1.0)
    assert ReadCache(tmp_path, 100).figures() == CacheFigures(1, 50, 100, 1, 60, 1, 1)
    next(tmp_path.glob("*.bytes")).write_bytes(b"other")
    assert cache.get("b") is None
    assert cache.figures() == CacheFigures(0, 0, 100, 1, 60, 2, 1)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert ReadCache(blocked / "cache", 10).figures() is None


def test_what_has_changed_is_as_if_it_were_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry, its file, or the index as a whole; and a folder that cannot be used."""
    cache = ReadCache(tmp_path / "cache", 1000)
    cache.put("a", b"right", cost=1.0)
    (file,) = cache.folder.glob("*.bytes")
    file.write_bytes(b"wrong")
    with caplog.at_level(logging.WARNING):
        assert cache.get("a") is None
    assert "cached bytes have changed" in caplog.text
    assert (cache.used(), list(cache.folder.glob("*.bytes"))) == (0, [])
    cache.put("a", b"right", cost=1.0)
    next(cache.folder.glob("*.bytes")).unlink()
    assert cache.get("a") is None
    cache.put("a", b"right", cost=1.0)
    (cache.folder / "index.sqlite").write_bytes(b"not an index" * 100)
    assert cache.get("a") is None
    cache.put("a", b"right", cost=1.0)
    assert cache.get("a") == b"right"
    assert cache.used() == 5
    blocked = tmp_path / "file"
    blocked.write_text("")
    ReadCache(blocked / "cache", 10).put("a", b"a", cost=1.0)
    assert ReadCache(blocked / "cache", 10).get("a") is None


def test_what_had_to_make_room_before_it_was_there_leaves_nothing(tmp_path: Path) -> None:
    """Another process may need the room before the bytes are written."""
    cache = ReadCache(tmp_path, 100)

    def reached(point: str) -> None:
        if point == "room taken":
            cache.put("dear", bytes(80), cost=100.0)

    ReadCache(tmp_path, 100, reached).put("cheap", bytes(60), cost=0.1)
    assert cache.get("cheap") is None
    assert cache.get("dear") == bytes(80)
    assert cache.used() == sum(path.stat().st_size for path in tmp_path.glob("*.bytes")) == 80


def test_files_of_no_entry_are_swept_and_no_others(tmp_path: Path) -> None:
    cache = ReadCache(tmp_path, 100)
    cache.put("a", b"right", cost=1.0)
    (tmp_path / "stray.bytes").write_bytes(b"left by who was killed")
    cache.sweep()
    assert cache.get("a") == b"right"
    assert len(list(tmp_path.glob("*.bytes"))) == 1


def test_a_run_is_read_from_the_cache_when_its_tier_is_gone(site: Site) -> None:
    """Frames and index by range; what was not read before is not there."""
    site.move("packed")
    cache = ReadCache(site.folder / "near", 10**6)
    read_through(cache)
    try:
        first = open_run(site.runs / "water").frames[:2].to_numpy()
        copy = site.copy_in("packed")
        copy.rename(copy.with_name("away"))
        again = open_run(site.runs / "water")
        assert (again.frames[:2].to_numpy() == first).all()
        with pytest.raises(Exception, match=r"cannot be used|missing"):
            again.frames[4].to_numpy()
        copy.with_name("away").rename(copy)
        for path in cache.folder.iterdir():
            path.unlink()
        site.check_readable()
        assert site.lies_in() == {"packed"}
    finally:
        read_through(None)


def test_a_cache_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Within that of no tier; as it is configured, relative to the file."""
    hot = TierSpecification(url=tmp_path / "runs")
    inside = CacheSpecification(folder=tmp_path / "runs" / "near", capacity=ByteSize(1))
    with pytest.raises(ValueError, match=r"and the tier 'hot' .* share a place"):
        check_cache(inside, {"hot": hot})
    file = tmp_path / "forebay.toml"
    file.write_text('[tiering.cache]\nfolder = "near"\ncapacity = "1 GB"\n')
    found = load_settings(file).settings.tiering.cache
    assert found is not None
    assert (found.folder, found.capacity) == (tmp_path / "near", 10**9)
    assert Session(file).settings.tiering.cache == found
    assert cache_in_force() == ReadCache(tmp_path / "near", 10**9)
    file.write_text("")
    assert Session(file).settings.tiering.cache is None
    assert cache_in_force() is None
    file.write_text('[tiering.cache]\nfolder = "near"\ncapacity = 9\nsize = 9\n')
    with pytest.raises(Exception, match=r"tiering.cache.size; known here are folder, capacity"):
        load_settings(file)


@pytest.mark.fault
def test_processes_share_a_cache_and_are_killed_in_it(quick: Path, warmed: Path) -> None:
    """Each finds right bytes or none, and there are never more than fit."""
    ended = subprocess.run(
        [
            str(warmed / "python"),
            str(Path(__file__).with_name("cache_users.py")),
            str(quick / "cache"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
