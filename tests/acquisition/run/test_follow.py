"""A follower sees a run as it grows, whatever happens to its writer or to the notifications."""

import contextlib
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import watchfiles

from forebay.acquisition import Frame, Geometry, RunWriter, follow, open_run
from forebay.acquisition.control import (
    ClosedEvent,
    CommittedEvent,
    ControlClient,
    ControlServer,
    Event,
)
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.run import follow as following
from forebay.acquisition.run.writing.folder import show

SERVING = Path(__file__).parents[1] / "control" / "serving.py"
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

    def wait_for(self, frames: int, *, seconds: float = 10) -> bool:
        with self._grown:
            return self._grown.wait_for(lambda: self.lengths[-1:] == [frames], seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join(60)
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


class Idle:
    """An acquisition that is asked nothing."""

    def status(self) -> dict[str, Any]:
        return {}

    def stop(self, reason: str) -> None: ...

    def start(self) -> None: ...

    def note(self, topic: str, text: str) -> None: ...

    def reduce(self, level: int, seconds: float) -> None: ...


def serve(writer: RunWriter) -> ControlServer:
    return ControlServer(writer.layout.run_id, Idle(), standing=standing(writer))


def standing(writer: RunWriter) -> CommittedEvent:
    return CommittedEvent(
        blocks=writer.committed // 2,
        frames=writer.committed,
        dropped=writer.dropped,
        counted=writer.counted,
    )


@pytest.fixture(autouse=True)
def _sockets_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base := tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log's own changes go unnoticed."""

    def watch(*args: Any, **options: Any) -> Iterator[object]:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(following, "_RECHECK_SECONDS", 60.0)


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
        assert told.wait(60)
        RunWriter.resume(path).close()
    assert follower.closed
    assert ["nobody is writing it" in record.message for record in caplog.records] == [True]


class Asked(threading.Event):
    """An event that tells when it has been looked at again and again, as who waits for it does."""

    def __init__(self) -> None:
        super().__init__()
        self.again = threading.Event()
        self._looks = 0

    def is_set(self) -> bool:
        self._looks += 1
        if self._looks > 10:
            self.again.set()
        return super().is_set()


def test_ctrl_c_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop over a run that nobody writes any more ends as every other loop does."""
    monkeypatch.setattr(following, "_RECHECK_SECONDS", 60.0)
    stop = Asked()

    def interrupt() -> None:
        stop.again.wait(60)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if not done.wait(60):
            stop.set()

    RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2).abandon()
    done = threading.Event()
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in follow(open_run(tmp_path / "run"), stop=stop):
            pass
    done.set()
    interrupting.join()


@pytest.mark.usefixtures("deaf")
def test_a_follower_is_woken_by_what_the_writer_announces(tmp_path: Path) -> None:
    """Where the writer announces its commits, nothing else is needed."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with serve(writer) as server, Follower(tmp_path / "run") as follower:
        for counter in range(7):
            if writer.append(frame(counter)):
                server.announce(standing(writer))
                assert follower.wait_for(counter + 1)
        writer.close()
        server.announce(ClosedEvent(reason="the source ended"))
    assert follower.lengths[-1] == 7
    assert follower.closed


@pytest.mark.usefixtures("deaf")
def test_a_block_is_told_of_when_it_is_announced_and_not_when_it_can_be_read(
    tmp_path: Path,
) -> None:
    """What stands in the log may still be lost; what was announced is flushed."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with serve(writer) as server, Follower(tmp_path / "run") as follower:
        for counter in range(2):
            writer.append(frame(counter))
        server.announce(first := standing(writer))
        assert follower.wait_for(2)
        for counter in range(2, 6):
            writer.append(frame(counter))
        server.announce(first)
        assert not follower.wait_for(6, seconds=0.2)
        assert follower.lengths[-1] == 2
        server.announce(CommittedEvent(blocks=3, frames=6, dropped=0, counted=6))
        assert follower.wait_for(6)
        writer.append(frame(6))
        writer.close()
        server.announce(standing(writer))
        assert not follower.wait_for(7, seconds=0.2)
        server.announce(ClosedEvent(reason="the source ended"))
    assert follower.lengths[-1] == 7
    assert follower.closed


@pytest.mark.usefixtures("deaf")
def test_a_log_that_is_always_ahead_keeps_no_block_back(tmp_path: Path) -> None:
    """What was read too early is told of when it is announced, though there is more by then."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with serve(writer) as server, Follower(tmp_path / "run") as follower:

        def write(blocks: int) -> None:
            while writer.committed < 2 * blocks:
                writer.append(frame(writer.counted))

        def announce(blocks: int) -> None:
            frames = 2 * blocks
            server.announce(CommittedEvent(blocks=blocks, frames=frames, dropped=0, counted=frames))

        write(2)
        announce(2)
        assert follower.wait_for(4)
        write(4)
        announce(3)
        assert not follower.wait_for(8, seconds=0.3)
        write(6)
        announce(4)
        assert follower.wait_for(8)
        announce(6)
        assert follower.wait_for(12)
        writer.close()
        server.announce(ClosedEvent(reason="the source ended"))
    assert follower.closed


def test_a_follower_watches_the_log_when_nobody_announces_any_more(tmp_path: Path) -> None:
    """A control socket that is gone is no reason to miss anything, nor is one that comes."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with Follower(tmp_path / "run") as follower:
        assert follower.wait_for(0)
        for blocks in range(1, 6):
            with serve(writer) if blocks % 2 else contextlib.nullcontext() as server:
                for _ in range(2):
                    writer.append(frame(writer.counted))
                if server:
                    server.announce(standing(writer))
                assert follower.wait_for(2 * blocks)
        writer.close()
    assert follower.closed


def test_sockets_that_others_may_have_made_are_not_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runtime" / "forebay").symlink_to("/")
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with Follower(tmp_path / "run") as follower:
        for counter in range(2):
            writer.append(frame(counter))
        assert follower.wait_for(2)
        writer.close()
    assert follower.closed


@pytest.mark.usefixtures("deaf")
def test_a_writer_that_is_killed_is_missed_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the connection tells of it, long before the log would be looked at again."""
    heard, missed = threading.Event(), threading.Event()
    emit = caplog.handler.emit

    class Heard(ControlClient):
        def events(self, stop: threading.Event) -> Iterator[Event]:
            for event in super().events(stop):
                heard.set()
                yield event

    def tell(record: logging.LogRecord) -> None:
        emit(record)
        if "nobody is writing it" in record.message:
            missed.set()

    monkeypatch.setattr(caplog.handler, "emit", tell)
    monkeypatch.setattr(following, "ControlClient", Heard)
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, str(SERVING), str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with Follower(path) as follower:
            assert follower.wait_for(2)
            assert heard.wait(60)
            process.kill()
            assert missed.wait(60)
            follower.stop.set()
    assert follower.failure is None


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
    for stored in seen.blocks[1].objects:
        (path / stored.key).unlink()
    show(path, seen.layout, 2)
    RunWriter.resume(path).close()
    assert open_run(path).history.frames == 2
    with pytest.raises(RunDamagedError, match="a block that was seen before was not kept"):
        seen.refresh()
