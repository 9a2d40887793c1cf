"""Blocks that a writer stored and did not live to commit are committed, if they are sound."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from zarr.storage import LocalStore

from forebay.acquisition import Dropped, Frame, Geometry, Run, RunWriter, open_run, verify_run
from forebay.acquisition.format.codec import crc32c
from forebay.acquisition.format.history import replay
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import Block, encode_line, line_digest
from forebay.acquisition.run.recovery.uncommitted import (
    NOT_KNOWN_WHY,
    stored_blocks,
    uncommitted_blocks,
)
from forebay.acquisition.run.writing.folder import show
from forebay.acquisition.run.writing.position import Position

GEOMETRY = Geometry(("y", "x"), (5, 7), np.dtype("uint16"))
PER_BLOCK = 3
NOW = 1_790_000_000_000_000_000


def write(path: Path, counters: list[int], *, compression: str = "none") -> Path:
    """Write a run, as a writer does that is killed at its end."""
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=PER_BLOCK, compression=compression)  # type: ignore[arg-type]
    for counter in counters:
        writer.append(Frame(counter, 10 * counter, np.full((5, 7), counter, "uint16")))
    writer.abandon()
    return path


def forget(path: Path, blocks: int) -> Run:
    """Take the last records of blocks out of the log: their objects are without a record then."""
    log = path / "_forebay/log/00000001.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[: len(lines) - blocks]))
    kinds = [json.loads(line[9:])["kind"] for line in lines[len(lines) - blocks :]]
    assert kinds == ["block"] * blocks
    return open_run_without_metadata(path)


def open_run_without_metadata(path: Path) -> Run:
    """Open a run whose arrays show more than its log says."""
    history = replay(Objects(LocalStore(path, read_only=True)))
    assert history.layout
    show(path, history.layout, history.frames)
    return open_run(path)


def found_in(path: Path, **options: list[Dropped]) -> list[Block]:
    run = open_run(path)
    at = Position.after(run.history)
    left = stored_blocks(path, run.layout, first=at.blocks)
    return uncommitted_blocks(path, run.layout, at, left, now=NOW, **options)


@pytest.fixture
def orphans(tmp_path: Path) -> Path:
    """One committed block, and two that are stored and have no record."""
    path = write(tmp_path / "run", [7, 8, 9, 10, 11, 12, 13, 14, 15])
    forget(path, 2)
    return path


@pytest.mark.parametrize("compression", ["none", "zstd", "blosc-lz4"])
def test_what_is_found_is_what_would_have_been_committed(tmp_path: Path, compression: str) -> None:
    """Numbers, extents, counters, times, lengths and digests."""
    path = write(tmp_path / "run", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16], compression=compression)
    expected = open_run(path).blocks
    forget(path, 2)
    assert found_in(path) == list(expected[1:])


def test_once_committed_they_are_read_like_any_other(orphans: Path) -> None:
    """The records follow those of the log, and `verify` finds nothing wrong."""
    run = open_run(orphans)
    log, digest = orphans / "_forebay/log/00000001.log", run.history.last_digest
    for block in found_in(orphans):
        line = encode_line(block, previous=digest)
        digest = line_digest(line)
        log.write_bytes(log.read_bytes() + line)
    show(orphans, run.layout, 9)
    run = open_run(orphans)
    assert verify_run(run).ok
    assert run.frames.frame_id.to_numpy().tolist() == list(range(7, 16))


def test_what_is_missing_between_their_frames_is_dropped(tmp_path: Path) -> None:
    """With the reason that the journal knows, or one that says that nobody does."""
    path = write(tmp_path / "run", [5, 6, 7, 10, 12, 13, 17, 18, 19])
    forget(path, 2)
    known = [Dropped(2, 3, "early", 1), Dropped(9, 11, "the buffer was full", 2)]
    first, second = found_in(path, known=known)
    lost = "the buffer was full"
    assert [(each.first, each.last, each.reason) for each in first.dropped] == [
        (8, 8, NOT_KNOWN_WHY),
        (9, 9, lost),
        (11, 11, lost),
    ]
    assert second.dropped == (Dropped(14, 16, NOT_KNOWN_WHY, NOW),)


def test_the_sums_of_a_run_are_right_that_goes_on_behind_them(tmp_path: Path) -> None:
    """What is missing between their frames counts as dropped from then on."""
    path = write(tmp_path / "run", [5, 6, 7, 10, 12, 13])
    forget(path, 1)
    with RunWriter.resume(path) as writer:
        assert (writer.counted, writer.committed, writer.dropped) == (9, 6, 3)
    closed = open_run(path).history.closed
    assert closed
    assert (closed.counted, closed.committed, closed.dropped_count) == (9, 6, 3)


def test_where_nothing_is_left_nothing_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "run", [0, 1, 2, 3])
    assert found_in(path) == []
    assert stored_blocks(path, open_run(path).layout) == [0]


KEYS = ["frames/c.1.0.0", "timestamp/c.1", "frame_id/c.1", "flags/c.1"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("how", ["missing", "empty", "short", "longer", "a folder"])
def test_a_block_that_is_not_whole_ends_what_is_found(orphans: Path, key: str, how: str) -> None:
    """Nor is one found behind it, for blocks follow each other."""
    path = orphans / key
    content = path.read_bytes()
    if how in {"missing", "a folder"}:
        path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes({"empty": b"", "short": content[:-1], "longer": content + b"\0"}[how])
    assert found_in(orphans) == []
    assert stored_blocks(orphans, open_run(orphans).layout) == [0, 1, 2]


@pytest.mark.parametrize("key", KEYS)
def test_any_flipped_byte_ends_what_is_found(orphans: Path, key: str) -> None:
    """Each byte of each object is under a checksum."""
    path = orphans / key
    content = path.read_bytes()
    for offset in range(len(content)):
        changed = bytearray(content)
        changed[offset] ^= 0x20
        path.write_bytes(changed)
        assert found_in(orphans) == [], offset
    path.write_bytes(content)
    assert len(found_in(orphans)) == 2


def test_the_block_before_the_damaged_one_is_found(orphans: Path) -> None:
    (orphans / "frames/c.2.0.0").unlink()
    assert [block.number for block in found_in(orphans)] == [1]


def test_a_short_block_is_left_alone(tmp_path: Path) -> None:
    """It was stored by a writer that closed the run: only the record of that commits it."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=PER_BLOCK)
    for counter in range(5):
        writer.append(Frame(counter, counter, np.zeros((5, 7), "uint16")))
    writer.close()
    log = tmp_path / "run/_forebay/log/00000001.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    open_run_without_metadata(tmp_path / "run")
    assert found_in(tmp_path / "run") == []


