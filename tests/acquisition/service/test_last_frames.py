"""The end of a recording whose disk is full: told at once, bounded, and of every frame."""

import errno
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    Geometry,
    ImageMetadata,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import NoSpaceError, StorageError
from forebay.acquisition.run.writing.writable import WritableRun
from forebay.acquisition.service import acquisition, last_frames
from forebay.acquisition.settings import AcquisitionSettings

SHAPE = (3, 4)
TOLD = re.compile(r"/run has no room for the last (\d+) of (\d+) frames: (.*) lost unless")
HANGS = re.compile(r"/run has taken nothing for .* the last (\d+) of (\d+) frames .* SIGTERM (.*)")
LOST = re.compile(r"(\d+) of the (\d+) frames that the camera counted are not committed to ([^,]*)")


class Camera:
    """A camera that can wait, and takes frames until it is stopped, or so many."""

    def __init__(self, frames: int = 100_000) -> None:
        self.geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self._frames = frames
        self._stopped = threading.Event()

    def frames(self) -> Iterator[Frame]:
        for counter in range(self._frames):
            if self._stopped.is_set():
                return
            yield Frame(counter, counter, np.full(SHAPE, counter, "uint16"))

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class FullDisk:
    """Refuses to write some files, as a disk without room does, until it is told to."""

    def __init__(self, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_room = threading.Event()
        self._pattern = re.compile(pattern)
        self._write = os.pwritev
        monkeypatch.setattr(os, "pwritev", self._refuse)

    def _refuse(self, descriptor: int, *args: Any) -> int:
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if self._pattern.search(name) and not self.has_room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, *args)


class Told(logging.Handler):
    """Does something once it is told what waits."""

    def __init__(self, act: Callable[[], object], pattern: re.Pattern[str] = TOLD) -> None:
        super().__init__()
        self._act = act
        self._pattern = pattern

    def emit(self, record: logging.LogRecord) -> None:
        if self._pattern.search(record.getMessage()):
            self._act()


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is waited for as long as a test can wait."""
    monkeypatch.setattr(acquisition, "_PATIENCE_SECONDS", 0.7)


def record(path: Path, camera: Camera, stop: threading.Event | None, **changes: Any) -> None:
    """Record a camera, and stop it when the ring is full and its disk as well."""

    def when_held_up(status: AcquisitionStatus) -> None:
        held_up = status.ring_depth == status.ring_slots and status.flow == "waiting for space"
        if stop is not None and held_up:
            stop.set()

    known = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2}
    settings = AcquisitionSettings.model_validate({**known, **changes})
    acquire(camera, path, settings=settings, stop=stop, on_status=when_held_up)


def told(pattern: re.Pattern[str], caplog: pytest.LogCaptureFixture) -> list[tuple[str, ...]]:
    return [found.groups() for each in caplog.messages if (found := pattern.search(each))]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("durability", ["block", "frame"])
def test_a_source_that_is_held_up_by_a_full_disk_can_be_stopped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    durability: str,
) -> None:
    """What is at stake is told before room is waited for, and what was lost behind it."""
    FullDisk(r"frames\.c\.[1-9]", monkeypatch)
    with pytest.raises(NoSpaceError, match="no space is left"):
        record(tmp_path / "run", Camera(), threading.Event(), durability=durability)
    kept = "those that the frame journal lacks are" if durability == "frame" else "they are"
    ((waiting, counted, which),) = told(TOLD, caplog)
    ((lost, counted_then, where),) = told(LOST, caplog)
    assert which == kept
    assert int(waiting) > 0
    assert int(counted) - int(waiting) == int(counted_then) - int(lost) == 4
    assert where == str(tmp_path / "run")
    assert open_run(tmp_path / "run").history.frames == 4


def test_what_was_dropped_meanwhile_is_told_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log, which has no room, does not tell of it either."""
    FullDisk(r"frames\.c\.[1-9]", monkeypatch)
    with pytest.raises(NoSpaceError):
        record(tmp_path / "run", Camera(500), None, overload="drop-newest")
    ((lost, counted, _),) = told(LOST, caplog)
    assert counted == "500"
    dropped = 500 - 4 - int(lost)
    assert f", beside {dropped} that were dropped" in caplog.text


