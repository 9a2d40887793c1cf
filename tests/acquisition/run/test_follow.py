"""A follower sees a run as it grows, whatever happens to its writer or to the notifications."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import watchfiles

from forebay.acquisition import Frame, Geometry, RunWriter, follow, open_run
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.run import follow as following
from forebay.acquisition.run.folder import show

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint8"))


def frame(counter: int) -> Frame:
    return Frame(counter, counter, np.zeros((3, 4), "uint8"))


class Follower:
    """Follows a run in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.lengths: list[int] = []
        self.closed = False
        self.failure: Exception | None = None
        self.stop = threading.Event()
        self._path = path
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._follow)

    def _follow(self) -> None:
        try:
            for run in follow(open_run(self._path), stop=self.stop):
                with self._grown:
                    self.lengths.append(run.history.frames)
                    self.closed = run.closed
                    self._grown.notify_all()
        except RunDamagedError as error:
            self.failure = error

    def wait_for(self, frames: int) -> bool:
        with self._grown:
            return self._grown.wait_for(lambda: self.lengths[-1:] == [frames], 10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join(10)
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("frames", [0, 6, 7])
def test_a_follower_sees_every_block_and_the_end(tmp_path: Path, frames: int) -> None:
    """A run is given as it grows and when it is closed, and then no more."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with Follower(tmp_path / "run") as follower:
        assert follower.wait_for(0)
        for counter in range(frames):
            writer.append(frame(counter))
        writer.close()
    assert follower.closed
    assert follower.lengths[-1] == frames
    assert follower.lengths == sorted(follower.lengths)


def test_a_follower_goes_on_with_the_next_writer(tmp_path: Path) -> None:
    """A writer that dies and one that goes on are one run to whoever follows it."""
    path = tmp_path / "run"
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=2)
    with Follower(path) as follower:
        for counter in range(3):
            writer.append(frame(counter))
        assert follower.wait_for(2)
        writer.abandon()
        with RunWriter.resume(path) as writer:
            for counter in range(3, 8):
                writer.append(frame(counter))
                assert counter != 4 or follower.wait_for(4)
    assert follower.closed
    assert follower.lengths[-1] == 7


def test_a_follower_without_notifications_looks_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no watch left, the log is looked at from time to time."""

    def watch(*args: Any, **options: Any) -> Iterator[object]:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(following, "_RECHECK_SECONDS", 0.02)
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with Follower(tmp_path / "run") as follower:
        assert follower.wait_for(0)
        for counter in range(4):
            writer.append(frame(counter))
        assert follower.wait_for(4)
        writer.close()
    assert follower.closed


def test_a_follower_says_once_that_the_writer_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was left open is not waited for in silence, and one that is closed is no news."""
    monkeypatch.setattr(following, "_RECHECK_SECONDS", 0.05)
    told = threading.Event()
    emit = caplog.handler.emit

    def tell(record: logging.LogRecord) -> None:
        emit(record)
        told.set()

    monkeypatch.setattr(caplog.handler, "emit", tell)
    path = tmp_path / "run"
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=2)
    with Follower(path) as follower:
        assert follower.wait_for(0)
        assert not told.is_set()
        for counter in range(2):
            writer.append(frame(counter))
        writer.abandon()
        assert follower.wait_for(2)
        assert told.wait(10)
        RunWriter.resume(path).close()
    assert follower.closed
    assert ["nobody is writing it" in record.message for record in caplog.records] == [True]


def test_a_follower_can_be_stopped(tmp_path: Path) -> None:
    """Setting the event ends the following of a run that does not grow."""
    with RunWriter.create(tmp_path / "run", GEOMETRY), Follower(tmp_path / "run") as follower:
        assert follower.wait_for(0)
        follower.stop.set()
    assert follower.lengths == [0]
    assert follower.failure is None


def test_a_block_that_was_not_kept_is_an_error(tmp_path: Path) -> None:
    """Storage that forgets a flushed record is noticed by whoever has seen it."""
    path = tmp_path / "run"
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=2)
    for counter in range(4):
        writer.append(frame(counter))
    writer.abandon()
    seen = open_run(path)
    log = path / "_forebay/log/00000001.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    show(path, seen.layout, 2)
    RunWriter.resume(path).close()
    assert open_run(path).history.frames == 2
    with pytest.raises(RunDamagedError, match="a block that was seen before was not kept"):
        seen.refresh()
