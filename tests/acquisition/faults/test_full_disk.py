"""The disk fills while a run is recorded: frames wait, then are dropped and written down."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from forebay.acquisition import Geometry, RunWriter, acquire, open_run, verify_run
from forebay.acquisition.clock import SystemClock
from forebay.acquisition.errors import StorageError
from tests.acquisition.faults.checks import check_committed, check_whole
from tests.acquisition.faults.disks import in_memory, make_image, mounted_image
from tests.acquisition.faults.recordings import RUN, ListedSource

pytestmark = pytest.mark.fault

LARGE = Geometry(("y", "x"), (256, 256), np.dtype("uint16"))
BLOCK = 4
BLOCK_BYTES = BLOCK * LARGE.frame_bytes
BUFFER_BYTES = 16 * LARGE.frame_bytes
WHILE_FULL = 60
"""Frames that come while the disk is full: more than the buffer and the blocks in flight hold."""
AFTERWARDS = 60
LONGEST_WAIT = 60.0


class FastClock(SystemClock):
    """A clock on which waiting for seconds takes much less."""

    def monotonic(self) -> float:
        """Seconds that pass twenty times as fast."""
        return super().monotonic() * 20


@dataclass
class Disk:
    """A disk with something on it that can be removed."""

    path: Path
    is_full: Callable[[], bool]
    make_room: Callable[[], object]


@dataclass
class Watch:
    """Counts the frames that come, before and while a disk is full, and then acts."""

    disk: Disk
    act: Callable[[], object]
    more: int = 0
    """Frames that come afterwards."""
    came: int = 0
    full_since: int | None = None
    acted_at: int | None = None
    enough: Callable[[], object] = field(default=lambda: None)

    def __call__(self, place: int) -> None:
        """Take notice of a frame that is to come."""
        # The camera's pace, which leaves the writers some time.
        time.sleep(0.001)
        self.came = place
        if self.full_since is None:
            if self.disk.is_full():
                self.full_since = place
        elif self.acted_at is None:
            if place >= self.full_since + WHILE_FULL:
                self.acted_at = place
                self.act()
        elif place >= self.acted_at + self.more:
            self.enough()


@pytest.fixture
def without_bytes(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 64 MB in memory, most of which is taken."""
    with in_memory(tmp_path / "disk", megabytes=64) as path:
        (ballast := path / "ballast").write_bytes(bytes(52 << 20))

        def is_full() -> bool:
            status = os.statvfs(path)
            return status.f_bavail * status.f_bsize < BLOCK_BYTES

        yield Disk(path, is_full, ballast.unlink)


@pytest.fixture
def without_inodes(tmp_path: Path) -> Iterator[Disk]:
    """A disk with plenty of room, and room for few files."""
    image = make_image(tmp_path / "image", "ext4", "-N", "128")
    with mounted_image(image, tmp_path / "disk", "ext4") as path:
        (ballast := path / "ballast").mkdir()
        for number in range(40):
            (ballast / str(number)).touch()

        def make_room() -> None:
            for each in ballast.iterdir():
                each.unlink()

        yield Disk(path, lambda: os.statvfs(path).f_favail < 4, make_room)


@pytest.fixture(params=["without_bytes", "without_inodes"])
def disk(request: pytest.FixtureRequest) -> Disk:
    """A disk that will be full."""
    disk: Disk = request.getfixturevalue(request.param)
    return disk


def test_a_camera_that_cannot_wait_loses_frames_only_while_the_disk_is_full(disk: Disk) -> None:
    """When room is made the recording goes on to its end; what was lost is written down."""
    watch = Watch(disk, act=disk.make_room, more=AFTERWARDS)
    source = ListedSource(range(100_000), LARGE, can_wait=False, before=watch)
    watch.enough = source.stop
    status = acquire(
        source, disk.path / RUN, frames_per_block=BLOCK, buffer_bytes=BUFFER_BYTES
    )
    assert watch.acted_at, "the disk was never full"
    assert status.dropped > 0
    assert status.committed + status.dropped == status.counted == watch.came
    check_whole(disk.path / RUN, range(watch.came), LARGE)
    counters = open_run(disk.path / RUN).frames.frame_id.to_numpy()
    assert counters[-1] > watch.acted_at, "nothing was recorded after room was made"
    dropped = open_run(disk.path / RUN).dropped
    assert all(each.reason for each in dropped)
