"""Missing or damaged data inside a committed extent are an error, never a fill value."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import numpy.typing as npt
import pytest
from blake3 import blake3

from forebay.acquisition import RunWriter, open_run, verify_run
from forebay.acquisition.errors import RunDamagedError, RunNotFoundError
from forebay.acquisition.format.layout import COORDINATES, FRAMES
from forebay.acquisition.run.writing.folder import show

type Write = Callable[..., npt.NDArray[Any]]

OBJECTS = ["frames/c.1.0.0", "timestamp/c.1", "frame_id/c.1", "flags/c.1"]


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def read_all(path: Path) -> None:
    """Compute everything that the run holds."""
    run = open_run(path)
    run.frames.compute()


@pytest.mark.parametrize("key", OBJECTS)
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc-lz4"])
def test_every_flipped_byte_is_found_and_its_block_named(
    write_run: Write, tmp_path: Path, key: str, compression: str
) -> None:
    """Reading fails and `verify` names block 1, wherever in one of its objects a bit is flipped."""
    write_run(compression=compression)
    path = tmp_path / "run"
    size = (path / key).stat().st_size
    for offset in sorted({0, size // 3, size // 2, size - 30, size - 1} & set(range(size))):
        flip(path / key, offset)
        with pytest.raises(RunDamagedError, match=r"block 1: .*has changed"):
            read_all(path)
        verification = verify_run(open_run(path))
        assert [problem.block for problem in verification.problems] == [1]
        assert verification.problems[0].key == key
        flip(path / key, offset)
    read_all(path)
    assert verify_run(open_run(path)).ok


def test_the_damaged_frame_is_named(write_run: Write, tmp_path: Path) -> None:
    """Each frame has its own checksum, so that `verify` says which of a block's are touched."""
    write_run()
    stored_frame = 6 * 8 * 2 + 4
    flip(tmp_path / "run" / "frames/c.1.0.0", 2 * stored_frame + 5)
    (problem,) = verify_run(open_run(tmp_path / "run")).problems
    assert "damaged: frame 6)" in problem.what
    frames = open_run(tmp_path / "run").frames
    frames[5].compute()
    with pytest.raises(RunDamagedError, match="frame 2 of the block: the checksum is wrong"):
        frames[6].compute()


@pytest.mark.parametrize("key", OBJECTS)
def test_a_missing_object_is_an_error(write_run: Write, tmp_path: Path, key: str) -> None:
    """A shard or a coordinate that is gone is not read as zeros."""
    write_run()
    (tmp_path / "run" / key).unlink()
    with pytest.raises(RunDamagedError, match=r"block 1: .* is missing"):
        read_all(tmp_path / "run")
    if key.startswith("frames"):
        with pytest.raises(RunDamagedError, match=r"block 1: .* is missing"):
            open_run(tmp_path / "run").frames[4].compute()
    assert [each.block for each in verify_run(open_run(tmp_path / "run")).problems] == [1]


@pytest.mark.parametrize("length", [0, 3, 100])
def test_a_short_object_is_an_error(write_run: Write, tmp_path: Path, length: int) -> None:
    """A shard that was cut off is not read as zeros, whole or by the frame."""
    write_run()
    shard = tmp_path / "run" / "frames/c.1.0.0"
    shard.write_bytes(shard.read_bytes()[:length])
    for frames in (slice(None), 4):
        with pytest.raises(RunDamagedError, match=f"block 1: .* has {length} bytes"):
            open_run(tmp_path / "run").frames[frames].compute()


def test_exchanged_shards_are_an_error(write_run: Write, tmp_path: Path) -> None:
    """Two whole shards in each other's place are found, though their checksums are right."""
    write_run()
    first, second = (tmp_path / "run" / f"frames/c.{number}.0.0" for number in (0, 1))
    aside = first.rename(tmp_path / "aside")
    second.rename(first)
    aside.rename(second)
    with pytest.raises(RunDamagedError, match="has changed"):
        read_all(tmp_path / "run")
    assert [each.block for each in verify_run(open_run(tmp_path / "run")).problems] == [0, 1]


def test_damage_leaves_the_other_blocks_readable(write_run: Write, tmp_path: Path) -> None:
    """What is not damaged can still be read."""
    pixels = write_run()
    (tmp_path / "run" / "frames/c.1.0.0").unlink()
    frames = open_run(tmp_path / "run").frames
    np.testing.assert_array_equal(frames[:4].to_numpy(), pixels[:4])
    np.testing.assert_array_equal(frames[8:].to_numpy(), pixels[8:])