def test_a_block_whose_counters_do_not_go_on_is_left_alone(orphans: Path, tmp_path: Path) -> None:
    """Such as one of another run, however sound it is."""
    other = write(tmp_path / "other", [0, 1, 2, 6, 7, 9])
    for key in KEYS:
        shutil.copy(other / key, orphans / key)
    assert found_in(orphans) == []


def test_frames_may_have_zeros_between_them(orphans: Path) -> None:
    """The index says where each is; it need not be right behind the one before."""
    shard = orphans / "frames/c.1.0.0"
    content = shard.read_bytes()
    entry, index_bytes = 5 * 7 * 2 + 4, 16 * PER_BLOCK + 4
    index = np.frombuffer(content[-index_bytes:-4], "<u8").reshape(-1, 2)
    frames = [content[int(offset) : int(offset) + entry] for offset, _ in index]
    spread = b"".join(frame.ljust(128, b"\0") for frame in frames)
    table = np.array([(128 * place, entry) for place in range(PER_BLOCK)], "<u8").tobytes()
    shard.write_bytes(spread + table + crc32c(table))
    assert [block.number for block in found_in(orphans)] == [1, 2]


def test_no_two_frames_are_the_same_bytes(orphans: Path) -> None:
    """However right the checksums of the index and of the frames are."""
    shard = orphans / "frames/c.1.0.0"
    content, index_bytes = shard.read_bytes(), 16 * PER_BLOCK + 4
    index = np.frombuffer(content[-index_bytes:-4], "<u8").reshape(-1, 2).copy()
    index[1] = index[0]
    shard.write_bytes(content[:-index_bytes] + index.tobytes() + crc32c(index.tobytes()))
    assert found_in(orphans) == []


@pytest.mark.parametrize("counters", [[10, 10, 12], [12, 11, 10]])
def test_counters_go_up_within_a_block(orphans: Path, counters: list[int]) -> None:
    values = np.array(counters, "<u8").tobytes()
    (orphans / "frame_id/c.1").write_bytes(values + crc32c(values))
    assert found_in(orphans) == []


def test_without_a_first_counter_nothing_is_found(orphans: Path) -> None:
    """The log says where the camera began before any block is stored."""
    run = open_run(orphans)
    at = replace(Position.after(run.history), blocks=0, first_counter=None, next_counter=None)
    left = stored_blocks(orphans, run.layout)
    assert uncommitted_blocks(orphans, run.layout, at, left, now=NOW) == []


def test_what_is_no_object_of_a_block_is_not_counted(
    orphans: Path, write_run: Callable[..., object]
) -> None:
    for name in ("frames/c.9", "frames/c.7.0.0.0", "flags/c.-1", "flags/x.5", "flags/c.06"):
        (orphans / name).write_bytes(b"")
    (orphans / "timestamp/c.40").write_bytes(b"")
    assert stored_blocks(orphans, open_run(orphans).layout) == [0, 1, 2, 40]
    assert stored_blocks(orphans, open_run(orphans).layout, first=2) == [2, 40]
