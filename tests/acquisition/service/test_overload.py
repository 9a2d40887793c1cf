"""When the disk is slower than the camera: by each policy, and the accounts close."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ByteSize
from tests.acquisition.service.standing_disk import (
    FRAMES,
    SECONDS,
    SHAPE,
    Camera,
    disk,
    ids,
    record,
    rings,
)

from forebay.acquisition import (
    AcquisitionStatus,
    Frame,
    FrameFlag,
    Geometry,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.control import ClosedEvent, ControlClient
from forebay.acquisition.errors import NoSpaceError, SourceError
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.recorder.blocks import BlocksInFlight
from forebay.acquisition.run.writing.account import NOT_DELIVERED
from forebay.acquisition.run.writing.create import create_run
from forebay.acquisition.service.flow import OVERTAKEN, RING_FULL, Watermarks
from forebay.acquisition.service.prepare import prepare
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage import room
from forebay.acquisition.storage.room import CountedRoom, Filling

__all__ = ["disk", "rings"]


def test_drop_newest_keeps_what_came_first(tmp_path: Path, disk: threading.Event) -> None:
    """What found no room is written down; the ring is three blocks of four frames."""
    run, status, _ = record(tmp_path / "run", Camera(), disk, overload="drop-newest")
    taken = ids(run)
    assert taken[:12] == list(range(12))
    assert {each.reason for each in run.dropped} == {RING_FULL}
    assert status.dropped_by_reason == {RING_FULL: FRAMES + 1 - len(taken)}


def test_drop_oldest_keeps_what_came_last(tmp_path: Path, disk: threading.Event) -> None:
    """Of those that wait the latest are kept."""
    run, status, _ = record(
        tmp_path / "run", Camera(), disk, overload="drop-oldest", buffer_bytes=20 * 24
    )
    taken = ids(run)
    assert status.ring_slots == 20
    assert taken[-11:-1] == list(range(FRAMES - 10, FRAMES))
    assert {each.reason for each in run.dropped} == {OVERTAKEN}


def test_decimate_keeps_every_so_many_frames(tmp_path: Path, disk: threading.Event) -> None:
    """From the high watermark on: the picture goes on, at a lower rate, as long as there is room."""
    run, _, _ = record(
        tmp_path / "run", Camera(), disk, overload="decimate", keep_every=5, buffer_bytes=30 * 24
    )
    taken = ids(run)
    behind = [counter for counter in taken if 30 < counter < FRAMES]
    assert behind
    assert all(counter % 5 == 0 for counter in behind)
    assert any("one frame of 5 was kept" in each.reason for each in run.dropped)


@pytest.mark.parametrize("policy", ["drop-newest", "drop-oldest", "decimate"])
def test_what_is_dropped_is_written_down_with_the_time_at_which_it_was(
    tmp_path: Path, disk: threading.Event, policy: str
) -> None:
    """And not at which the recorder comes to it, which a ring of minutes puts off by minutes."""
    camera = Camera()
    run, _, _ = record(tmp_path / "run", camera, disk, overload=policy)
    # The last frame comes later, and may drop one more.
    assert run.dropped[0].at <= camera.delivered_at


class Losing(Camera):
    """Loses the frame 30 itself."""

    def frames(self) -> Iterator[Frame]:
        return (frame for frame in super().frames() if frame.counter != 30)


def test_what_the_camera_lost_has_the_time_at_which_that_could_be_seen(
    tmp_path: Path, disk: threading.Event
) -> None:
    """When the next frame came into the ring, however long it stays there."""
    camera = Losing()
    run, _, _ = record(tmp_path / "run", camera, disk, overload="drop-newest", buffer_bytes=2**20)
    (lost,) = run.dropped
    assert (lost.first, lost.last, lost.reason) == (30, 30, NOT_DELIVERED)
    assert lost.at <= camera.delivered_at


def test_followers_are_told_the_reason_that_stands_in_the_run(
    tmp_path: Path, disk: threading.Event
) -> None:
    """The recorder ends as well where the source has; that is not why."""
    disk.set()
    camera = Camera(can_wait=True)
    acquisition = prepare(camera, tmp_path / "run", settings=AcquisitionSettings())
    recording = threading.Thread(target=acquisition.run)
    recording.start()
    assert camera.delivered.wait(SECONDS)
    with ControlClient(open_run(tmp_path / "run").run_id) as client:
        events = client.events(threading.Event())
        next(events)
        camera.go_on.set()
        told = list(events)
    recording.join(SECONDS)
    assert told[-1] == ClosedEvent(reason="the source ended")
    closed = open_run(tmp_path / "run").history.closed
    assert closed is not None
    assert closed.reason == "the source ended"


def test_reduce_marks_the_frames_that_it_reduced(tmp_path: Path, disk: threading.Event) -> None:
    """The first step drops the low bits; each such frame says so in its flags, and only they."""
    run, _, _ = record(
        tmp_path / "run",
        Camera(),
        disk,
        overload="reduce",
        reduction={"overload_steps": ["bit-depth:14"]},
        buffer_bytes=30 * 24,
    )
    flags = run.frames.flags.to_numpy()
    reduced = flags == int(FrameFlag.REDUCED | FrameFlag.OVERLOAD_STEP_1)
    assert reduced.any()
    assert (flags[~reduced] == 0).all()
    low = run.frames.to_numpy()[:, 0, 0] % 4
    np.testing.assert_array_equal(low, np.where(reduced, 0, 1))
    steps = run.layout.provenance["overload_reduction"]
    assert "bit-depth" in str(steps)


def test_block_holds_a_source_that_can_wait(tmp_path: Path, disk: threading.Event) -> None:
    """Nothing is dropped, and the source has not delivered more than the ring holds."""
    camera = Camera(can_wait=True)
    threading.Timer(0.3, disk.set).start()
    camera.go_on.set()
    settings = AcquisitionSettings(frames_per_block=4, buffer_bytes=ByteSize(1), overload="block")
    flows: list[str] = []
    status = acquire(
        camera,
        tmp_path / "run",
        settings=settings,
        on_status=lambda status: flows.append(status.flow),
    )
    assert (status.committed, status.dropped) == (FRAMES + 1, 0)
    assert ids(open_run(tmp_path / "run")) == list(range(FRAMES + 1))


def test_a_source_that_cannot_wait_cannot_be_blocked(tmp_path: Path) -> None:
    """That is said before anything is made."""
    with pytest.raises(SourceError, match=r"cannot be held up.*choose spill, reduce"):
        acquire(Camera(), tmp_path / "run", overload="block")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["pwritev", "link", "write"])
def test_a_full_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whatever call finds no room: when there is some, all goes on, and nothing is lost."""
    camera = Camera(can_wait=True)
    camera.go_on.set()
    original = getattr(os, call)
    refused: list[str] = []
    begun = threading.Event()

    def full(*args: Any, **options: Any) -> Any:
        if begun.is_set() and len(refused) < 3:
            refused.append(call)
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **options)

    monkeypatch.setattr(os, call, full)

    def tell(status: AcquisitionStatus) -> None:
        if status.committed:
            begun.set()

    status = acquire(
        camera,
        tmp_path / "run",
        settings=AcquisitionSettings(frames_per_block=4, buffer_bytes=ByteSize(1), show_seconds=0),
        on_status=tell,
    )
    assert len(refused) == 3
    assert (status.committed, status.dropped) == (FRAMES + 1, 0)
    run = open_run(tmp_path / "run")
    assert ids(run) == list(range(FRAMES + 1))
    assert verify_run(run).ok


