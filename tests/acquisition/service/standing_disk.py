"""A free-running camera, and a disk that stands still until the camera has delivered its frames."""

import threading
import time
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
    Run,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderStorage

FRAMES = 60
SECONDS = 120
SHAPE = (3, 4)


class Camera:
    """A free-running camera; each frame of it holds its counter, and a low bit.

    With `rings` it is no faster than whoever takes the frames out of them, unless that stands still
    for the `patience`.
    """

    def __init__(
        self,
        frames: int = FRAMES,
        *,
        can_wait: bool = False,
        rings: list[FrameRing] | None = None,
        patience: float = SECONDS,
    ) -> None:
        self.geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = can_wait
        self.delivered = threading.Event()
        self.go_on = threading.Event()
        self.delivered_at = 0
        self.frames_at_the_end = 1
        self._frames = frames
        self._patience = patience
        self._rings = [] if rings is None else rings
        self._stopped = threading.Event()

    def frames(self) -> Iterator[Frame]:
        for counter in range(self._frames):
            if self._stopped.is_set():
                return
            self._keep_pace()
            yield Frame(counter, counter, np.full(SHAPE, counter * 4 + 1, "uint16"))
        self.delivered_at = time.time_ns()
        self.delivered.set()
        self.go_on.wait(SECONDS)
        for counter in range(self._frames, self._frames + self.frames_at_the_end):
            yield Frame(counter, counter, np.full(SHAPE, counter * 4 + 1, "uint16"))

    def _keep_pace(self) -> None:
        deadline = time.monotonic() + self._patience
        while any(ring.waiting > 2 for ring in self._rings) and not self._stopped.wait(0.001):
            if time.monotonic() >= deadline:
                self._patience = 0.0
                return

    def stop(self) -> None:
        self._stopped.set()
        self.go_on.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that stands still until the event is set."""
    moves = threading.Event()
    publish = FolderStorage.publish

    def waiting(self: FolderStorage, objects: Any) -> None:
        assert moves.wait(SECONDS)
        publish(self, objects)

    monkeypatch.setattr(FolderStorage, "publish", waiting)
    yield moves
    moves.set()


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[FrameRing]:
    """The rings that are made."""
    made: list[FrameRing] = []
    make = FrameRing.__init__

    def noted(self: FrameRing, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(FrameRing, "__init__", noted)
    return made


def record(
    path: Path, camera: Camera, disk: threading.Event, **changes: Any
) -> tuple[Run, AcquisitionStatus, list[str]]:
    """Record a camera that has delivered all its frames but one before the disk moves."""
    flows: list[str] = []
    known = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2}
    settings = AcquisitionSettings.model_validate({**known, **changes})

    def tell(status: AcquisitionStatus) -> None:
        flows.append(status.flow)

    def move() -> None:
        assert camera.delivered.wait(SECONDS)
        disk.set()
        camera.go_on.set()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        status = acquire(camera, path, settings=settings, on_status=tell)
    finally:
        camera.delivered.set()
        mover.join()
    run = open_run(path)
    assert status.committed + status.dropped == status.counted == FRAMES + 1
    assert sum(status.dropped_by_reason.values()) == status.dropped
    assert run.closed
    assert verify_run(run).ok
    return run, status, flows


def ids(run: Run) -> list[int]:
    frames = run.frames
    taken: list[int] = frames.frame_id.to_numpy().tolist()
    whole = frames.to_numpy()[:, 0, 0] // 4
    np.testing.assert_array_equal(whole, taken)
    return taken
