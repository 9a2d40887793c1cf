"""A journal holds frames in order until they are freed, and says what a power cut would leave."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acquisition.journal.conftest import Make, Open

from forebay.acquisition import Dropped, Frame, FrameFlag, Geometry, durable
from forebay.acquisition.errors import NoSpaceError, RunExistsError, StorageError
from forebay.acquisition.journal.folder import remove_journal
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.reading import read_journal
from forebay.acquisition.journal.row import Room

RUN_ID = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def counters(folder: Path, **options: Any) -> list[int]:
    read = read_journal(folder, run_id=RUN_ID, **options)
    return [each.counter for each in read if isinstance(each, Frame)]


def test_frames_and_drops_are_read_back_in_order(open_journal: Open, frame: Make) -> None:
    """Pixels, counters, times, flags and the reasons of what was dropped, over several segments."""
    lost = Dropped(2, 4, "the buffer was full (ü)", 77)
    with open_journal() as journal:
        assert journal.append(frame(0))
        assert journal.append(frame(1, FrameFlag.SATURATED | FrameFlag.OVERLOAD_STEP_8))
        assert journal.append(frame(5), dropped=[lost])
        assert journal.append(frame(6))
        assert journal.drop(Dropped(7, 7, "again", 78))
    read = list(read_journal(journal.folder, run_id=RUN_ID))
    assert [each for each in read if isinstance(each, Dropped)] == [
        lost,
        Dropped(7, 7, "again", 78),
    ]
    taken = [each for each in read if isinstance(each, Frame)]
    assert [each.counter for each in taken] == [0, 1, 5, 6]
    assert [each.timestamp for each in taken] == [0, 1000, 5000, 6000]
    assert [int(each.flags) for each in taken] == [0, 1 | 1 << 23, 0, 0]
    assert [type(each).__name__ for each in read] == [
        "Frame",
        "Frame",
        "Dropped",
        "Frame",
        "Frame",
        "Dropped",
    ]
    for each in taken:
        np.testing.assert_array_equal(each.data, frame(each.counter).data)


@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "float32", "float64"])
def test_every_kind_of_pixel_is_kept(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Also pixels of the other byte order, and frames that do not lie in C order."""
    geometry = Geometry(("c", "y", "x")[-len(shape) :], shape, np.dtype(dtype).newbyteorder("="))
    pixels = np.asfortranarray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    room = Room(capacity_bytes=20_000)
    with FrameJournal(tmp_path, run_id=RUN_ID, geometry=geometry, epoch=1, room=room) as journal:
        journal.append(Frame(2**64 - 1, -(2**63), pixels))
    (read,) = read_journal(tmp_path, run_id=RUN_ID)
    assert isinstance(read, Frame)
    assert (read.counter, read.timestamp, read.data.dtype) == (2**64 - 1, -(2**63), geometry.dtype)
    np.testing.assert_array_equal(read.data, pixels)


def test_segments_hold_so_many_frames_and_carry_epoch_and_number(
    open_journal: Open, frame: Make
) -> None:
    with open_journal(epoch=7) as journal:
        for counter in range(7):
            assert journal.append(frame(counter))
        assert journal.bytes == 3 * (4096 + 3 * 128)
    segments = [f"00000007-0000000{number}.segment" for number in range(3)]
    assert names(journal.folder) == segments
    assert {path.stat().st_size for path in journal.folder.iterdir()} == {4096 + 3 * 128}


def test_a_frame_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    geometry = Geometry(("y", "x"), (100, 100), np.dtype("uint8"))
    room = Room(capacity_bytes=100_000, segment_bytes=5_000)
    with FrameJournal(tmp_path, run_id=RUN_ID, geometry=geometry, epoch=1, room=room) as journal:
        for counter in range(3):
            assert journal.append(Frame(counter, 0, np.zeros((100, 100), "uint8")))
    assert len(names(tmp_path)) == 3
    assert counters(tmp_path) == [0, 1, 2]


def test_too_little_room_is_refused_at_once(tmp_path: Path) -> None:
    geometry = Geometry(("y", "x"), (100, 100), np.dtype("uint8"))
    with pytest.raises(
        StorageError, match=r"20000 bytes are too few .* two segments of 14208 bytes"
    ):
        FrameJournal(tmp_path, run_id=RUN_ID, geometry=geometry, epoch=1, room=Room(20_000))


