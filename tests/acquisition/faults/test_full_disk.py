"""The disk fills while a run is recorded: frames wait, then are dropped and written down."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import ByteSize
from tests.acquisition.faults.checks import check_committed, check_whole
from tests.acquisition.faults.disks import in_memory, make_image, mounted_image
from tests.acquisition.faults.recordings import RUN, ListedSource, frame

from forebay.acquisition import AcquisitionStatus, Geometry, RunWriter, acquire, open_run
from forebay.acquisition.clock import SystemClock
from forebay.acquisition.errors import StorageError
from forebay.acquisition.service.prepare import prepare, prepare_again
from forebay.acquisition.settings import AcquisitionSettings

pytestmark = pytest.mark.fault

LARGE = Geometry(("y", "x"), (256, 256), np.dtype("uint16"))
BLOCK = 4
BUFFER_BYTES = 16 * LARGE.frame_bytes
EXPOSURE_SECONDS = 0.005
ENOUGH = 40
"""Frames that come while the disk is full, before anybody does anything: more than the memory of
the recording holds."""
AFTERWARDS = 160
"""Frames that come when there is room again: for longer than a writer takes to look for it."""
IN_HAND = 4
"""Frames that are on their way from one place where they are counted to the next."""
TOLD_LOST = re.compile(r"(\d+) of the (\d+) frames that the camera counted are not committed")


@dataclass
class Disk:
    """A disk that will be full, with something on it that can be removed."""

    path: Path
    make_room: Callable[[], object]


@pytest.fixture
def without_bytes(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 64 MB in memory, most of which is taken."""
    with in_memory(tmp_path / "disk", megabytes=64) as path:
        (ballast := path / "ballast").write_bytes(bytes(52 << 20))
        yield Disk(path, ballast.unlink)


@pytest.fixture
def without_inodes(tmp_path: Path) -> Iterator[Disk]:
    """A disk with room for much, but for few files."""
    image = make_image(tmp_path / "image", "ext4", "-N", "512")
    with mounted_image(image, tmp_path / "disk", "ext4") as path:
        (ballast := path / "ballast").mkdir()
        for number in range(400):
            (ballast / str(number)).touch()

        def make_room() -> None:
            for each in ballast.iterdir():
                each.unlink()

        yield Disk(path, make_room)


@pytest.fixture(params=["without_bytes", "without_inodes"])
def disk(request: pytest.FixtureRequest) -> Disk:
    """A disk that will be full in one way or the other."""
    disk: Disk = request.getfixturevalue(request.param)
    return disk


