"""How long room on a full storage is waited for, once the frames have ended."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from forebay.acquisition import Geometry
from forebay.acquisition.errors import NoSpaceError, StorageError
from forebay.acquisition.recorder import blocks as recorder_blocks
from forebay.acquisition.recorder.blocks import BlocksInFlight
from forebay.acquisition.run.writing.create import create_run
from forebay.acquisition.sources.testing.clock import ManualClock

PATIENCE = 20.0


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes as a test says."""
    return ManualClock()


@pytest.fixture
def blocks(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BlocksInFlight]:
    """Blocks of a run, which look for room without a pause."""
    monkeypatch.setattr(recorder_blocks, "_TRY_AGAIN_SECONDS", 0)
    run = create_run(
        tmp_path / "run",
        Geometry(("y", "x"), (3, 4), np.dtype("uint16")),
        metadata=None,
        frames_per_block=4,
        compression="none",
        clock=clock,
    )
    blocks = BlocksInFlight(
        run,
        most=2,
        on_stored=lambda _: None,
        on_commit=lambda _: None,
        on_failure=lambda: None,
        on_full=lambda: None,
        clock=clock,
        patience=PATIENCE,
        on_thread=lambda _: None,
    )
    yield blocks
    blocks.abandon()


def given_up_at(
    blocks: BlocksInFlight, clock: ManualClock, each_second: Callable[[float], object]
) -> float:
    """Return when a write is given up that finds no room, and is tried every second."""

    def write() -> None:
        clock.advance(1.0)
        assert clock.monotonic() < 1000, "it waits for ever"
        each_second(clock.monotonic())
        raise NoSpaceError("no room")

    with pytest.raises(NoSpaceError):
        blocks.until_ready(write)
    return clock.monotonic()


def test_it_is_waited_for_from_the_end_on(blocks: BlocksInFlight, clock: ManualClock) -> None:
    """However long it was waited for before: a disk may be full all night while frames come."""

    def each_second(now: float) -> None:
        if now == 500:
            blocks.end()

    assert given_up_at(blocks, clock, each_second) == 500 + PATIENCE


def test_what_is_written_after_the_end_has_as_long(
    blocks: BlocksInFlight, clock: ManualClock
) -> None:
    """The patience is not used up by what found room meanwhile."""
    blocks.end()
    clock.advance(300)

    assert given_up_at(blocks, clock, lambda _: None) == 301 + PATIENCE


def test_to_end_again_gives_no_more_time(blocks: BlocksInFlight, clock: ManualClock) -> None:
    """Who stops it once more, and again, does not have it wait for ever."""
    assert given_up_at(blocks, clock, lambda _: blocks.end()) == 1 + PATIENCE


@pytest.mark.timeout(120)
def test_a_block_that_will_not_be_full_ends_with_the_writing(blocks: BlocksInFlight) -> None:
    """Its writer, which waits for frames, is not waited for in vain."""
    flight = blocks.begin()

    blocks.abandon()

    assert flight.writer is not None
    assert not flight.writer.is_alive()
    assert isinstance(flight.stored.exception(), StorageError)