LITTLE = 20_000
"""Bytes: more than nine frames of a block of a thousand need, and less than all of them."""


def test_a_short_block_needs_no_more_room_than_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk has room for the run and not for a whole block."""
    camera = Camera(8, can_wait=True)
    camera.go_on.set()
    begin = CountedRoom.begin
    wanted: list[int] = []

    def begun[F: Filling](counted: CountedRoom, size: int, create: Callable[[], F]) -> F:
        wanted.append(size)
        return begin(counted, size, create)

    monkeypatch.setattr(CountedRoom, "begin", begun)
    monkeypatch.setattr(room, "free_bytes", lambda _: LITTLE)
    status = acquire(camera, tmp_path / "run", frames_per_block=1000)
    assert (status.committed, status.dropped) == (9, 0)
    assert wanted[0] > LITTLE > wanted[-1]
    assert ids(open_run(tmp_path / "run")) == list(range(9))


def test_a_disk_is_full_until_all_that_waits_has_found_room(tmp_path: Path) -> None:
    """What needs little and finds room does not say that there is some for the others."""
    layout = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
    run = create_run(
        tmp_path / "run",
        layout,
        metadata=None,
        frames_per_block=4,
        compression="none",
        clock=SYSTEM_CLOCK,
    )
    blocks = BlocksInFlight(
        run,
        most=2,
        on_stored=lambda _: None,
        on_commit=lambda _: None,
        on_failure=lambda: None,
        on_full=lambda: None,
        clock=SYSTEM_CLOCK,
        patience=20,
        on_thread=lambda _: None,
    )
    freed = threading.Event()

    def large() -> None:
        if not freed.is_set():
            raise NoSpaceError("no room")

    waiting = threading.Thread(target=lambda: blocks.until_ready(large))
    waiting.start()
    deadline = time.monotonic() + SECONDS
    while not blocks.not_ready and time.monotonic() < deadline:
        time.sleep(0.001)
    blocks.until_ready(lambda: None)
    full = blocks.not_ready
    freed.set()
    waiting.join()
    assert full
    assert not blocks.not_ready
    blocks.abandon()


def test_a_disk_that_stays_full_ends_the_run_when_the_source_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After some patience; what was committed is there, and the run can be resumed."""
    from forebay.acquisition.service import acquisition

    monkeypatch.setattr(acquisition, "_PATIENCE_SECONDS", 0.5)
    camera = Camera(8, can_wait=True)
    camera.go_on.set()
    original = os.pwritev

    def full(descriptor: int, *args: Any) -> int:
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if name.endswith("frames.c.1.0.0"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(descriptor, *args)

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(NoSpaceError, match=r"block 1 of .*: no space is left"):
        acquire(camera, tmp_path / "run", frames_per_block=4)
    assert "5 of the 9 frames that the camera counted are not committed" in caplog.text
    run = open_run(tmp_path / "run")
    assert not run.closed
    assert ids(run) == list(range(4))


def test_the_frame_journal_gives_up_what_is_committed_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever kills the recorder then finds every other frame there."""
    freed: list[tuple[int, int]] = []
    free = FrameJournal.free_through

    def noted(self: FrameJournal, counter: int) -> None:
        freed.append((counter, open_run(tmp_path / "run").history.frames))
        free(self, counter)

    monkeypatch.setattr(FrameJournal, "free_through", noted)
    camera = Camera(11, can_wait=True)
    camera.go_on.set()
    settings = AcquisitionSettings(frames_per_block=4, durability="frame")
    acquire(camera, tmp_path / "run", settings=settings)
    assert freed[-1] == (11, 12)
    assert all(counter % 4 == 3 and counter < committed for counter, committed in freed)


def test_too_little_room_for_the_declared_run_is_said_before_it_begins(tmp_path: Path) -> None:
    """With how much is needed and how much there is."""
    with pytest.raises(NoSpaceError, match=r"frames need [\d.]+ \w+B and .* has [\d.]+ \w+B free"):
        acquire(Camera(), tmp_path / "new" / "run", expected_frames=10**15)
    assert list(tmp_path.iterdir()) == []


def test_watermarks_have_hysteresis() -> None:
    """Between the marks it stays as it was."""
    marks = Watermarks(high=0.8, low=0.5)
    fills = [0.0, 0.79, 0.8, 0.6, 0.51, 0.5, 0.79, 1.0]
    assert [marks.above(fill) for fill in fills] == [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
        True,
    ]
