"""A run whose log is damaged or gone is rebuilt from what is left of it and from its shards."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acquisition.run.damaged_logs import (
    COUNTERS,
    GEOMETRY,
    check_sound,
    damage_line,
    line_of,
    lines_of,
    logs_of,
    lost_in,
    pixels,
    records_of,
    tree,
    write,
)
from zarr.storage import LocalStore

from forebay.acquisition import Frame, Run, RunWriter, open_run, verify_run
from forebay.acquisition.errors import (
    RunDamagedError,
    RunLockedError,
    RunNotFoundError,
    StorageError,
)
from forebay.acquisition.format.history import replay
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import (
    Noted,
    decode_line,
    encode_line,
    line_digest,
)
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.row import Room
from forebay.acquisition.run.recovery import repair_plan
from forebay.acquisition.run.recovery.new_log import UNKNOWN_WRITER
from forebay.acquisition.run.recovery.rebuild import END_LOST, REASON_LOST
from forebay.acquisition.run.recovery.repair import RepairReport, repair_run
from forebay.acquisition.run.writing.folder import show


@pytest.fixture(scope="module")
def whole(memory: Callable[[], Path]) -> Path:
    return write(memory() / "run")


@pytest.fixture(scope="module")
def unclosed(memory: Callable[[], Path]) -> Path:
    return write(memory() / "run", close=False)


@pytest.fixture
def run(whole: Path, memory: Callable[[], Path]) -> Path:
    """A closed run, to do harm to."""
    return Path(shutil.copytree(whole, memory() / "run"))


@pytest.fixture
def open_one(unclosed: Path, memory: Callable[[], Path]) -> Path:
    """A run whose second writer died with a frame in hand."""
    return Path(shutil.copytree(unclosed, memory() / "run"))


@pytest.mark.parametrize("number", range(9))
def test_any_line_may_be_damaged(run: Path, number: int) -> None:
    """All frames are kept; what the line alone said is written down as not known any more."""
    original = open_run(run)
    kind = damage_line(run, number)
    expected = ["created", "opened", "started", "block", "block", "opened", "block", "block"]
    assert kind == [*expected, "closed"][number]
    report = repair_run(run)
    closes = kind != "closed"
    repaired = check_sound(run, counters=COUNTERS, last=24 if closes else 22)
    assert (report.needed, report.frames, report.lines_lost) == (True, 9, 1)
    assert repaired.closed
    assert report.closed
    assert repaired.history.closed
    assert repaired.history.closed.reason == ("all is recorded" if closes else END_LOST)
    rebuilt = {3: (0,), 4: (1,), 6: (2,), 7: (3,), 8: (4,)}.get(number, ())
    assert (report.rebuilt, report.kept) == (rebuilt, 5 - len(rebuilt))
    assert (report.damaged, report.set_aside) == ((), ())
    assert report.unexplained == sum(
        each.count for each in repaired.dropped if each.reason == REASON_LOST
    )
    if kind not in {"block", "closed"}:
        assert repaired.dropped == original.dropped
        assert repaired.blocks == original.blocks


def test_the_reasons_that_are_lost_are_said_to_be(run: Path) -> None:
    damage_line(run, 3)
    repaired = check_sound_after(run)
    first = repaired.dropped[0]
    assert (first.first, first.last, first.reason) == (0, 2, REASON_LOST)
    assert "the buffer was full" in {each.reason for each in repaired.dropped}


def check_sound_after(path: Path) -> Run:
    repair_run(path)
    return check_sound(path, counters=COUNTERS)


def swap(path: Path) -> None:
    log = logs_of(path)[0]
    lines = log.read_bytes().splitlines(True)
    log.write_bytes(b"".join([*lines[:3], lines[4], lines[3]]))


def empty(path: Path) -> None:
    logs_of(path)[1].write_bytes(b"")


def lose_the_first(path: Path) -> None:
    logs_of(path)[0].unlink()


def lose_the_last(path: Path) -> None:
    logs_of(path)[1].unlink()


def lose_all(path: Path) -> None:
    shutil.rmtree(path / "_forebay/log")


def lose_everything_of_ours(path: Path) -> None:
    shutil.rmtree(path / "_forebay")


def fill_with_noise(path: Path) -> None:
    for log in logs_of(path):
        log.write_bytes(np.random.default_rng(1).bytes(2000))


def cut_the_first(path: Path) -> None:
    log = logs_of(path)[0]
    log.write_bytes(log.read_bytes()[:-30])


def lose_the_metadata(path: Path) -> None:
    (path / "zarr.json").write_bytes(b"{}")


@pytest.mark.parametrize(
    "damage",
    [
        swap,
        empty,
        lose_the_first,
        lose_the_last,
        lose_all,
        lose_everything_of_ours,
        fill_with_noise,
        cut_the_first,
        lose_the_metadata,
    ],
)
@pytest.mark.parametrize("compression", ["none", "blosc-lz4"])
def test_whole_logs_may_be_damaged_or_gone(
    memory: Callable[[], Path], damage: Callable[[Path], None], compression: str
) -> None:
    """The run is refused before, and all its frames are there again afterwards."""
    path = write(memory() / "run", compression=compression)
    damage(path)
    with pytest.raises((RunDamagedError, RunNotFoundError)):
        open_run(path)
    before = tree(path)
    report = repair_run(path)
    ends = [each for each in records_of(path) if each.kind == "closed"]
    said_last = damage not in {
        empty,
        lose_the_last,
        lose_all,
        lose_everything_of_ours,
        fill_with_noise,
    }
    first = (
        0
        if damage not in {lose_all, lose_everything_of_ours, fill_with_noise, lose_the_first}
        else None
    )
    run = check_sound(path, counters=COUNTERS, last=None)
    assert run.closed == report.closed == bool(ends)
    assert said_last == (report.closed and ends[0].reason == "all is recorded")
    counted = [*COUNTERS, *lost_in(run).elements()]
    assert set(range(3, 23)) <= set(counted)
    assert len(counted) == len(set(counted))
    assert first is None or 0 in counted
    after = tree(path)
    for name, content in before.items():
        if name.startswith("_forebay/log/"):
            assert after[f"{report.old_log}/{Path(name).name}"] == content
        elif not name.endswith("zarr.json"):
            assert after[name] == content


def test_a_run_that_was_not_closed_stays_open_and_goes_on(open_one: Path) -> None:
    """The next writer has a number of its own, and what it adds is read like everything else."""
    path = open_one
    damage_line(path, 4)
    report = repair_run(path)
    assert not report.closed
    assert check_sound(path, counters=COUNTERS[:8], last=21).history.epoch == 3
    with RunWriter.resume(path) as writer:
        writer.append(Frame(30, 300, pixels(30)))
    check_sound(path, counters=[*COUNTERS[:8], 30], last=30)


def test_numbers_of_writers_are_not_used_again(run: Path, tmp_path: Path) -> None:
    """Where the logs are gone, the journal and the quarantine still tell of some."""
    lose_all(run)
    room = Room(10**5, 10**4)
    with FrameJournal(
        run / "_forebay/journal", run_id=open_id(run), geometry=GEOMETRY, epoch=6, room=room
    ) as journal:
        journal.append(Frame(100, 0, pixels(0)))
    repair_run(run)
    assert open_run(run).history.epoch == 7
    opened = [each for each in records_of(run) if each.kind == "opened"]
    writers = [each.writer for each in opened]
    assert writers[:6] == [UNKNOWN_WRITER] * 6
    assert writers[6].startswith("repair by process")


def open_id(path: Path) -> str:
    group = json.loads((path / "zarr.json").read_bytes())
    return str(group["attributes"]["forebay"]["run_id"])


def test_a_repair_that_could_not_be_finished_is_finished_later(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there was no old log to put aside: the new one is not taken for it."""
    lose_all(run)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(repair_plan, "show", broken)
        with pytest.raises(StorageError, match="the device reported an I/O error"):
            repair_run(run)
    report = repair_run(run)
    assert (report.needed, report.rebuilt, report.old_log) == (True, (0, 1, 2, 3, 4), None)
    check_sound(run, counters=COUNTERS, last=None)
    assert not (run / "_forebay/repair").exists()


