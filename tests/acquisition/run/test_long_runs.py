"""What is done with a few blocks of a run costs no more where the run has many of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.acquisition.run.long_run import append, blocks_made, long_run

from forebay.acquisition import Extent, Run, RunWriter, open_run
from forebay.acquisition.format.block_row import BlockRow
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.format.record import Block, decode_line

BLOCKS = 400


def block_behind(run: Run) -> Block:
    """Return the block that would come next."""
    number = len(run.blocks)
    held = zip(run.layout.object_keys(number), run.blocks[-1].objects, strict=True)
    return replace(
        run.blocks[-1],
        number=number,
        extent=Extent(2 * number, 2 * number + 2),
        objects=tuple(replace(stored, key=key) for key, stored in held),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(long_run(tmp_path_factory.mktemp("long") / "run", BLOCKS, frames_per_block=2))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return blocks_made(monkeypatch)


@pytest.mark.parametrize(
    "look",
    [
        lambda run: run.blocks[-2:],
        lambda run: len(run.blocks),
        repr,
        lambda run: run.extents,
        lambda run: run.dropped,
        lambda run: run.refresh(),
        lambda run: run.history.blocks.stored_bytes,
    ],
    ids=["last", "number", "name", "extents", "dropped", "refresh", "bytes"],
)
def test_what_is_known_of_a_run_makes_none_but_the_blocks_asked_for(
    run: Run, made: list[int], look: Callable[[Run], Any]
) -> None:
    look(run)
    assert len(made) <= 2


def test_frames_of_the_end_are_read_without_the_blocks_before(run: Run, made: list[int]) -> None:
    """Be they taken of the lazy frames, or read at once of all blocks."""
    last = 2 * BLOCKS - 1
    assert run.frames[last:].to_numpy()[0, 0, 0] == last
    assert run.read(run.blocks, Extent(last, last + 1)).to_numpy()[0, 0, 0] == last
    assert set(made) <= {0, BLOCKS - 1}
    assert len(made) < BLOCKS / 2


def test_nothing_is_read_of_blocks_that_hold_none_of_the_frames(run: Run) -> None:
    """The objects of most blocks of this run are not there."""
    last = 2 * BLOCKS
    found = run.read(run.blocks, Extent(last - 3, last))
    assert found.coords["frame_id"].to_numpy().tolist() == [last - 3, last - 2, last - 1]
    assert run.read(run.blocks, Extent(last, last)).shape == (0, 2, 3)
    assert run.read(run.blocks, Extent(0, 0)).shape == (0, 2, 3)


def test_what_is_added_to_the_blocks_of_a_run_is_not_added_to_the_run(run: Run) -> None:
    blocks = run.blocks
    assert isinstance(blocks, BlockRow)
    blocks.append(block_behind(run))
    assert len(blocks) == BLOCKS + 1
    assert len(run.blocks) == BLOCKS
    assert run.history.frames == 2 * BLOCKS


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Lines of logs that are read."""
    lines: list[bytes] = []

    def counted(line: bytes, **options: Any) -> Any:
        lines.append(line)
        return decode_line(line, **options)

    monkeypatch.setattr("forebay.acquisition.format.history.decode_line", counted)
    return lines


def test_a_writer_that_takes_over_reads_the_log_once(tmp_path: Path, read: list[bytes]) -> None:
    """The recording waits for that."""
    path = long_run(tmp_path / "run", BLOCKS)
    read.clear()
    with RunWriter.resume(path) as writer:
        assert BLOCKS < len(read) < BLOCKS + 20
        append(writer, range(BLOCKS, BLOCKS + 1))
    assert open_run(path).history.frames == BLOCKS + 1


def test_who_follows_a_run_reads_on_where_other_writers_have_come(
    tmp_path: Path, read: list[bytes]
) -> None:
    """What the earlier one had added meanwhile is there too, and what it left behind that is not."""
    path = long_run(tmp_path / "run", BLOCKS)
    writer = RunWriter.resume(path)
    seen = open_run(path)
    append(writer, range(BLOCKS, BLOCKS + 1))
    writer.abandon()
    with (path / log_key(3)).open("ab") as log:
        log.write(b"torn")
    for counter in (BLOCKS + 1, BLOCKS + 2):
        writer = RunWriter.resume(path)
        append(writer, range(counter, counter + 1))
        writer.abandon()
    read.clear()
    latest = seen.refresh()
    assert len(read) < 20
    assert latest.history == open_run(path).history
    assert len(latest.blocks) == BLOCKS + 3
