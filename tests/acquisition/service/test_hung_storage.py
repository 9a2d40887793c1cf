"""A storage that hangs holds up neither a stop on its way to the camera nor who asks how it goes."""

import logging
import os
import threading
from collections.abc import Iterator
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

SECONDS = 60
SHAPE = (3, 4)


class Camera:
    """A camera that delivers a block, and something unusual when the storage hangs."""

    def __init__(self) -> None:
        self.geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self.begin = threading.Event()
        self.hangs = threading.Event()
        self.stopped = threading.Event()

    def frames(self) -> Iterator[Frame]:
        assert self.begin.wait(SECONDS)
        for counter in range(4):
            yield Frame(counter, counter, np.full(SHAPE, counter, "uint16"))
        assert self.hangs.wait(SECONDS)
        yield Frame(3, 3, np.full(SHAPE, 3, "uint16"))
        assert self.stopped.wait(SECONDS)

    def stop(self) -> None:
        self.stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Told(logging.Handler):
    """Notices when it is told that a frame came again."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "came again" in record.getMessage():
            self.heard.set()


class Operator(threading.Thread):
    """Waits for something, stops the recording, and has the storage answer when the camera knows."""

    def __init__(self, when: threading.Event, camera: Camera, answers: threading.Event) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.passed_on = False
        self._when, self._camera, self._answers = when, camera, answers

    def run(self) -> None:
        if self._when.wait(SECONDS):
            self.stop.set()
            self.passed_on = self._camera.stopped.wait(10)
        self._answers.set()


@pytest.fixture
def told() -> Iterator[Told]:
    handler = Told()
    log = logging.getLogger("forebay.acquisition")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.mark.parametrize("call", ["fdatasync", "statvfs"])
def test_a_stop_reaches_the_camera_though_the_storage_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told, call: str
) -> None:
    """While what is unusual waits to be written down, and the room left to be told."""
    camera, answers, usual = Camera(), threading.Event(), getattr(os, call)

    def hang(place: Any, *args: Any) -> Any:
        # Those that write a block are waited for by nobody but the one that commits it.
        if camera.begin.is_set() and threading.current_thread().name != "forebay-writer":
            camera.hangs.set()
            assert answers.wait(SECONDS)
        return usual(place, *args)

    def look(status: AcquisitionStatus) -> None:
        # The run has been made.
        camera.begin.set()

    monkeypatch.setattr(os, call, hang)
    when = told.heard if call == "fdatasync" else camera.hangs
    operator = Operator(when, camera, answers)
    operator.start()
    status = acquire(
        camera, tmp_path / "run", frames_per_block=4, stop=operator.stop, on_status=look
    )
    operator.join()
    assert operator.passed_on
    assert status.committed == status.counted == 4
    run = open_run(tmp_path / "run")
    assert run.closed
    assert [note.topic for note in run.notes] == ["counter repeated"]
    assert verify_run(run).ok
