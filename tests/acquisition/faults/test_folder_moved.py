"""The folder of a run is moved away while it is written, and another run is made in its place."""

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.acquisition.faults.checks import check_committed, check_whole
from tests.acquisition.faults.recordings import RUN, SMALL, ListedSource, frame

from forebay.acquisition import AcquisitionStatus, RunWriter, acquire, open_run
from forebay.acquisition.errors import StorageError
from forebay.acquisition.format.layout import COORDINATES, FRAMES
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.row import Room
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderObject, FolderStorage

pytestmark = pytest.mark.fault

MOVED = "moved"
GONE = "its folder is not there any more"


def test_a_writer_puts_no_block_into_the_run_that_takes_the_place_of_its_own(
    tmp_path: Path,
) -> None:
    """It ends with an error, and each run holds its own frames and nothing else."""
    writer = RunWriter.create(tmp_path / RUN, SMALL, frames_per_block=2)
    for counter in range(3):
        writer.append(frame(counter))
    (tmp_path / RUN).rename(tmp_path / MOVED)
    with RunWriter.create(tmp_path / RUN, SMALL, frames_per_block=2) as other:
        for counter in range(10, 13):
            other.append(frame(counter))
        with pytest.raises(StorageError, match=GONE):
            writer.append(frame(3))
        writer.close()
        for counter in range(13, 17):
            other.append(frame(counter))
    check_whole(tmp_path / RUN, range(10, 17))
    check_committed(tmp_path / MOVED, 2)
    with RunWriter.resume(tmp_path / MOVED) as again:
        again.append(frame(2))
    check_whole(tmp_path / MOVED, range(3))


@pytest.mark.parametrize("durability", ["block", "frame"])
def test_a_recording_whose_folder_is_exchanged_ends_with_an_error(
    tmp_path: Path, durability: str
) -> None:
    """What it has committed stays in the folder that was moved; the other run is left alone."""

    def exchange(place: int) -> None:
        if place == 9:
            (tmp_path / RUN).rename(tmp_path / MOVED)
            with RunWriter.create(tmp_path / RUN, SMALL, frames_per_block=2) as other:
                for counter in range(100, 103):
                    other.append(frame(counter))

    settings = AcquisitionSettings.model_validate(
        {"durability": durability, "frames_per_block": 2, "show_seconds": 0}
    )
    with pytest.raises(StorageError, match=GONE):
        acquire(ListedSource(range(40), before=exchange), tmp_path / RUN, settings=settings)
    check_whole(tmp_path / RUN, range(100, 103))
    for array in (*COORDINATES, FRAMES):
        assert len([*(tmp_path / RUN / array).rglob("c.*")]) == 2
    assert not (tmp_path / RUN / "_forebay/journal").exists()
    RunWriter.resume(tmp_path / MOVED).close()
    counters = open_run(tmp_path / MOVED).frames.frame_id.to_numpy().tolist()
    assert counters == list(range(len(counters)))


def test_a_folder_that_is_gone_is_told_of_as_such_though_only_its_room_is_asked_for(
    tmp_path: Path,
) -> None:
    """The status, which tells how much room there is, is no place to fail."""

    unknown = threading.Event()

    def move(place: int) -> None:
        if place == 1:
            (tmp_path / RUN).rename(tmp_path / MOVED)
        if place == 4:
            # Unless the recorder has met the move by itself, and no more frames are asked for.
            assert unknown.wait(60)

    def tell(status: AcquisitionStatus) -> None:
        if status.disk_free_bytes is None:
            unknown.set()

    settings = AcquisitionSettings(frames_per_block=100)
    source = ListedSource(range(5), before=move)
    with pytest.raises(StorageError, match=GONE):
        acquire(source, tmp_path / RUN, settings=settings, on_status=tell)


def test_the_error_tells_how_many_frames_are_committed_when_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not how many were when the block was begun."""
    begun, may_commit, committed = threading.Event(), threading.Event(), threading.Event()
    new_object, append = FolderStorage.new_object, FolderStorage.append

    def new(self: FolderStorage, key: str, **options: Any) -> FolderObject:
        if key.startswith("frames/c.2"):
            begun.set()
        return new_object(self, key, **options)

    def late(self: FolderStorage, lines: bytes) -> None:
        if b'"number":1' in lines:
            assert may_commit.wait(60)
        append(self, lines)

    def tell(status: AcquisitionStatus) -> None:
        if status.committed == 4:
            committed.set()

    def move(place: int) -> None:
        if place == 5:
            assert begun.wait(60)
            may_commit.set()
            assert committed.wait(60)
            (tmp_path / RUN).rename(tmp_path / MOVED)

    monkeypatch.setattr(FolderStorage, "new_object", new)
    monkeypatch.setattr(FolderStorage, "append", late)
    settings = AcquisitionSettings(frames_per_block=2, show_seconds=1000)
    source = ListedSource(range(10), before=move)
    with pytest.raises(StorageError, match=rf"\(the 4 frames before it stay readable\): {GONE}"):
        acquire(source, tmp_path / RUN, settings=settings, on_status=tell)


def test_a_journal_makes_no_segment_in_a_folder_that_takes_the_place_of_its_own(
    tmp_path: Path,
) -> None:
    """It ends with an error; what it has stays where its folder is now."""
    folder = tmp_path / "journal"
    identity = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
    room = Room(capacity_bytes=2**20, segment_bytes=16_384)
    with FrameJournal(folder, run_id=identity, geometry=SMALL, epoch=1, room=room) as journal:
        journal.append(frame(0))
        folder.rename(tmp_path / MOVED)
        folder.mkdir()
        with pytest.raises(StorageError, match=GONE):
            all(journal.append(frame(counter)) for counter in range(1, 1000))
        assert list(folder.iterdir()) == []
