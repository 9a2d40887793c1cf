"""Frames that find no block go by way of a second disk, and come back in their order."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.acquisition.service.standing_disk import (
    FRAMES,
    SECONDS,
    Camera,
    disk,
    ids,
    record,
    rings,
)

from forebay.acquisition import (
    AcquisitionStatus,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import NoSpaceError, StorageError
from forebay.acquisition.journal import spill
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.service.flow import RING_FULL
from forebay.acquisition.service.overflow import DAMAGED_SPILL
from forebay.acquisition.service.prepare import prepare
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderStorage

__all__ = ["disk", "rings"]

LOW = {"high_watermark": 0.1, "low_watermark": 0.05}
"""Marks that a frame that waits is above of."""


def test_frames_on_the_second_path_are_counted(
    tmp_path: Path, disk: threading.Event, rings: list[FrameRing]
) -> None:
    """Whoever asks meanwhile is told of every frame that the camera counted."""
    camera = Camera(rings=rings)
    settings = AcquisitionSettings.model_validate(
        {
            "frames_per_block": 4,
            "buffer_bytes": 1,
            "blocks_in_flight": 2,
            "overload": "spill",
            "spill": tmp_path / "second",
            **LOW,
        }
    )
    acquisition = prepare(camera, tmp_path / "run", settings=settings)
    recording = threading.Thread(target=acquisition.run)
    recording.start()
    try:
        assert camera.delivered.wait(SECONDS)
        # The recorder may have one of them in its hands.
        deadline = time.monotonic() + SECONDS
        while (status := acquisition.status()).counted < FRAMES and time.monotonic() < deadline:
            assert not camera.go_on.wait(0.01)
        assert (status.committed, status.dropped, status.counted) == (0, 0, FRAMES)
        assert status.spilled_frames > FRAMES // 2
    finally:
        disk.set()
        camera.go_on.set()
        recording.join(SECONDS)
    assert ids(open_run(tmp_path / "run")) == list(range(FRAMES + 1))


def test_spill_loses_nothing(tmp_path: Path, disk: threading.Event, rings: list[FrameRing]) -> None:
    """Frames go to the second path and come back in order; nothing is left there."""
    run, status, _ = record(
        tmp_path / "run",
        Camera(rings=rings),
        disk,
        overload="spill",
        spill=tmp_path / "second",
        **LOW,
    )
    assert ids(run) == list(range(FRAMES + 1))
    assert status.dropped == 0
    assert not [path for path in (tmp_path / "second").rglob("*") if path.is_file()]


@pytest.mark.parametrize("last_frames", [0, 1])
def test_a_second_path_that_goes_away_costs_what_it_held_and_no_more(
    tmp_path: Path,
    disk: threading.Event,
    rings: list[FrameRing],
    last_frames: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The recording goes on without it, and each of those frames is written down."""
    camera, second = Camera(rings=rings), tmp_path / "second"
    camera.frames_at_the_end = last_frames
    settings = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2}
    spilling = {"overload": "spill", "spill": second, **LOW}

    def pull_out() -> None:
        assert camera.delivered.wait(SECONDS)
        shutil.rmtree(second)
        disk.set()
        camera.go_on.set()

    puller = threading.Thread(target=pull_out)
    puller.start()
    status = acquire(
        camera, tmp_path / "run", settings=AcquisitionSettings.model_validate(settings | spilling)
    )
    puller.join()
    run = open_run(tmp_path / "run")
    assert run.closed
    assert verify_run(run).ok
    assert status.committed + status.dropped == status.counted == FRAMES + last_frames
    dropped = [n for each in run.dropped for n in range(each.first, each.last + 1)]
    assert sorted([*ids(run), *dropped]) == list(range(FRAMES + last_frames))
    assert set(status.dropped_by_reason) == {DAMAGED_SPILL}
    assert "no frame is spilled any more" in caplog.text


def test_a_second_path_that_has_no_room_for_a_frame_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there is a run: nobody is to rely on it."""
    monkeypatch.setattr(spill, "free_bytes", lambda _: 2**20)
    settings = AcquisitionSettings(overload="spill", spill=tmp_path / "second")
    with pytest.raises(NoSpaceError, match=r"second, has 1\.0 MiB free"):
        acquire(Camera(), tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_a_second_path_without_hard_links_is_refused_before_a_run_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when the first frame is to be spilled, which may be days later."""
    settings = AcquisitionSettings(overload="spill", spill=tmp_path / "second")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        with pytest.raises(StorageError, match=r"folder of spilled frames, .*hard links"):
            acquire(Camera(), tmp_path / "run", settings=settings)
    assert list(tmp_path.rglob("*")) == [tmp_path / "second"]


def test_a_second_path_that_cannot_be_made_leaves_no_run_behind(tmp_path: Path) -> None:
    """The same name can be taken when the folder is put right."""
    (tmp_path / "file").touch()
    settings = AcquisitionSettings(overload="spill", spill=tmp_path / "file" / "second")
    with pytest.raises(StorageError, match="folder of spilled frames"):
        acquire(Camera(), tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_spill_and_reduction_go_together(
    tmp_path: Path, disk: threading.Event, rings: list[FrameRing]
) -> None:
    """What comes back is reduced like everything else."""
    run, status, _ = record(
        tmp_path / "run",
        Camera(rings=rings),
        disk,
        overload="spill",
        spill=tmp_path / "second",
        **LOW,
        reduction={"steps": ["region:0:2,1:3"]},
    )
    assert run.frames.shape == (FRAMES + 1, 2, 2)
    assert ids(run) == list(range(FRAMES + 1))
    assert status.dropped == 0


def test_a_disk_that_fails_while_frames_are_spilled_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rings: list[FrameRing]
) -> None:
    """With its error; what was spilled stays, to be merged back when the run is resumed."""
    camera = Camera(rings=rings)

    def failing(self: FolderStorage, objects: Any) -> None:
        assert camera.delivered.wait(SECONDS)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(FolderStorage, "publish", failing)
    spilling = {"overload": "spill", "spill": tmp_path / "second", **LOW}
    known = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2}
    with pytest.raises(StorageError, match="the device reported an I/O error"):
        acquire(
            camera,
            tmp_path / "run",
            settings=AcquisitionSettings.model_validate({**known, **spilling}),
        )
    assert not open_run(tmp_path / "run").closed
    assert list((tmp_path / "second").rglob("*.segment"))


def test_a_spill_that_is_full_drops_and_says_so(
    tmp_path: Path, disk: threading.Event, rings: list[FrameRing]
) -> None:
    """The second path has a bound as well; then the ring fills, and frames are written down."""
    camera = Camera(400, rings=rings, patience=3.0)
    known = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2}
    small = {"overload": "spill", "spill": tmp_path / "second", "spill_bytes": 40_000}
    settings = AcquisitionSettings.model_validate({**known, **small, **LOW})

    def move() -> None:
        assert camera.delivered.wait(SECONDS)
        disk.set()
        camera.go_on.set()

    mover = threading.Thread(target=move)
    mover.start()
    told: list[AcquisitionStatus] = []
    status = acquire(camera, tmp_path / "run", settings=settings, on_status=told.append)
    mover.join()
    for name in ("dropped", "counted", "committed"):
        counts = [getattr(each, name) for each in told]
        assert counts == sorted(counts)
    assert all(each.committed + each.dropped <= each.counted for each in told)
    taken = ids(open_run(tmp_path / "run"))
    assert status.committed + status.dropped == status.counted == 401
    assert 12 < len(taken) < 400
    assert status.dropped_by_reason == {RING_FULL: status.dropped}