class FastClock(SystemClock):
    """A clock by which seconds take a tenth of the time."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return super().monotonic() * 10


class FullDisk:
    """Listens to a recording; does something, once, when it has waited for space for some frames."""

    def __init__(self, act: Callable[[], object], came: Callable[[], int]) -> None:
        self.acted = threading.Event()
        self.committed = 0
        self._act = act
        self._came = came
        self._full_since: int | None = None

    def __call__(self, status: AcquisitionStatus) -> None:
        """Hear how the recording is doing."""
        self.committed = status.committed
        if status.flow == "waiting for space" and not self.acted.is_set():
            if self._full_since is None:
                self._full_since = self._came()
            elif self._came() >= self._full_since + ENOUGH:
                self._act()
                self.acted.set()


class Camera(ListedSource):
    """A camera that waits for nobody; it takes some frames more when something has happened."""

    def __init__(self, *, more: int) -> None:
        super().__init__(range(100_000), LARGE, can_wait=False, before=self._expose)
        self.event = threading.Event()
        """What happens."""
        self.before_event = 0
        """Frames that it took before that."""
        self.exposures = 0
        """Frames that it took."""
        self._more = more

    def _expose(self, place: int) -> None:
        time.sleep(EXPOSURE_SECONDS)
        if not self.event.is_set():
            self.before_event = place
        elif place > self.before_event + self._more:
            self.stop()
        if not self.stopped.is_set():
            self.exposures = place + 1


def test_a_camera_loses_frames_only_while_the_disk_is_full(disk: Disk) -> None:
    """When room is made the recording goes on to its end; what was lost is written down."""
    camera = Camera(more=AFTERWARDS)
    listener = FullDisk(disk.make_room, lambda: camera.exposures)
    camera.event = listener.acted
    status = acquire(
        camera,
        disk.path / RUN,
        frames_per_block=BLOCK,
        buffer_bytes=BUFFER_BYTES,
        on_status=listener,
        clock=FastClock(),
    )
    assert listener.acted.is_set(), "the disk was never full"
    assert status.dropped > 0
    assert status.committed + status.dropped == status.counted == camera.exposures
    check_whole(disk.path / RUN, range(camera.exposures), LARGE)
    last = open_run(disk.path / RUN).blocks[-1].frame_ids[1]
    assert last > camera.before_event, "nothing was recorded after room was made"


def test_a_source_that_can_wait_is_held_up_and_loses_nothing(disk: Disk) -> None:
    """Not a frame is dropped, however long nobody makes room."""
    listener = FullDisk(disk.make_room, count(0, ENOUGH).__next__)
    source = ListedSource(range(200), LARGE)
    status = acquire(
        source,
        disk.path / RUN,
        frames_per_block=BLOCK,
        buffer_bytes=BUFFER_BYTES,
        on_status=listener,
        clock=FastClock(),
    )
    assert listener.acted.is_set(), "the disk was never full"
    assert (status.committed, status.dropped, status.counted) == (200, 0, 200)
    check_whole(disk.path / RUN, range(200), LARGE)


def test_a_disk_that_stays_full_ends_the_recording_when_it_is_told_to_stop(disk: Disk) -> None:
    """It ends with an error; what was committed is sound, and the run goes on when there is room."""
    stop = threading.Event()
    camera = Camera(more=100_000)
    listener = FullDisk(stop.set, lambda: camera.exposures)
    with pytest.raises(StorageError, match="no space is left"):
        acquire(
            camera,
            disk.path / RUN,
            frames_per_block=BLOCK,
            buffer_bytes=BUFFER_BYTES,
            on_status=listener,
            stop=stop,
            clock=FastClock(),
        )
    assert listener.acted.is_set(), "the disk was never full"
    assert listener.committed > 0
    check_committed(disk.path / RUN, listener.committed, LARGE)
    assert not open_run(disk.path / RUN).closed

    disk.make_room()
    following = camera.exposures + 10
    with RunWriter.resume(disk.path / RUN) as writer:
        writer.append(frame(following, LARGE))
    check_whole(disk.path / RUN, range(following + 1), LARGE)


class Spilling:
    """Listens to a recording; does something, once, when it has spilled some frames."""

    def __init__(self, act: Callable[[], object], camera: Camera) -> None:
        self.acted = threading.Event()
        self.missing = 0
        """The most frames that had come before, until then, and that were not counted."""
        self._act = act
        self._camera = camera
        self._came = 0

    def __call__(self, status: AcquisitionStatus) -> None:
        """Hear how the recording is doing."""
        if not self.acted.is_set():
            self.missing = max(self.missing, self._came - status.counted)
        self._came = self._camera.exposures
        if status.spilled_frames >= ENOUGH and not self.acted.is_set():
            self._act()
            self.acted.set()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Disk]:
    """A disk in memory, which can be filled, and on which one file takes what is left then."""
    with in_memory(tmp_path / "disk", megabytes=256) as path:
        yield Disk(path, (path / "ballast").unlink)


def fill(disk: Disk) -> None:
    """Leave no room on a disk."""
    left = os.statvfs(disk.path)
    (disk.path / "ballast").write_bytes(bytes(left.f_bavail * left.f_frsize))


def spilling_to(folder: Path, durability: Literal["frame", "block"]) -> AcquisitionSettings:
    return AcquisitionSettings(
        durability=durability,
        overload="spill",
        spill=folder,
        frames_per_block=BLOCK,
        # Time for a slow disk to make the first segment.
        buffer_bytes=ByteSize(256 * LARGE.frame_bytes),
    )


def test_frames_that_the_journal_has_no_room_for_are_spilled_and_come_back(
    filled: Disk, tmp_path: Path
) -> None:
    """In their order; not a frame is dropped."""
    camera = Camera(more=AFTERWARDS)
    listener = Spilling(filled.make_room, camera)
    camera.event = listener.acted
    settings = spilling_to(tmp_path / "second", "frame")
    acquisition = prepare(camera, filled.path / RUN, settings=settings)
    fill(filled)
    status = acquisition.run(on_status=listener)
    assert listener.acted.is_set(), "nothing was spilled"
    assert (status.committed, status.dropped) == (status.counted, 0)
    assert status.counted == camera.exposures
    assert listener.missing <= IN_HAND
    check_whole(filled.path / RUN, range(camera.exposures), LARGE)


def test_frames_are_spilled_to_a_disk_smaller_than_a_segment_usually_is(
    filled: Disk, tmp_path: Path
) -> None:
    """They come back when there is room; not a frame is dropped."""
    with in_memory(tmp_path / "second", megabytes=64) as second:
        camera = Camera(more=AFTERWARDS)
        listener = Spilling(filled.make_room, camera)
        camera.event = listener.acted
        settings = spilling_to(second, "block")
        acquisition = prepare(camera, filled.path / RUN, settings=settings)
        fill(filled)
        status = acquisition.run(on_status=listener)
        assert listener.acted.is_set(), "nothing was spilled"
    assert (status.committed, status.dropped, status.counted) == (
        camera.exposures,
        0,
        camera.exposures,
    )
    check_whole(filled.path / RUN, range(camera.exposures), LARGE)


def test_what_was_spilled_for_want_of_a_journal_is_there_when_the_disk_stays_full(
    filled: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The recording ends with an error when it is told to stop; going on brings every frame."""
    stop = threading.Event()
    camera = Camera(more=100_000)
    settings = spilling_to(tmp_path / "second", "frame")
    acquisition = prepare(camera, filled.path / RUN, settings=settings, clock=FastClock())
    fill(filled)
    listener = Spilling(stop.set, camera)
    with pytest.raises(StorageError, match="no space is left"):
        acquisition.run(stop=stop, on_status=listener)
    assert stop.is_set(), "nothing was spilled"
    filled.make_room()
    told = [TOLD_LOST.search(each) for each in caplog.messages]
    (lost,) = (each for each in told if each)
    assert camera.exposures - IN_HAND <= int(lost[2]) <= camera.exposures
    nothing = ListedSource([], LARGE)
    status = prepare_again(nothing, filled.path / RUN, settings=settings).run()
    assert (status.committed, status.dropped) == (status.counted, 0)
    check_whole(filled.path / RUN, range(camera.exposures), LARGE)
