"""Logs are read in pieces: that of a run of weeks has gigabytes."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tests.acquisition.run.long_run import append_lines
from zarr.storage import LocalStore

from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format import objects as objects_module
from forebay.acquisition.format.history import History, replay
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.format.objects import Objects

GEOMETRY = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))


def record(writer: RunWriter, counters: range) -> None:
    for counter in counters:
        writer.append(Frame(counter, counter, np.full((2, 3), counter, "uint16")))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two writers, the first of which left a torn line behind."""
    with RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2) as first:
        record(first, range(5))
        first.abandon()
    with (tmp_path / "run" / log_key(1)).open("ab") as log:
        log.write(b'0123abcd {"previous":')
    second = RunWriter.resume(tmp_path / "run")
    record(second, range(6, 11))
    second.abandon()
    return tmp_path / "run"


def history(path: Path) -> History:
    return replay(Objects(LocalStore(path, read_only=True)))


@pytest.mark.parametrize("length", [1, 7, 100, 1000])
def test_what_a_log_says_does_not_depend_on_the_pieces(
    run: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Wherever one ends, within a line, behind one, or at the length where the log was sealed."""
    with (run / log_key(2)).open("ab") as log:
        log.write(b"torn")
    whole = history(run)
    assert (whole.frames, whole.torn_bytes, whole.epoch) == (8, 4, 2)
    monkeypatch.setattr(objects_module, "_PIECE_BYTES", length)
    assert history(run) == whole


@pytest.mark.parametrize("length", [1, 100, 2**20])
@pytest.mark.parametrize("epoch", [1, 2])
def test_damage_is_found_in_whatever_piece_it_is(
    run: Path, monkeypatch: pytest.MonkeyPatch, length: int, epoch: int
) -> None:
    log = run / log_key(epoch)
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"e", b"f", 1)
    log.write_bytes(b"".join(lines))
    behind = sum(map(len, lines[2:])) - (21 if epoch == 1 else 0)
    monkeypatch.setattr(objects_module, "_PIECE_BYTES", length)
    with pytest.raises(RunDamagedError, match=f"line 2 is damaged, and {behind} bytes follow it"):
        open_run(run)


def test_reading_a_long_log_takes_no_memory_for_all_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what is known of each block afterwards."""
    monkeypatch.setattr(objects_module, "_PIECE_BYTES", 2**18)
    RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=1).abandon()
    log = tmp_path / "run" / log_key(1)
    append_lines(tmp_path / "run", range(8000))
    length = log.stat().st_size
    assert length > 4 * 2**20
    tracemalloc.start()
    try:
        found = history(tmp_path / "run")
        gc.collect()
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.frames == 8000
    assert most - kept < length / 3


def test_how_far_a_log_is_read_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those of all writers together; nobody waits for a long one without a word."""
    monkeypatch.setattr(objects_module, "_PIECE_BYTES", 500)
    told: list[tuple[int, int]] = []
    open_run(run, on_read=lambda *each: told.append(each))
    done, totals = zip(*told, strict=True)
    length = sum(path.stat().st_size for path in (run / log_key(1)).parent.iterdir())
    assert set(totals) == {length}
    assert len(done) > 4
    assert list(done) == sorted(set(done))
    # What a dying writer left behind the first log counts for nothing.
    assert length - 21 <= done[-1] <= length
