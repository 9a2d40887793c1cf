"""One flush makes all frames of a window durable, in time, while others are being added."""

import os
import threading
from pathlib import Path

import pytest
from tests.acquisition.journal.conftest import Make, Open

from forebay.acquisition.errors import StorageError
from forebay.acquisition.journal.group_commit import GroupCommit
from forebay.acquisition.journal.journal import FrameJournal, Window
from forebay.acquisition.sources.testing.clock import ManualClock

PATIENCE_SECONDS = 30.0


class Flushes:
    """Counts the flushes of a journal, and holds the first ones up if it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, held: bool = False) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        if not held:
            self.may_end.set()
        original = os.fdatasync

        def flush(descriptor: int) -> None:
            self.begun.release()
            assert self.may_end.wait(PATIENCE_SECONDS)
            original(descriptor)

        monkeypatch.setattr(os, "fdatasync", flush)

    def wait_for_one(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE_SECONDS)


def durable_within(journal: FrameJournal, counter: int) -> None:
    """Wait for a frame to be durable without anybody asking for a flush."""
    moment = threading.Event()
    for _ in range(round(PATIENCE_SECONDS / 0.002)):
        if journal.durable_through == counter:
            return
        moment.wait(0.002)
    pytest.fail(f"frame {counter} was not flushed")


def test_a_frame_becomes_durable_though_none_comes_after_it(
    open_journal: Open, frame: Make
) -> None:
    with open_journal(window=Window(seconds=0.001)) as journal, GroupCommit(journal):
        for counter in range(3):
            journal.append(frame(counter))
            durable_within(journal, counter)


def test_the_window_begins_with_the_first_frame_that_waits(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes, clock = Flushes(monkeypatch), ManualClock()
    clock.advance(7.0)
    window = Window(seconds=2.0)
    with open_journal(window=window, clock=clock) as journal, GroupCommit(journal, clock=clock):
        journal.append(frame(0))
        flushes.wait_for_one()
    assert clock.waits == [9.0]


def test_frames_are_added_while_a_flush_is_going_on(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not durable by that flush; the next one begins when it ends."""
    flushes = Flushes(monkeypatch, held=True)
    window = Window(seconds=0.0, bytes=10**6)
    with open_journal(records=100, window=window) as journal, GroupCommit(journal):
        journal.append(frame(0))
        flushes.wait_for_one()
        for counter in range(1, 10):
            journal.append(frame(counter))
        assert journal.durable_through is None
        flushes.may_end.set()
        flushes.wait_for_one()
        durable_within(journal, 9)


def test_half_a_window_is_flushed_before_its_time(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = Flushes(monkeypatch)
    window = Window(seconds=3600.0, bytes=8 * 128)
    with open_journal(records=100, window=window) as journal, GroupCommit(journal):
        for counter in range(4):
            journal.append(frame(counter))
        flushes.wait_for_one()
        durable_within(journal, 3)


def test_a_failed_flush_is_told_to_whoever_adds(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And to nobody's surprise later: the thread has ended, and the block can be left."""

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    moment = threading.Event()

    def add_for_ever() -> None:
        for counter in range(10_000):
            journal.append(frame(counter))
            moment.wait(0.001)
            journal.free_through(counter - 3)

    with (
        open_journal(window=Window(seconds=0.0)) as journal,
        GroupCommit(journal),
        # Whether the thread that has ended met it, or the flush of who adds.
        pytest.raises(StorageError, match="device reported an I/O error"),
    ):
        add_for_ever()
    assert journal.durable_through is None


def test_leaving_does_not_wait_for_the_window(open_journal: Open, frame: Make) -> None:
    with open_journal(window=Window(seconds=3600.0)) as journal, GroupCommit(journal):
        journal.append(frame(0))
    assert journal.durable_through == 0
    assert not [each for each in threading.enumerate() if each.name.startswith("journal-")]


def test_room_for_the_next_segment_is_made_before_it_is_needed(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds frames does not wait for the storage to find it; what was made is not left."""
    adding = threading.get_native_id()
    by: list[int] = []
    take_room = os.posix_fallocate

    def taken(descriptor: int, offset: int, length: int) -> None:
        by.append(threading.get_native_id())
        take_room(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", taken)
    with open_journal(window=Window(seconds=0.001)) as journal:
        with GroupCommit(journal):
            for counter in range(9):
                if counter % 3 == 0:
                    spare_made(journal.folder)
                journal.append(frame(counter))
                durable_within(journal, counter)
        assert len(by) >= 3
        assert adding not in by
        assert journal.bytes <= 4 * (4096 + 3 * 128)
        journal.remove()
    assert not journal.folder.exists()


def test_no_flush_waits_for_the_room_that_is_made(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage may take far longer than a window to find it."""
    asked, found = threading.Event(), threading.Event()
    take_room = os.posix_fallocate

    def slow(descriptor: int, offset: int, length: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            asked.set()
            assert found.wait(PATIENCE_SECONDS)
        take_room(descriptor, offset, length)

    with open_journal(records=100, window=Window(seconds=0.001)) as journal:
        journal.append(frame(0))
        monkeypatch.setattr(os, "posix_fallocate", slow)
        with GroupCommit(journal):
            for counter in range(1, 60):
                journal.append(frame(counter))
            assert asked.wait(PATIENCE_SECONDS)
            journal.append(frame(60))
            durable_within(journal, 60)
            found.set()


def spare_made(folder: Path) -> None:
    """Wait until the room of the next segment is there."""
    moment = threading.Event()
    for _ in range(round(PATIENCE_SECONDS / 0.002)):
        if any(folder.glob("*.spare")):
            return
        moment.wait(0.002)
    pytest.fail("no room was made")