def test_nothing_is_added_beyond_the_capacity_until_something_is_freed(
    open_journal: Open, frame: Make
) -> None:
    """The frame that found no room can be added later, and is there once."""
    with open_journal(records=2, segments=3) as journal:
        for counter in range(6):
            assert journal.append(frame(counter))
        assert not journal.append(frame(6))
        assert not journal.drop(Dropped(6, 6, "no room", 0))
        journal.free_through(1)
        assert journal.append(frame(6))
        assert counters(journal.folder) == [2, 3, 4, 5, 6]


def test_only_whole_segments_are_freed_and_never_the_current_one(
    open_journal: Open, frame: Make
) -> None:
    with open_journal() as journal:
        for counter in range(8):
            journal.append(frame(counter))
        for freed, left in [(1, 0), (2, 3), (4, 3), (5, 6), (100, 6)]:
            journal.free_through(freed)
            assert counters(journal.folder) == [*range(left, 8)]
        journal.append(frame(8))
        journal.append(frame(109))
        assert counters(journal.folder) == [109]
        journal.remove()
        with pytest.raises(StorageError, match="has ended"):
            journal.append(frame(110))
    assert not journal.folder.exists()


def test_the_oldest_goes_for_good_before_the_next_one_goes(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut in between leaves no gap in the row, which would look like damage."""
    left: list[list[str]] = []
    flush_folder = durable.flush_folder

    def flushed(folder: Path) -> None:
        left.append([name[9:17] for name in names(folder)])
        flush_folder(folder)

    with open_journal(records=1, segments=6) as journal:
        for counter in range(5):
            journal.append(frame(counter))
        monkeypatch.setattr(durable, "flush_folder", flushed)
        journal.free_through(1)
    remove_journal(journal.folder)
    segments = [f"{number:08d}" for number in range(5)]
    assert left == [segments[gone:] for gone in range(1, 6)]


def test_a_freed_segment_is_written_again(open_journal: Open, frame: Make) -> None:
    """The file is the same, and what it held before is not read as if it were new."""
    with open_journal(spares=1) as journal:
        for counter in range(6):
            journal.append(frame(counter))
        inode = (journal.folder / "00000001-00000000.segment").stat().st_ino
        journal.free_through(2)
        assert "00000001-00000000.spare" in names(journal.folder)
        before = journal.bytes
        journal.append(frame(6))
        assert journal.bytes == before
        assert (journal.folder / "00000001-00000002.segment").stat().st_ino == inode
        assert counters(journal.folder) == [3, 4, 5, 6]


def test_room_is_made_beforehand_only_within_the_capacity(open_journal: Open, frame: Make) -> None:
    with open_journal(records=2, segments=3) as journal:
        for counter in range(6):
            journal.append(frame(counter))
        full = journal.bytes
        journal.prepare()
        assert journal.bytes == full
        assert not any(name.endswith(".spare") for name in names(journal.folder))


def test_room_that_was_not_found_beforehand_is_looked_for_again(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal() as journal:
        for counter in range(3):
            journal.append(frame(counter))
        with monkeypatch.context() as patch:
            failing(patch, "posix_fallocate", 28)
            journal.prepare()
        assert names(journal.folder) == ["00000001-00000000.segment"]
        journal.prepare()
        assert names(journal.folder) == ["00000001-00000000.segment", "ahead.spare"]


def test_an_entry_larger_than_a_spare_gets_a_segment_of_its_own(
    open_journal: Open, frame: Make
) -> None:
    """Its room is taken at once, as that of every segment."""
    dropped = [Dropped(10 * each, 10 * each + 8, "lost", 0) for each in range(1, 5)]
    with open_journal(spares=1, segments=6) as journal:
        for counter in range(6):
            journal.append(frame(counter))
        journal.free_through(2)
        journal.append(frame(50), dropped=dropped)
        assert "00000001-00000000.spare" in names(journal.folder)
        assert (journal.folder / "00000001-00000002.segment").stat().st_size == 4096 + 5 * 128


def test_the_next_writer_takes_no_spare_and_leaves_the_segments(
    open_journal: Open, frame: Make
) -> None:
    """After a power cut a spare and a segment may be the same file."""
    with open_journal(spares=1) as journal:
        for counter in range(4):
            journal.append(frame(counter))
        journal.free_through(2)
    (journal.folder / "aside").write_bytes(b"")
    with open_journal(epoch=2) as second:
        assert names(second.folder) == ["00000001-00000001.segment"]
        second.append(frame(4))
    assert counters(second.folder) == [3, 4]
    remove_journal(second.folder, before_epoch=2)
    assert counters(second.folder) == [4]


def test_frames_of_two_epochs_are_read_once(open_journal: Open, frame: Make) -> None:
    """A writer that journals again what it found may be killed before it removes the old ones."""
    with open_journal(epoch=1) as journal:
        for counter in (3, 4, 5):
            journal.append(frame(counter))
        journal.drop(Dropped(6, 8, "lost", 1))
    with open_journal(epoch=2) as journal:
        for counter in (3, 4):
            journal.append(frame(counter))
        journal.append(frame(10), dropped=[Dropped(7, 9, "lost", 1)])
    read = list(read_journal(journal.folder, run_id=RUN_ID, after=3))
    assert read[1:] == [read[1], Dropped(6, 8, "lost", 1), Dropped(9, 9, "lost", 1), read[-1]]
    _, last = read_journal(journal.folder, run_id=RUN_ID, after=8)
    assert isinstance(last, Frame)
    assert last.counter == 10


def test_a_checksum_that_is_known_is_not_made_again(open_journal: Open, frame: Make) -> None:
    """It is the CRC-32C that Zarr stores behind an uncompressed frame."""
    with open_journal() as journal:
        journal.append(frame(0), checksum=12345)
        journal.append(frame(1))
    assert counters(journal.folder) == []


def test_the_order_of_what_is_made_durable(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment has its room and its head before its name, and its name before its first frame."""
    calls: list[str] = []

    def watch(call: str) -> None:
        original = getattr(os, call)

        def watched(what: Any, *rest: Any, **options: Any) -> Any:
            path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(what)
            calls.append(f"{call} {path.name}")
            return original(what, *rest, **options)

        monkeypatch.setattr(os, call, watched)

    journal = open_journal(records=1)
    for call in ("posix_fallocate", "pwrite", "pwritev", "fsync", "fdatasync", "link", "unlink"):
        watch(call)
    journal.append(frame(0))
    journal.append(frame(1))
    journal.flush()
    made = ["posix_fallocate aside", "pwrite aside", "fsync aside", "link aside"]
    named = ["unlink aside", "fsync journal"]
    # The file that is written to was opened under its name aside.
    written = ["pwritev aside (deleted)", "fdatasync aside (deleted)"]
    assert calls == [*made, *named, *written] * 2
    journal.close()


def failing(
    monkeypatch: pytest.MonkeyPatch, call: str, number: int, *, times: int = 1
) -> list[int]:
    """Make a call to the system fail so often; return the list of the failures."""
    failures: list[int] = []
    original = getattr(os, call)

    def broken(*args: Any, **options: Any) -> Any:
        if len(failures) < times:
            failures.append(number)
            raise OSError(number, os.strerror(number))
        return original(*args, **options)

    monkeypatch.setattr(os, call, broken)
    return failures


@pytest.mark.parametrize(
    ("call", "number"),
    [("fdatasync", 5), ("fdatasync", 28), ("pwritev", 5), ("fsync", 5), ("link", 30)],
)
def test_a_write_or_a_flush_that_failed_ends_the_journal(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """It is not tried again, whatever the system says then; what was durable can be read."""
    journal = open_journal()
    for counter in range(3):
        journal.append(frame(counter))
    journal.flush()
    failures = failing(monkeypatch, call, number)

    def add() -> None:
        journal.append(frame(3))
        journal.flush()

    with pytest.raises(StorageError, match="cannot write the frame journal") as raised:
        add()
    assert not isinstance(raised.value, NoSpaceError)
    assert failures == [number]
    for again in (journal.flush, lambda: journal.append(frame(9))):
        with pytest.raises(StorageError, match="has ended"):
            again()
    assert failures == [number]
    journal.close()
    assert counters(journal.folder)[:3] == [0, 1, 2]


@pytest.mark.parametrize("call", ["posix_fallocate", "pwritev", "link"])
def test_no_space_is_told_and_can_be_tried_again(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Nothing of the frame is left, and once there is room it is added, and is there once."""
    with open_journal() as journal:
        for counter in range(3):
            journal.append(frame(counter))
        with monkeypatch.context() as patch:
            failures = failing(patch, call, 28, times=2)
            for _ in range(2):
                with pytest.raises(NoSpaceError, match="no space is left"):
                    journal.append(frame(5), dropped=[Dropped(3, 4, "lost", 0)])
            assert failures == [28, 28]
            assert counters(journal.folder) == [0, 1, 2]
        assert journal.append(frame(5), dropped=[Dropped(3, 4, "lost", 0)])
        assert len(list(read_journal(journal.folder, run_id=RUN_ID))) == 5
        assert "aside" not in names(journal.folder)


def test_of_an_entry_that_found_no_space_nothing_is_left(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system takes a part of it first: the loss in front of a frame is not there alone."""
    original = os.pwritev
    calls = 0

    def take_some(descriptor: int, parts: Any, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return original(descriptor, parts[:3], offset)

    with open_journal(records=10) as journal:
        journal.append(frame(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", take_some)
            with pytest.raises(NoSpaceError):
                journal.append(frame(2), dropped=[Dropped(1, 1, "lost", 0)])
        assert len(list(read_journal(journal.folder, run_id=RUN_ID))) == 1
        assert journal.append(frame(4), dropped=[Dropped(1, 3, "lost", 0)])
        journal.flush()
        assert counters(journal.folder) == [0, 4]
        assert len(list(read_journal(journal.folder, run_id=RUN_ID))) == 3


def test_what_was_cut_off_is_not_written_again(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that found no space has lost its room: what comes has one of its own."""
    with open_journal(spares=1) as journal:
        journal.append(frame(0))
        with monkeypatch.context() as patch:
            failing(patch, "pwritev", 28)
            with pytest.raises(NoSpaceError):
                journal.append(frame(1))
        journal.append(frame(1))
        assert len(names(journal.folder)) == 2
        journal.free_through(0)
        assert names(journal.folder) == ["00000001-00000001.segment"]
        assert counters(journal.folder) == [1]


def test_a_system_that_takes_a_few_bytes_at_a_time_gets_all_of_them(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.pwritev

    def take_few(descriptor: int, parts: Any, offset: int) -> int:
        return original(descriptor, [parts[0][:10]], offset)

    monkeypatch.setattr(os, "pwritev", take_few)
    with open_journal() as journal:
        for counter in range(4):
            journal.append(frame(counter))
    read = read_journal(journal.folder, run_id=RUN_ID)
    for counter, each in enumerate(read):
        assert isinstance(each, Frame)
        np.testing.assert_array_equal(each.data, frame(counter).data)
    assert counters(journal.folder) == [0, 1, 2, 3]


def test_the_segment_of_another_writer_stays(open_journal: Open, frame: Make) -> None:
    """One of the same epoch should not be there; what it has written is not to be lost."""
    journal = open_journal()
    other = journal.folder / "00000001-00000000.segment"
    other.write_bytes(b"frames of another writer")
    with pytest.raises(RunExistsError, match="exists already: another writer was here"):
        journal.append(frame(0))
    journal.close()
    assert other.read_bytes() == b"frames of another writer"
    assert names(journal.folder) == [other.name]


def test_a_segment_that_got_its_name_and_no_more_is_made_again(
    open_journal: Open, frame: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems need room to remove a name."""
    with open_journal() as journal:
        with monkeypatch.context() as patch:
            failing(patch, "unlink", 28)
            with pytest.raises(NoSpaceError):
                journal.append(frame(0))
        assert journal.append(frame(0))
        assert counters(journal.folder) == [0]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    geometry = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
    with pytest.raises(StorageError, match=r"cannot write the frame journal .*file/journal"):
        FrameJournal(tmp_path / "file/journal", run_id=RUN_ID, geometry=geometry, epoch=1)


def test_closing_flushes_and_nothing_is_added_after_it(open_journal: Open, frame: Make) -> None:
    journal = open_journal()
    journal.append(frame(0))
    journal.close()
    journal.close()
    assert journal.durable_through == 0
    with pytest.raises(StorageError, match="has ended: it is closed"):
        journal.append(frame(1))
    assert counters(journal.folder) == [0]
