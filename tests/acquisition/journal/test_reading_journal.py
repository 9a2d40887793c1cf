"""A journal that was torn ends before the tear; one that was damaged says so; no frame is ever wrong."""

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import Dropped, Frame, Geometry
from forebay.acquisition.errors import RunDamagedError, StorageError
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.reading import read_journal
from forebay.acquisition.journal.records import RecordHeader, payload_checksum
from forebay.acquisition.journal.row import Room, Written
from forebay.acquisition.journal.segment_reader import SegmentReader

RUN_ID = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
GEOMETRY = Geometry(("y", "x"), (5, 7), np.dtype("uint8"))
HEAD, RECORD = 4096, 128
PER_SEGMENT = 8
FIRST, SECOND = "00000003-00000000.segment", "00000003-00000001.segment"


def pixels(counter: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return (np.arange(35).reshape(5, 7) * (counter + 1) % 256).astype("uint8")


def write(folder: Path, *, flush_at: set[int], frames: int) -> Path:
    """Write a journal, two frames and one loss after the other, and flush at some of them."""
    room = Room(10**6, HEAD + PER_SEGMENT * RECORD)
    journal = FrameJournal(folder, run_id=RUN_ID, geometry=GEOMETRY, epoch=3, room=room)
    for counter in range(frames):
        if counter % 3 == 2:
            journal.drop(Dropped(counter, counter, "lost", counter))
        else:
            journal.append(Frame(counter, 10 * counter, pixels(counter)))
        if counter in flush_at:
            journal.flush()
    # As a kill would: without a flush.
    journal._end()
    return folder


def read(folder: Path) -> tuple[list[int], bool]:
    """Return the counters that are given, each checked, and whether damage was reported."""
    counters: list[int] = []
    try:
        for entry in read_journal(folder, run_id=RUN_ID):
            if isinstance(entry, Dropped):
                assert entry == Dropped(len(counters), len(counters), "lost", len(counters))
                counters.append(entry.first)
            else:
                assert entry.timestamp == 10 * entry.counter
                np.testing.assert_array_equal(entry.data, pixels(entry.counter))
                counters.append(entry.counter)
    except RunDamagedError:
        return counters, True
    return counters, False


@pytest.fixture(scope="module")
def unflushed(memory: Callable[[], Path]) -> Path:
    """One segment of which nothing was flushed, so that a tear may be anywhere."""
    return write(memory() / "unflushed", flush_at=set(), frames=PER_SEGMENT)


@pytest.fixture(scope="module")
def flushed(memory: Callable[[], Path]) -> Path:
    """Two segments; the second was flushed after its third and its fifth record."""
    return write(memory() / "flushed", flush_at={10, 12}, frames=PER_SEGMENT + 7)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(HEAD, HEAD + PER_SEGMENT * RECORD))
def test_cut_at_any_byte_it_gives_the_whole_records_before_it(unflushed: Path, cut: int) -> None:
    """Exactly those, and no error: this is how a writer that was killed leaves it."""
    segment = unflushed / FIRST
    whole = segment.read_bytes()
    # The zeros that fill a record up carry nothing.
    length = [64 + (8 + 4 if counter % 3 == 2 else 35) for counter in range(PER_SEGMENT)]
    ends = [HEAD + counter * RECORD + length[counter] for counter in range(PER_SEGMENT)]
    try:
        segment.write_bytes(whole[:cut])
        counters, damaged = read(unflushed)
    finally:
        segment.write_bytes(whole)
    assert counters == list(range(sum(end <= cut for end in ends)))
    assert not damaged


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_changed_byte_is_ever_given_as_a_frame(data: st.DataObject, flushed: Path) -> None:
    """What is given is what was written, in order from the first, wherever bytes were changed."""
    name = data.draw(st.sampled_from([FIRST, SECOND]))
    segment = flushed / name
    whole = segment.read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        offset = data.draw(st.integers(0, len(whole) - 1))
        changed[offset] ^= data.draw(st.integers(1, 255))
    try:
        segment.write_bytes(changed)
        counters, _ = read(flushed)
    finally:
        segment.write_bytes(whole)
    assert counters == list(range(len(counters)))


