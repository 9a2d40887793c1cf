"""A storage that takes no more blocks is told of, long before the ring is full."""

import os
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
    verify_run,
)
from forebay.acquisition.service import flow as flow_module
from forebay.acquisition.service.flow import StallWatch
from forebay.acquisition.sources.testing.clock import ManualClock

SECONDS = 60


def test_it_is_stalled_when_something_waits_and_nothing_has_gone_on_for_long() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)

    def after(seconds: float, progress: int, *, waiting: bool) -> bool:
        found = False
        for _ in range(round(seconds / 0.5)):
            clock.advance(0.5)
            found = watch.stalled(progress, waiting=waiting)
        return found

    assert not after(60, 0, waiting=False)
    assert not after(9, 0, waiting=True)
    assert not after(9, 8, waiting=True)
    assert after(2, 8, waiting=True)
    assert after(100, 8, waiting=True)
    assert not after(0.5, 16, waiting=True)
    assert not after(9, 16, waiting=True)
    assert not after(0.5, 16, waiting=False)


def test_a_process_that_was_stopped_itself_does_not_blame_the_storage() -> None:
    clock = ManualClock()
    watch = StallWatch(clock)
    assert not watch.stalled(0, waiting=True)
    clock.advance(100)
    assert not watch.stalled(0, waiting=True)


class Camera:
    """Delivers a block, and ends when it is told to."""

    def __init__(self) -> None:
        self.geometry = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self.begin = threading.Event()
        self.end = threading.Event()

    def frames(self) -> Iterator[Frame]:
        assert self.begin.wait(SECONDS)
        for counter in range(4):
            yield Frame(counter, counter, np.full((3, 4), counter, "uint16"))
        assert self.end.wait(SECONDS)

    def stop(self) -> None:
        self.end.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


@pytest.mark.parametrize("thread", ["forebay-run", "forebay-flush", "forebay-commit"])
def test_who_looks_is_told_and_it_goes_on_when_the_storage_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    thread: str,
) -> None:
    """Nothing is lost meanwhile, whatever it was that waited for the storage."""
    camera, answers = Camera(), threading.Event()
    flows: list[str] = []

    def hanging(call: Callable[[int], None]) -> Callable[[int], None]:
        def hang(descriptor: int) -> None:
            if camera.begin.is_set() and threading.current_thread().name.startswith(thread):
                assert answers.wait(SECONDS)
            call(descriptor)

        return hang

    def look(status: AcquisitionStatus) -> None:
        camera.begin.set()
        flows.append(status.flow)
        if status.flow == "storage stalled":
            assert status.committed == 0
            answers.set()
        if status.committed and status.flow == "normal":
            camera.end.set()

    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, call, hanging(getattr(os, call)))
    monkeypatch.setattr(flow_module, "_STALLED_SECONDS", 0.3)
    status = acquire(camera, tmp_path / "run", frames_per_block=4, on_status=look)
    assert "storage stalled" in flows
    assert flows[-1] == "normal"
    assert status.committed == status.counted == 4
    assert "the flow of frames is now: storage stalled" in caplog.text
    assert verify_run(open_run(tmp_path / "run")).ok