def test_room_that_is_made_in_time_saves_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is closed with every frame that had come."""
    monkeypatch.setattr(acquisition, "_PATIENCE_SECONDS", 60.0)
    disk = FullDisk(r"frames\.c\.[1-9]", monkeypatch)
    making_room = Told(disk.has_room.set)
    log = logging.getLogger("forebay.acquisition")
    log.addHandler(making_room)
    try:
        record(tmp_path / "run", Camera(), threading.Event())
    finally:
        log.removeHandler(making_room)
    assert len(told(TOLD, caplog)) == 1
    assert told(LOST, caplog) == []
    run = open_run(tmp_path / "run")
    assert run.history.closed
    assert run.history.closed.committed == run.history.closed.counted > 4
    assert verify_run(run).ok


def test_what_is_kept_raw_and_finds_no_room_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is that of the run beside, which lacks frames; the other one is closed."""
    FullDisk(r"run\.raw/.*frames\.c\.[1-9]", monkeypatch)
    reduction = {"steps": ["region:0:1,0:1"], "keep_raw_every": 1}
    with pytest.raises(NoSpaceError, match=r"block 1 of .*/run\.raw .*no space is left"):
        record(tmp_path / "run", Camera(9), None, reduction=reduction)
    assert told(LOST, caplog) == [("5", "9", str(tmp_path / "run.raw"))]
    assert "that were dropped" not in caplog.text
    assert open_run(tmp_path / "run").closed
    assert open_run(tmp_path / "run.raw").history.frames == 4


def test_ctrl_c_after_a_stop_leaves_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It gives up what waits for room, and says how much that is."""
    monkeypatch.setattr(acquisition, "_PATIENCE_SECONDS", 600.0)
    disk = FullDisk(r"frames\.c\.[1-9]", monkeypatch)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    giving_up = Told(lambda: os.kill(os.getpid(), signal.SIGINT))
    log = logging.getLogger("forebay.acquisition")
    log.addHandler(giving_up)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            record(tmp_path / "run", Camera(), threading.Event())
    finally:
        log.removeHandler(giving_up)
        signal.signal(signal.SIGINT, before)
        disk.has_room.set()
        for thread in threading.enumerate():
            if thread.name.startswith("forebay-"):
                thread.join(60)
    assert time.monotonic() - began < 200
    assert len(told(LOST, caplog)) == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_a_storage_that_hangs_is_told_at_the_end_with_the_way_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stopped: bool,
) -> None:
    """A call that does not return holds the first signal; when it returns, nothing is lost."""
    monkeypatch.setattr(last_frames, "_HANGING_SECONDS", 600.0)
    answers, stop, write = threading.Event(), threading.Event(), os.pwritev

    def hang(descriptor: int, *args: Any) -> int:
        if re.search(r"frames\.c\.1", str(Path(f"/proc/self/fd/{descriptor}").readlink())):
            if stopped:
                stop.set()
            # What was slow before that did not hang.
            monkeypatch.setattr(last_frames, "_HANGING_SECONDS", 0.1)
            assert answers.wait(60)
        return write(descriptor, *args)

    monkeypatch.setattr(os, "pwritev", hang)
    telling = Told(answers.set, HANGS)
    logging.getLogger("forebay.acquisition").addHandler(telling)
    try:
        record(tmp_path / "run", Camera(12), stop)
    finally:
        logging.getLogger("forebay.acquisition").removeHandler(telling)
    ((lost, counted, how),) = told(HANGS, caplog)
    # Those of the block before are still on their way too, on a slow machine.
    assert 0 < int(lost) <= int(counted) <= 12
    assert how == ("once more" if stopped else "twice")
    run = open_run(tmp_path / "run")
    assert run.closed
    assert run.history.frames >= int(counted)


def test_what_keeps_a_run_from_being_closed_is_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that the writing was given up for it."""

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("the last line does not reach the disk")

    monkeypatch.setattr(WritableRun, "close", refuse)
    with pytest.raises(StorageError, match="the last line does not reach the disk"):
        acquire(Camera(5), tmp_path / "run")
