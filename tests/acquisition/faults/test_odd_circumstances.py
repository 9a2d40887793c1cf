"""Two writers, a writer that is stopped, a clock that is set back, and not one frame."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.acquisition.faults.checks import check_whole
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.promises import PromiseReader
from tests.acquisition.faults.recordings import (
    LARGER,
    RUN,
    SMALL,
    ListedSource,
    frame,
    record_on,
)

from forebay.acquisition import RunWriter, acquire, open_run, verify_run
from forebay.acquisition.clock import SystemClock
from forebay.acquisition.errors import RunExistsError, RunLockedError

pytestmark = pytest.mark.fault


def test_a_writer_that_is_stopped_for_a_while_keeps_its_run(
    memory: Callable[[], Path], forks: Forks
) -> None:
    """Nobody else gets the run meanwhile; when it goes on it records to the end, and loses nothing."""
    folder = memory()
    frames = 120
    with PromiseReader(folder / "promises") as promises:
        child = forks.start(record_on, folder, promises.path, followed=False, frames=frames)
        promises.wait_for(20)
        child.stop()
        began = time.monotonic()
        promises.read()
        assert promises.frames < frames
        with pytest.raises(RunLockedError, match=f"process {child.process}"):
            RunWriter.resume(folder / RUN)
        # The time is what is tried here.
        time.sleep(max(0.0, began + 2.0 - time.monotonic()))
        child.go_on()
        promises.wait_for(frames, closed=True)
    assert child.wait() == 0
    check_whole(folder / RUN, range(frames), LARGER)


def test_one_of_several_writers_gets_a_run(tmp_path: Path) -> None:
    """The others are refused, and the one who has it writes as if it were alone."""
    RunWriter.create(tmp_path / RUN, SMALL, frames_per_block=2).abandon()
    at_once = threading.Barrier(8)

    def resume(_: int) -> RunWriter | None:
        at_once.wait(timeout=60)
        try:
            return RunWriter.resume(tmp_path / RUN)
        except RunLockedError:
            return None

    with ThreadPoolExecutor(8) as threads:
        writers = [each for each in threads.map(resume, range(8)) if each]
    assert len(writers) == 1
    with writers[0] as writer:
        for counter in range(5):
            writer.append(frame(counter))
    check_whole(tmp_path / RUN, range(5))


def test_one_of_several_makers_makes_a_run(tmp_path: Path) -> None:
    """The others are told that it is there already, and leave nothing."""
    at_once = threading.Barrier(8)

    def create(_: int) -> RunWriter | None:
        at_once.wait(timeout=60)
        try:
            return RunWriter.create(tmp_path / RUN, SMALL, frames_per_block=2)
        except RunExistsError:
            return None

    with ThreadPoolExecutor(8) as threads:
        writers = [each for each in threads.map(create, range(8)) if each]
    assert len(writers) == 1
    assert [each.name for each in tmp_path.iterdir()] == [RUN]
    with writers[0] as writer:
        for counter in range(5):
            writer.append(frame(counter))
    check_whole(tmp_path / RUN, range(5))


class ClockSetBack(SystemClock):
    """A wall clock that somebody sets back by an hour."""

    def __init__(self) -> None:
        self.is_set_back = False

    def time_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return super().time_ns() - self.is_set_back * 3_600_000_000_000


def test_a_clock_that_is_set_back_changes_nothing_but_the_times_in_the_log(tmp_path: Path) -> None:
    """The order of records is that of the log, so all frames are there and every sum closes."""
    clock = ClockSetBack()

    def set_back(place: int) -> None:
        clock.is_set_back = place >= 5

    source = ListedSource([*range(7), *range(8, 12)], before=set_back)
    status = acquire(source, tmp_path / RUN, frames_per_block=2, clock=clock)
    assert (status.committed, status.dropped, status.counted) == (11, 1, 12)
    check_whole(tmp_path / RUN, range(12))
    history = open_run(tmp_path / RUN).history
    assert history.closed
    assert history.closed.at < time.time_ns() - 3_000_000_000_000
    with pytest.raises(RunExistsError):
        RunWriter.resume(tmp_path / RUN)


def test_a_source_without_a_frame_makes_an_empty_run(tmp_path: Path) -> None:
    """It is closed and sound, and every reader finds it empty."""
    status = acquire(ListedSource([]), tmp_path / RUN, frames_per_block=2)
    assert (status.committed, status.dropped, status.counted) == (0, 0, 0)
    check_whole(tmp_path / RUN, range(0))
    assert verify_run(open_run(tmp_path / RUN)).blocks == 0