def test_a_torn_last_line_is_not_a_record(write_run: Write, tmp_path: Path) -> None:
    """Wherever the last line of the log is cut off, the run is what it was before that line."""
    write_run(frames=8, close=False)
    show(tmp_path / "run", open_run(tmp_path / "run").layout, 4)
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    whole = log.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in {*range(last, len(whole), 16), last + 1, len(whole) - 1}:
        log.write_bytes(whole[:length])
        run = open_run(tmp_path / "run")
        assert run.history.frames == 4
        assert run.history.torn_bytes == length - last
    log.write_bytes(whole)
    assert open_run(tmp_path / "run").history.frames == 8


@pytest.mark.parametrize("lost", [1, 40, 1000])
def test_a_log_that_lost_its_end_is_refused(write_run: Write, tmp_path: Path, lost: int) -> None:
    """A committed block that the log has forgotten is damage, not a shorter run."""
    write_run(frames=8, close=False)
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    log.write_bytes(log.read_bytes()[:-lost])
    with pytest.raises(RunDamagedError, match="8 were committed: its end has changed"):
        open_run(tmp_path / "run")
    with pytest.raises(RunDamagedError, match="8 were committed"):
        RunWriter.resume(tmp_path / "run")
    assert (tmp_path / "run" / "frames/c.1.0.0").exists()


def test_a_damaged_line_within_the_log_is_refused(write_run: Write, tmp_path: Path) -> None:
    """A log that was changed is not believed."""
    write_run()
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    lines = log.read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line.partition(b" ")[2])["kind"] for line in lines]
    assert kinds == ["created", "opened", "started", "block", "block", "closed"]
    changed = [
        [*lines[:3], lines[4], lines[3], *lines[5:]],
        [*lines[:3], *lines[4:]],
        [*lines[:3], lines[3].replace(b"frames/c.0", b"frames/c.1"), *lines[4:]],
    ]
    for content in changed:
        log.write_bytes(b"".join(content))
        with pytest.raises(RunDamagedError, match="line 4 is damaged"):
            open_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "merged"},
            r"line 4 holds a record that cannot be understood \(KeyError\('merged",
        ),
        ({"extent": {"start": 0, "stop": 3}}, "line 4: block 0 is out of its place"),
        ({"number": 1}, "line 4: block 1 is out of its place"),
        ({"objects": []}, "line 4: block 0 is out of its place"),
        ({"objects": [{"key": "../other", "bytes": 1, "blake3": ""}]}, "out of its place"),
        ({"dropped": [{}]}, "cannot be understood"),
    ],
)
def test_a_well_made_line_with_another_record_is_refused(
    write_run: Write, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """A record whose checksum is right is still not followed out of the run or its order."""
    write_run(frames=8)
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    lines = log.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[3].partition(b" ")[2]) | change
    text = json.dumps(record).encode()
    log.write_bytes(b"".join([*lines[:3], b"%08x %s\n" % (crc32c.crc32c(text), text)]))
    with pytest.raises(RunDamagedError, match=message):
        read_all(tmp_path / "run")


def test_a_field_that_a_later_version_added_is_left_alone(write_run: Write, tmp_path: Path) -> None:
    """Records may get more fields within a format; a reader takes those that it knows."""
    pixels = write_run(frames=8)
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    lines = [line.partition(b" ")[2] for line in log.read_bytes().splitlines()]
    previous, rewritten = "", b""
    for line in lines:
        text = json.dumps(json.loads(line) | {"previous": previous, "later": {"x": 1}}).encode()
        whole = b"%08x %s\n" % (crc32c.crc32c(text), text)
        previous, rewritten = blake3(whole).hexdigest(), rewritten + whole
    log.write_bytes(rewritten)
    run = open_run(tmp_path / "run")
    assert run.closed
    np.testing.assert_array_equal(run.frames.to_numpy(), pixels)