def test_a_sound_run_is_left_alone(run: Path) -> None:
    before = tree(run)
    report = repair_run(run)
    assert report == RepairReport(needed=False, frames=9, closed=True)
    assert tree(run) == before


def test_notes_stay_where_they_stood(run: Path) -> None:
    """Between the blocks between which they were made; the repair adds its own."""
    _, second = logs_of(run)
    notes = [Noted("annotation", f"note {number}", 5 + number, 50) for number in range(3)]
    lines = second.read_bytes().splitlines(True)
    records = [decode_line(line, previous=None, where="") for line in lines]
    content = b""
    for record in (records[0], notes[0], records[1], notes[1], records[2], notes[2], records[3]):
        assert record
        content += encode_line(record, previous="")
    second.write_bytes(content)
    repair_run(run)
    kinds = [each.text if isinstance(each, Noted) else each.kind for each in records_of(run)[4:]]
    assert kinds[0].startswith("the log was rebuilt: 0 lines could not be read; 5 blocks agree")
    expected = "started block block note-0 block note-1 block note-2 closed"
    assert " ".join(kinds[1:]).replace("note ", "note-") == expected
    assert check_sound(run, counters=COUNTERS).history.notes[1:] == notes


def test_what_a_later_writer_made_void_stays_void(run: Path) -> None:
    """Lines behind the sealed length, of a writer that had been taken over, are not believed."""
    first, _ = logs_of(run)
    third = next(each for each in records_of(run) if each.kind == "block")
    records = [
        decode_line(line, previous=None, where="") for line in first.read_bytes().splitlines(True)
    ]
    assert records[-1]
    stray = Noted("annotation", "from a writer that was stopped", None, 1)
    with first.open("ab") as log:
        log.write(encode_line(stray, previous=line_digest(lines_of(run)[4][1])))
    damage_line(run, 3)
    repair_run(run)
    assert stray not in records_of(run)
    assert third in open_run(run).blocks or open_run(run).blocks[0].objects == third.objects


