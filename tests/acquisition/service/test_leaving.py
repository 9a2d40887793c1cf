"""Who leaves a recording at once leaves nothing behind that goes on for ever."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    Geometry,
    ImageMetadata,
    acquire,
    open_run,
)
from forebay.acquisition.format.layout import JOURNAL
from forebay.acquisition.service.precedence import Precedence
from forebay.acquisition.settings import AcquisitionSettings

SHAPE = (3, 4)


class Camera:
    """A camera that does something after some frames, and then goes on until it is stopped."""

    def __init__(self, frames: int, then: Callable[[], object]) -> None:
        self.geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self.stopped = threading.Event()
        self.begin = threading.Event()
        self.begin.set()
        self._frames = frames
        self._then = then

    def frames(self) -> Iterator[Frame]:
        assert self.begin.wait(30)
        for counter in range(self._frames):
            yield Frame(counter, counter, np.full(SHAPE, counter, "uint16"))
        self._then()
        self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class DeafCamera(Camera):
    """A camera that does not end when it is stopped."""

    def stop(self) -> None:
        pass


class JammedCamera(Camera):
    """A camera that fails when it is stopped, and ends all the same."""

    def stop(self) -> None:
        super().stop()
        raise RuntimeError("the shutter is jammed")


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests were started without that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def ended(name: str) -> bool:
    """Wait until the threads of that name have ended."""
    threads = [each for each in threading.enumerate() if each.name == name]
    for each in threads:
        each.join(30)
    return not any(each.is_alive() for each in threads)


def test_ctrl_c_right_behind_a_stop_stops_the_camera(tmp_path: Path) -> None:
    """Also where nobody has passed the stop on by then."""
    stop = threading.Event()

    def stop_and_interrupt() -> None:
        stop.set()
        interrupt()

    camera = Camera(6, stop_and_interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            acquire(camera, tmp_path / "run", frames_per_block=4, stop=stop)
        assert camera.stopped.wait(30)
        assert ended("forebay-source")
        assert ended("forebay-run")
    finally:
        camera.stopped.set()
    run = open_run(tmp_path / "run")
    assert run.closed
    assert run.history.frames == 6


def test_a_camera_that_does_not_end_keeps_no_run_from_those_who_have_left(tmp_path: Path) -> None:
    """What has come is committed, and the run closed: nobody waits for that camera any more."""
    stop = threading.Event()

    def stop_and_interrupt() -> None:
        stop.set()
        interrupt()

    camera = DeafCamera(6, stop_and_interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            acquire(camera, tmp_path / "run", frames_per_block=4, stop=stop)
        assert ended("forebay-run")
        run = open_run(tmp_path / "run")
        assert run.closed
        assert run.writer is None
        assert run.history.frames == 6
    finally:
        camera.stopped.set()
        assert ended("forebay-source")


def test_a_camera_that_fails_to_stop_is_a_source_that_failed(tmp_path: Path) -> None:
    """Armed or not, what has come is committed, and no thread waits for a start."""
    stop = threading.Event()
    camera = JammedCamera(6, stop.set)
    try:
        with pytest.raises(RuntimeError, match="the shutter is jammed"):
            acquire(camera, tmp_path / "run", frames_per_block=4, stop=stop)
    finally:
        camera.stopped.set()
    run = open_run(tmp_path / "run")
    assert run.closed
    assert run.history.frames == 6
    assert run.history.closed is not None
    assert run.history.closed.reason == "the source failed: the shutter is jammed"
    assert ended("forebay-source")


def test_who_leaves_gives_way_to_nobody_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that comes first, and stays short of the disk, does not hold up the rest."""
    (base := tmp_path / ".runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    stop = threading.Event()

    def stop_and_interrupt() -> None:
        stop.set()
        interrupt()

    camera = Camera(6, stop_and_interrupt)
    camera.begin.clear()

    def look(status: AcquisitionStatus) -> None:
        if status.flow == "giving way":
            camera.begin.set()

    with Precedence(tmp_path, priority=1) as first:
        first.say(short=True)
        try:
            with pytest.raises(KeyboardInterrupt):
                acquire(camera, tmp_path / "run", frames_per_block=4, stop=stop, on_status=look)
            assert ended("forebay-run")
        finally:
            camera.stopped.set()
    assert open_run(tmp_path / "run").history.frames == 6


def test_a_journal_that_cannot_be_flushed_keeps_nobody_who_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it is recorded behind their back, when its disk answers again."""
    stop, hangs, answers = threading.Event(), threading.Event(), threading.Event()
    flush = os.fdatasync

    def hang(descriptor: int) -> None:
        if "/journal/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            hangs.set()
            assert answers.wait(60)
        flush(descriptor)

    def stop_and_interrupt() -> None:
        assert hangs.wait(30)
        stop.set()
        interrupt()

    camera = Camera(6, stop_and_interrupt)
    settings = AcquisitionSettings(frames_per_block=4, durability="frame")
    monkeypatch.setattr(os, "fdatasync", hang)
    too_late = threading.Timer(20, answers.set)
    too_late.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            acquire(camera, tmp_path / "run", settings=settings, stop=stop)
        assert not answers.is_set()
    finally:
        too_late.cancel()
        answers.set()
        assert ended("forebay-run")
    run = open_run(tmp_path / "run")
    assert run.closed
    assert run.history.frames == 6
    assert not (tmp_path / "run" / JOURNAL).exists()