def test_a_missing_log_is_refused(write_run: Write, tmp_path: Path) -> None:
    """A row of logs with a gap in it is not taken for the whole."""
    write_run(frames=8, close=False)
    RunWriter.resume(tmp_path / "run").close()
    (tmp_path / "run" / "_forebay/log/00000001.log").unlink()
    with pytest.raises(RunDamagedError, match=r"expected an unbroken row from 00000001\.log"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("length", [-1, 0, 300])
def test_a_sealed_log_that_is_short_is_refused(
    write_run: Write, tmp_path: Path, length: int
) -> None:
    """What the next writer has built on must be there."""
    write_run(frames=8, close=False)
    RunWriter.resume(tmp_path / "run").close()
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    log.write_bytes(log.read_bytes()[:length])
    with pytest.raises(RunDamagedError, match=r"the next writer sealed it at|is missing"):
        open_run(tmp_path / "run")


def test_a_damaged_end_of_a_closed_run_is_reported(write_run: Write, tmp_path: Path) -> None:
    """A flipped byte in the last line makes the run look open; `verify` says so."""
    write_run(frames=8)
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    flip(log, log.stat().st_size - 10)
    run = open_run(tmp_path / "run")
    assert not run.closed
    (problem,) = verify_run(run).problems
    assert "the log ends in" in problem.what
    assert problem.key == "_forebay/log/00000001.log"


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{}", b"\xff"])
def test_damaged_metadata_are_named(write_run: Write, tmp_path: Path, content: bytes) -> None:
    """A run whose own metadata are gone says so, with the file."""
    write_run()
    (tmp_path / "run" / "zarr.json").write_bytes(content)
    with pytest.raises(RunDamagedError, match=r"run/zarr\.json is not the metadata of a run"):
        open_run(tmp_path / "run")


def test_a_later_format_is_refused(write_run: Write, tmp_path: Path) -> None:
    """A run of a format that is not known is not guessed at."""
    write_run()
    path = tmp_path / "run" / "zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["forebay"]["format_version"] = 3
    path.write_text(json.dumps(document))
    with pytest.raises(RunDamagedError, match=r"format 3; this forebay reads the formats 1 and 2"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("key", ["zarr.json", "frames/zarr.json", "flags/zarr.json"])
@pytest.mark.parametrize("how", ["shorter", "garbled", "missing"])
def test_arrays_that_disagree_with_the_log_are_reported(
    write_run: Write, tmp_path: Path, key: str, how: str
) -> None:
    """Where other readers would see something else than the log says, `verify` names the file."""
    write_run()
    run = open_run(tmp_path / "run")
    path = tmp_path / "run" / key
    if how == "shorter":
        path.write_bytes(path.read_bytes().replace(b'"shape": [10', b'"shape": [4'))
    elif how == "garbled":
        path.write_bytes(b"\xfe" + path.read_bytes())
    else:
        path.unlink()
    (problem,) = verify_run(run).problems
    assert problem.key == key


@pytest.mark.parametrize(("shown", "ok"), [(0, True), (4, True), (8, True), (12, False)])
def test_what_a_killed_writer_had_committed_and_not_shown_is_no_damage(
    write_run: Write, tmp_path: Path, shown: int, ok: bool
) -> None:
    """Closing or resuming the run shows it; more than is committed nobody can have shown."""
    write_run(frames=8, frames_per_block=4, close=False)
    run = open_run(tmp_path / "run")
    for array in (*COORDINATES, FRAMES):
        path = tmp_path / "run" / array / "zarr.json"
        path.write_bytes(path.read_bytes().replace(b'"shape": [8', b'"shape": [%d' % shown))
    assert verify_run(run).ok == ok


def test_two_copies_do_not_pass_for_one_another(write_run: Write, tmp_path: Path) -> None:
    """A damaged copy is noticed when it is compared lazily with the original."""
    write_run()
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    flip(tmp_path / "copy" / "frames/c.1.0.0", 5)
    run, copy = (open_run(tmp_path / name).frames.data for name in ("run", "copy"))
    for difference in (run - copy, copy - run):
        with pytest.raises(RunDamagedError, match="block 1"):
            difference.compute()


@pytest.mark.parametrize("make", ["nothing", "folder", "file", "array"])
def test_a_path_that_is_no_run_is_named(tmp_path: Path, make: str) -> None:
    """Opening something else says that it is no run."""
    path = tmp_path / "other"
    if make == "folder":
        path.mkdir()
    elif make == "file":
        path.write_text("x")
    elif make == "array":
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(RunNotFoundError, match="is not a run"):
        open_run(path)


@pytest.mark.parametrize("lines", [0, 1])
def test_a_log_that_does_not_say_who_wrote_it_is_an_error(
    write_run: Write, tmp_path: Path, lines: int
) -> None:
    """It is not taken for one that is torn: it has its name only when that line is durable."""
    write_run(close=False)
    log = tmp_path / "run" / "_forebay/log/00000001.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:lines]))
    with pytest.raises(RunDamagedError, match="its writer's record is missing"):
        open_run(tmp_path / "run")
