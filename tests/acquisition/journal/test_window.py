"""What a power cut may take of a journal: no more than its window."""

import os
import threading

import pytest
from tests.acquisition.journal.conftest import Make, Open

from forebay.acquisition import Dropped
from forebay.acquisition.journal.journal import Window
from forebay.acquisition.sources.testing.clock import ManualClock


class TestWindow:
    """What a power cut may take."""

    def test_nothing_is_durable_before_a_flush(self, open_journal: Open, frame: Make) -> None:
        with open_journal() as journal:
            durable = [journal.durable_through]
            journal.append(frame(5))
            durable.append(journal.durable_through)
            journal.flush()
            durable.append(journal.durable_through)
            journal.drop(Dropped(6, 9, "", 0))
            durable.append(journal.durable_through)
            journal.flush()
            durable.append(journal.durable_through)
        assert durable == [None, None, 5, 5, 9]

    def test_it_ends_so_long_after_the_first_frame_that_waits(
        self, open_journal: Open, frame: Make
    ) -> None:
        clock = ManualClock()
        with open_journal(clock=clock, window=Window(seconds=0.5)) as journal:
            due = [journal.due]
            clock.advance(1.0)
            journal.append(frame(0))
            clock.advance(0.4)
            journal.append(frame(1))
            due.append(journal.due)
            journal.flush()
            due.append(journal.due)
        assert due == [None, 1.5, None]

    def test_half_of_its_bytes_are_urgent_until_they_are_flushed(
        self, open_journal: Open, frame: Make
    ) -> None:
        with open_journal(window=Window(bytes=4 * 128)) as journal:
            urgent = []
            for counter in range(2):
                journal.append(frame(counter))
                urgent.append(journal.urgent.is_set())
            journal.flush()
            urgent.append(journal.urgent.is_set())
        assert urgent == [False, True, False]

    def test_what_comes_while_a_flush_is_going_on_is_not_durable_by_it(
        self, open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may have been written behind what the system had looked at."""
        original = os.fdatasync
        coming = [frame(1)]

        def flush(descriptor: int) -> None:
            original(descriptor)
            if coming:
                journal.append(coming.pop())

        monkeypatch.setattr(os, "fdatasync", flush)
        with open_journal() as journal:
            journal.append(frame(0))
            journal.flush()
            durable = [journal.durable_through]
            journal.flush()
            durable.append(journal.durable_through)
        assert durable == [0, 1]

    def test_what_was_flushed_does_not_count_any_more(
        self, open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever adds waits for a flush only where the window would be exceeded."""
        begun, may_end = threading.Event(), threading.Event()

        def flush(_: int) -> None:
            begun.set()
            assert may_end.wait(30)

        with open_journal(records=100, window=Window(bytes=4 * 128)) as journal:
            for counter in range(3):
                journal.append(frame(counter))
            journal.flush()
            journal.append(frame(3))
            with monkeypatch.context() as patch:
                patch.setattr(os, "fdatasync", flush)
                flushing = threading.Thread(target=journal.flush)
                flushing.start()
                assert begun.wait(30)
                # Had it to wait for that flush, it would be there when this has ended.
                journal.append(frame(4))
                assert flushing.is_alive()
                may_end.set()
                flushing.join()

    def test_no_more_than_its_bytes_wait(self, open_journal: Open, frame: Make) -> None:
        """Adding waits for a flush rather than let more be lost."""
        with open_journal(records=100, window=Window(bytes=3 * 128)) as journal:
            durable = []
            for counter in range(7):
                journal.append(frame(counter))
                durable.append(journal.durable_through)
        assert durable == [None, None, None, 2, 2, 2, 5]

    def test_a_frame_larger_than_it_may_wait(self, open_journal: Open, frame: Make) -> None:
        with open_journal(window=Window(bytes=1)) as journal:
            for counter in range(3):
                assert journal.append(frame(counter))
            assert journal.durable_through == 1

    def test_a_segment_is_durable_before_the_next_one_is_there(
        self, open_journal: Open, frame: Make
    ) -> None:
        with open_journal() as journal:
            for counter in range(4):
                journal.append(frame(counter))
            assert journal.durable_through == 2