@pytest.mark.parametrize(
    ("record", "given", "is_damage"),
    [
        # In the first segment everything was flushed before there was a second one.
        (0, 0, True),
        (7, 7, True),
        # Later records of the second one say that the first three, then five, were flushed.
        (8, 8, True),
        (10, 10, True),
        (12, 12, True),
        # Of the last two no record says so: a power cut may have taken any part of them.
        (13, 13, False),
        (14, 14, False),
    ],
)
@pytest.mark.parametrize("place", [5, 30, 70])
def test_damage_is_told_from_a_tear_by_what_was_flushed(
    flushed: Path, tmp_path: Path, record: int, given: int, is_damage: bool, place: int
) -> None:
    """In the magic, in the head or in the payload of the record: the frames before it are given."""
    shutil.copytree(flushed, tmp_path / "copy")
    segment = tmp_path / "copy" / (FIRST if record < PER_SEGMENT else SECOND)
    content = bytearray(segment.read_bytes())
    content[HEAD + record % PER_SEGMENT * RECORD + place] ^= 1
    segment.write_bytes(content)
    assert read(tmp_path / "copy") == (list(range(given)), is_damage)


def test_a_hole_that_a_power_cut_left_ends_the_journal(unflushed: Path, tmp_path: Path) -> None:
    """Pages are written in any order until they are flushed; what is behind the hole is not given."""
    shutil.copytree(unflushed, tmp_path / "copy")
    segment = tmp_path / "copy" / FIRST
    content = bytearray(segment.read_bytes())
    content[HEAD + 2 * RECORD : HEAD + 4 * RECORD] = bytes(2 * RECORD)
    segment.write_bytes(content)
    assert read(tmp_path / "copy") == ([0, 1], False)


def test_a_missing_segment_within_the_row_is_damage(
    memory: Callable[[], Path], tmp_path: Path
) -> None:
    """The oldest may be gone, for they are freed in that order; one between two others may not."""
    folder = write(memory() / "three", flush_at=set(), frames=3 * PER_SEGMENT)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / SECOND).unlink()
    assert read(tmp_path / "copy") == (list(range(PER_SEGMENT)), True)
    (folder / FIRST).unlink()
    left = [each for each in read_journal(folder, run_id=RUN_ID) if isinstance(each, Frame)]
    assert left[0].counter == PER_SEGMENT + 1


def test_a_journal_of_another_run_is_refused(unflushed: Path) -> None:
    other = "11111111-0d0b-4a8e-9a53-6a4a3c1f2e10"
    with pytest.raises(RunDamagedError, match=r"00000000\.segment is a segment of another journal"):
        list(read_journal(unflushed, run_id=other))


def test_a_segment_under_another_name_is_refused(unflushed: Path, tmp_path: Path) -> None:
    shutil.copy(unflushed / FIRST, tmp_path / "00000003-00000005.segment")
    with pytest.raises(RunDamagedError, match="is a segment of another journal"):
        list(read_journal(tmp_path, run_id=RUN_ID))


@pytest.mark.parametrize("length", [0, 100, HEAD - 1])
def test_a_segment_that_lost_its_head_is_damage(
    unflushed: Path, tmp_path: Path, length: int
) -> None:
    """A segment has its name only once its head is durable."""
    (tmp_path / FIRST).write_bytes((unflushed / FIRST).read_bytes()[:length])
    with pytest.raises(RunDamagedError, match="the head of the segment has changed or is cut off"):
        list(read_journal(tmp_path, run_id=RUN_ID))


def test_where_there_is_no_journal_there_is_nothing(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "none", run_id=RUN_ID)) == []