def test_the_damaged_end_of_a_closed_run_is_repaired(run: Path) -> None:
    """The short block, which that line committed, is kept, and the run is closed."""
    damage_line(run, 8)
    with pytest.raises(RunDamagedError, match="tells of 8 frames, and 9 were committed"):
        open_run(run)
    report = repair_run(run)
    assert (report.closed, report.rebuilt) == (True, (4,))
    check_sound(run, counters=COUNTERS, last=22)


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_keeps_its_format(run: Path, version: int) -> None:
    """A run of format 1 knows no notes, and gets none."""
    first, second = logs_of(run)
    digest = ""
    for log in (first, second):
        content, sealed = b"", len(first.read_bytes())
        for line in log.read_bytes().splitlines(True):
            record: Any = json.loads(line[9:])
            if record["kind"] == "created":
                record["attributes"]["format_version"] = version
            if record["kind"] == "opened" and log == second:
                record["sealed_bytes"] = sealed
            decoded = decode_line(line_of(record), previous=None, where="")
            assert decoded
            encoded = encode_line(decoded, previous=digest)
            digest, content = line_digest(encoded), content + encoded
        log.write_bytes(content)
    history = replay(Objects(LocalStore(run, read_only=True)))
    assert history.layout
    show(run, history.layout, 9)
    check_sound(run, counters=COUNTERS)
    damage_line(run, 4)
    repair_run(run)
    assert check_sound(run, counters=COUNTERS).layout.format_version == version
    assert len([each for each in records_of(run) if isinstance(each, Noted)]) == version - 1


def test_a_record_of_a_later_forebay_is_not_thrown_away(run: Path) -> None:
    log = logs_of(run)[1]
    log.write_bytes(log.read_bytes() + line_of({"kind": "merged", "previous": ""}))
    damage_line(run, 3)
    before = tree(run)
    with pytest.raises(RunDamagedError, match="if a newer forebay wrote it, install that"):
        repair_run(run)
    assert tree(run) == before


def test_a_run_that_is_being_written_is_not_touched(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    with writer, pytest.raises(RunLockedError, match="is being written by process"):
        repair_run(tmp_path / "run")


def test_where_nothing_says_what_the_run_is_it_is_refused(run: Path) -> None:
    damage_line(run, 0)
    (run / "zarr.json").unlink()
    before = tree(run)
    with pytest.raises(RunDamagedError, match=r"neither the first line of its log nor zarr\.json"):
        repair_run(run)
    assert tree(run) == before


@pytest.mark.parametrize("make", ["nothing", "folder", "file", "array"])
def test_what_is_no_run_is_left_alone(tmp_path: Path, make: str) -> None:
    path = tmp_path / "other"
    if make == "folder":
        path.mkdir()
    elif make == "file":
        path.write_text("x")
    elif make == "array":
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    before = tree(tmp_path)
    with pytest.raises(RunNotFoundError, match="is not a run"):
        repair_run(path)
    assert tree(tmp_path) == before


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_becomes_of_the_log_no_frame_is_lost_or_wrong(
    data: st.DataObject, whole: Path, memory: Callable[[], Path]
) -> None:
    """Bytes changed, cut off and put in, anywhere in both logs."""
    path = memory() / "run"
    shutil.copytree(whole, path)
    for log in logs_of(path):
        content = bytearray(log.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, max(0, len(content) - 1)))
            how = data.draw(st.sampled_from(["change", "cut", "put in", "put a line in"]))
            if how == "change" and content:
                content[at] ^= data.draw(st.integers(1, 255))
            elif how == "cut":
                del content[at : at + data.draw(st.integers(1, 2000))]
            elif how == "put in":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            elif how == "put a line in":
                content[at:at] = b"\n"
        log.write_bytes(content)
    repair_run(path)
    run = open_run(path)
    assert verify_run(run).ok
    frames = run.frames.compute()
    assert frames.frame_id.to_numpy().tolist() == COUNTERS
    np.testing.assert_array_equal(frames, [pixels(each) for each in COUNTERS])
    assert max((lost_in(run) + Counter(COUNTERS)).values()) == 1
    assert asdict(repair_run(path))["needed"] is False
    shutil.rmtree(path)
