"""Where a disk is too slow for several recordings, those of lower priority give way."""

import subprocess
import sys
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
from forebay.acquisition.format.record import StoredObject
from forebay.acquisition.service.flow import RING_FULL
from forebay.acquisition.service.precedence import Precedence
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderObject

SECONDS = 20.0
SHAPE = (3, 4)
FRAMES = 60
SMALL = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2}
"""Settings for a ring of three blocks of four frames, two of which are in flight."""


class Camera:
    """A free-running camera that is told when to begin, and when to deliver its last frame."""

    def __init__(self) -> None:
        self.geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = False
        self.begin = threading.Event()
        self.delivered = threading.Event()
        self.go_on = threading.Event()

    def frames(self) -> Iterator[Frame]:
        assert self.begin.wait(SECONDS)
        for counter in range(FRAMES):
            yield Frame(counter, counter, np.full(SHAPE, counter, "uint16"))
        self.delivered.set()
        assert self.go_on.wait(SECONDS)
        yield Frame(FRAMES, FRAMES, np.full(SHAPE, FRAMES, "uint16"))

    def stop(self) -> None:
        self.begin.set()
        self.go_on.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


@pytest.fixture(autouse=True)
def _an_order_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base := tmp_path / ".runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))


def until(happens: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def record(
    path: Path, camera: Camera, on_status: Callable[[AcquisitionStatus], None], **changes: Any
) -> AcquisitionStatus:
    """Record, and see that the sums close."""
    settings = AcquisitionSettings.model_validate({**SMALL, **changes})
    status = acquire(camera, path, settings=settings, on_status=on_status)
    assert status.committed + status.dropped == status.counted == FRAMES + 1
    assert sum(status.dropped_by_reason.values()) == status.dropped
    assert verify_run(open_run(path)).ok
    return status


def test_a_recording_begins_no_block_while_another_comes_first(tmp_path: Path) -> None:
    """What comes meanwhile fills its ring, and then its own policy acts; then it goes on."""
    camera = Camera()
    before: list[AcquisitionStatus] = []
    with Precedence(tmp_path, priority=1) as other:
        other.say(short=True)

        def look(status: AcquisitionStatus) -> None:
            if status.flow == "giving way":
                camera.begin.set()
            if camera.delivered.is_set() and not before:
                before.append(status)
                other.say(short=False)
            if status.committed:
                camera.go_on.set()

        status = record(tmp_path / "run", camera, look, overload="drop-newest")
    assert before[0].committed == 0
    assert before[0].ring_depth == before[0].ring_slots == 12
    assert status.dropped_by_reason == {RING_FULL: FRAMES - 12}
    run = open_run(tmp_path / "run")
    assert run.frames.frame_id.to_numpy().tolist() == [*range(12), FRAMES]


@pytest.mark.parametrize("priority", [1, 2])
def test_only_a_higher_priority_comes_first(tmp_path: Path, priority: int) -> None:
    """Those of the same one share the disk as the system gives it to them."""
    camera = Camera()
    flows: set[str] = set()
    with Precedence(tmp_path, priority=1) as other:
        other.say(short=True)

        def look(status: AcquisitionStatus) -> None:
            flows.add(status.flow)
            camera.begin.set()
            if status.committed:
                camera.go_on.set()

        record(tmp_path / "run", camera, look, priority=priority)
    assert "giving way" not in flows


def test_a_recording_that_runs_short_lets_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the low watermark on, before anything happens to its frames; and no longer."""
    moves = threading.Event()
    finish = FolderObject.finish

    def waiting(self: FolderObject) -> StoredObject:
        # Before it is stored: from then on its frames are in the ring no more.
        assert moves.wait(SECONDS)
        return finish(self)

    monkeypatch.setattr(FolderObject, "finish", waiting)
    camera = Camera()
    seen: list[bool] = []
    with Precedence(tmp_path, priority=6) as later, Precedence(tmp_path, priority=7) as same:

        def look(status: AcquisitionStatus) -> None:
            seen.append(later.gives_way)
            if not camera.begin.is_set():
                assert not later.gives_way
                camera.begin.set()

        def disk() -> None:
            until(lambda: later.gives_way)
            seen.append(same.gives_way)
            moves.set()
            until(lambda: not later.gives_way)
            camera.go_on.set()

        moving = threading.Thread(target=disk)
        moving.start()
        record(tmp_path / "run", camera, look, priority=7)
        moving.join()
        assert not later.gives_way
    assert seen[0] is False


def test_the_order_of_a_recording_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    """The system gives its lock back."""
    script = (
        "from pathlib import Path\n"
        "from forebay.acquisition.service.precedence import Precedence\n"
        "with Precedence(Path('.'), priority=9) as first:\n"
        "    first.say(short=True)\n"
        "    print('short', flush=True)\n"
        "    input()\n"
    )
    with Precedence(tmp_path, priority=0) as later:
        other = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "short\n"
        assert later.gives_way
        other.kill()
        other.communicate(timeout=SECONDS)
        assert not later.gives_way