def test_a_device_that_does_not_read_is_named(
    unflushed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.preadv", broken)
    with pytest.raises(StorageError, match=r"cannot read .*segment back: Input/output error"):
        list(read_journal(unflushed, run_id=RUN_ID))


class TestWrittenAgain:
    """A segment whose file held another one before: what is left of that is never given."""

    @pytest.fixture(params=["one writer", "two writers"])
    def journal(self, memory: Callable[[], Path], request: pytest.FixtureRequest) -> FrameJournal:
        """One whose last segment has one record; behind it lie five of an earlier segment."""
        folder = memory() / "journal"
        room = Room(10**6, HEAD + PER_SEGMENT * RECORD, spares=1)
        earlier: list[Written] = []
        if request.param == "two writers":
            write(folder, flush_at=set(range(PER_SEGMENT)), frames=PER_SEGMENT)
            segment = folder / FIRST
            earlier = [Written(segment, PER_SEGMENT - 1, segment.stat().st_size)]
        journal = FrameJournal(
            folder, run_id=RUN_ID, geometry=GEOMETRY, epoch=4, room=room, earlier=earlier
        )
        if earlier:
            journal.free_through(PER_SEGMENT - 1)
        else:
            for counter in range(2 * PER_SEGMENT):
                journal.append(Frame(counter, 0, pixels(counter)))
                journal.flush()
            journal.free_through(PER_SEGMENT - 1)
        journal.append(Frame(100, 0, pixels(100)))
        # As a kill would: without a flush.
        journal._end()
        return journal

    def test_it_ends_behind_what_was_written(self, journal: FrameJournal) -> None:
        """What is left is neither read as if it followed, nor taken for a proof of damage."""
        read = list(read_journal(journal.folder, run_id=RUN_ID, after=99))
        assert [each.counter for each in read if isinstance(each, Frame)] == [100]
        with SegmentReader(max(journal.folder.glob("*.segment")), run_id=RUN_ID) as reader:
            record = reader.peek()
            assert record
            reader.skip(record)
            assert reader.peek() is None

    def test_nothing_behind_what_cannot_be_read_is_taken_for_new(
        self, journal: FrameJournal
    ) -> None:
        segment = max(journal.folder.glob("*.segment"))
        content = bytearray(segment.read_bytes())
        content[HEAD] ^= 1
        segment.write_bytes(content)
        read = list(read_journal(journal.folder, run_id=RUN_ID, after=99))
        assert read == []
        with SegmentReader(segment, run_id=RUN_ID) as reader:
            assert not reader.find_next(below=reader.number + 1)
            assert reader.peek() is None


def test_what_is_being_written_is_not_looked_for_yet(unflushed: Path, tmp_path: Path) -> None:
    """Over what cannot be read, the next record is found; but none that need not be there."""
    segment = tmp_path / FIRST
    content = bytearray((unflushed / FIRST).read_bytes())
    content[HEAD + 2 * RECORD] ^= 1
    segment.write_bytes(content)
    with SegmentReader(segment, run_id=RUN_ID) as reader:
        for _ in range(2):
            record = reader.peek()
            assert record
            reader.skip(record)
        assert reader.peek() is None
        assert not reader.find_next(below=3)
        assert reader.find_next(below=4)
        record = reader.peek()
        assert record
        assert (record.number, record.counter) == (3, 3)


@pytest.mark.parametrize("length", [34, 36])
def test_a_frame_of_another_length_is_none(unflushed: Path, tmp_path: Path, length: int) -> None:
    segment = tmp_path / FIRST
    content = bytearray((unflushed / FIRST).read_bytes())
    head = RecordHeader.decode(bytes(content[HEAD : HEAD + 64]))
    assert head
    payload = bytes(content[HEAD + 64 : HEAD + 64 + length])
    other = replace(head, length=length, checksum=payload_checksum(payload))
    content[HEAD : HEAD + 64] = other.encode()
    segment.write_bytes(content)
    assert read(tmp_path) == ([], False)


def test_a_record_of_which_a_part_is_cut_off_is_none(unflushed: Path, tmp_path: Path) -> None:
    segment = tmp_path / FIRST
    segment.write_bytes((unflushed / FIRST).read_bytes()[: HEAD + RECORD + 70])
    with SegmentReader(segment, run_id=RUN_ID) as reader:
        assert [each.number for each in reader.heads(below=PER_SEGMENT)] == [0]


def test_a_loss_too_short_to_be_one_is_none(unflushed: Path, tmp_path: Path) -> None:
    segment = tmp_path / FIRST
    content = bytearray((unflushed / FIRST).read_bytes())
    at = HEAD + 2 * RECORD
    head = RecordHeader.decode(bytes(content[at : at + 64]))
    assert head
    short = replace(head, length=4, checksum=payload_checksum(bytes(content[at + 64 : at + 68])))
    content[at : at + 64] = short.encode()
    segment.write_bytes(content)
    assert read(tmp_path) == ([0, 1], False)


def test_a_segment_of_a_later_version_is_refused(unflushed: Path, tmp_path: Path) -> None:
    segment = tmp_path / FIRST
    content = bytearray((unflushed / FIRST).read_bytes())
    content[8] = 2
    content[HEAD - 4 : HEAD] = struct.pack("<I", payload_checksum(bytes(content[: HEAD - 4])))
    segment.write_bytes(content)
    with pytest.raises(RunDamagedError, match="if a newer forebay wrote it, install that"):
        list(read_journal(tmp_path, run_id=RUN_ID))
