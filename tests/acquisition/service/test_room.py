"""A recording whose length is known begins only where the disk lasts for it."""

import threading
from pathlib import Path

import numpy as np
import pytest
from pydantic import ByteSize

from forebay.acquisition import Geometry, RunWriter, acquire
from forebay.acquisition.control import running_acquisitions
from forebay.acquisition.errors import NoSpaceError
from forebay.acquisition.reduction import ReductionSettings
from forebay.acquisition.service.prepare import prepare, prepare_again
from forebay.acquisition.service.room import Wanted, check_room, shortage
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sources import open_source
from forebay.acquisition.storage.room import free_bytes

FRAME = Geometry(("y", "x"), (1024, 1024), np.dtype("uint16"))
SMALL_FRAME = Geometry(("y", "x"), (64, 64), np.dtype("uint16"))
SMALL = AcquisitionSettings(frames_per_block=1, buffer_bytes=ByteSize(16 * 2**20))


@pytest.fixture(autouse=True)
def _sockets_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base := tmp_path / ".runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))


def part_of_the_room(path: Path, part: float) -> int:
    """Return how many frames take that part of what is free."""
    return int(free_bytes(path) * part / FRAME.frame_bytes)


def check(path: Path, part: float, settings: AcquisitionSettings = SMALL) -> None:
    frames = part_of_the_room(path, part)
    check_room(
        path / "run", frames, came=FRAME, recorded=FRAME, settings=settings, frames_per_block=1
    )


def test_a_source_that_knows_its_length_is_refused_as_well(tmp_path: Path) -> None:
    """As a recording that is replayed does; nobody has to declare it."""
    with (
        open_source("simulated:shape=64x64", frames=10**13) as source,
        pytest.raises(NoSpaceError, match="10000000000000 frames need"),
    ):
        acquire(source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_taken_up_again_for_more_than_there_is_room_for(tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "run", SMALL_FRAME, frames_per_block=1).abandon()
    with (
        open_source("simulated:shape=64x64", frames=10**13) as source,
        pytest.raises(NoSpaceError, match="frames need"),
    ):
        prepare_again(source, tmp_path / "run", settings=SMALL)


def test_frames_that_are_kept_raw_take_room_too(tmp_path: Path) -> None:
    check(tmp_path, 0.7)
    raw = SMALL.model_copy(update={"reduction": ReductionSettings(keep_raw_every=1)})
    with pytest.raises(NoSpaceError):
        check(tmp_path, 0.7, raw)


def test_the_frame_journal_takes_room_too(tmp_path: Path) -> None:
    """As much as a frame at the least."""
    rows = int(free_bytes(tmp_path) * 0.6 / 2**21)
    huge = Geometry(("y", "x"), (rows, 2**20), np.dtype("uint16"))
    check_room(tmp_path, 1, came=huge, recorded=huge, settings=SMALL, frames_per_block=1)
    journalled = SMALL.model_copy(update={"durability": "frame"})
    with pytest.raises(NoSpaceError, match="choose durability = 'block'"):
        check_room(tmp_path, 1, came=huge, recorded=huge, settings=journalled, frames_per_block=1)


def test_what_compressed_frames_take_is_not_known_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = SMALL.model_copy(update={"compression": "blosc-lz4"})
    check(tmp_path, 1.5, packed)
    assert "uncompressed" in caplog.text


def test_other_recordings_on_the_disk_are_counted(tmp_path: Path) -> None:
    """With what they will still take; afterwards there is as much room as before."""
    half = part_of_the_room(tmp_path, 0.6)
    begun, stop = threading.Event(), threading.Event()
    with open_source("simulated:shape=1024x1024", frames=half) as source:
        first = prepare(source, tmp_path / "first", settings=SMALL)
        going = threading.Thread(
            target=first.run,
            kwargs={"armed": True, "stop": stop, "on_status": lambda _: begun.set()},
        )
        going.start()
        try:
            assert begun.wait(60)
            (status,) = running_acquisitions()
            assert status["bytes_to_come"] >= half * FRAME.frame_bytes
            assert shortage([Wanted(tmp_path, 1)], but=status["run_id"]) is None
            with pytest.raises(NoSpaceError, match=r"beside .* for other recordings"):
                check(tmp_path, 0.6)
        finally:
            stop.set()
            going.join()
    check(tmp_path, 0.6)
