"""Going on with a run whose writer was killed: nothing that was safe is lost, all is accounted for."""

import shutil
from pathlib import Path

import pytest
from tests.acquisition.service.killed_recording import Camera, Killed, check, go_on

from forebay.acquisition import RunWriter, open_run, verify_run
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.errors import FrameError, RunExistsError
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.spill import SpillQueue
from forebay.acquisition.run.writing.account import NOT_RECORDED
from forebay.acquisition.run.writing.leftovers import DAMAGED
from forebay.acquisition.run.writing.resume import resume_run


def reasons(path: Path) -> set[str]:
    return {each.reason for each in open_run(path).dropped}


@pytest.mark.parametrize("way", ["service", "writer"])
def test_without_a_journal_the_block_in_flight_is_lost_and_said_so(
    tmp_path: Path, killed: Killed, way: str
) -> None:
    """Whole blocks are there; the frames of the last one and those that came meanwhile are named."""
    path = tmp_path / "run"
    killed(path, last=10)
    if way == "service":
        go_on(path, Camera(13, 5))
    else:
        with RunWriter.resume(path) as writer:
            for frame in Camera(13, 5).frames():
                writer.append(frame)
    check(path, lost=[8, 9, 10, 11, 12], upto=18)
    assert {each.reason for each in open_run(path).dropped} == {NOT_RECORDED}


@pytest.mark.parametrize("way", ["service", "writer", "close"])
def test_with_a_journal_nothing_is_lost_that_had_come(
    tmp_path: Path, killed: Killed, way: str
) -> None:
    """The frames of the block in flight come from the journal, and the journal goes."""
    path = tmp_path / "run"
    killed(path, last=10, changes='{"durability": "frame"}')
    assert list((path / "_forebay/journal").iterdir())
    if way == "service":
        go_on(path, Camera(13, 5), durability="frame")
    else:
        with RunWriter.resume(path) as writer:
            assert writer.counted == 10
            for frame in Camera(13, 5 if way == "writer" else 0).frames():
                writer.append(frame)
    if way == "close":
        check(path, lost=[], upto=10)
    else:
        check(path, lost=[10, 11, 12], upto=18)
        assert reasons(path) == {NOT_RECORDED}


def test_what_came_between_two_writers_is_not_laid_on_the_camera(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever takes up the journals of both of them does not know it otherwise."""
    path = tmp_path / "run"
    killed(path, last=10, changes='{"durability": "frame"}')
    killed(path, first=13, last=19, changes='{"durability": "frame"}')
    go_on(path, Camera(22, 2), durability="frame")
    check(path, lost=[10, 11, 12, 19, 20, 21], upto=24)
    assert reasons(path) == {NOT_RECORDED}
    assert (
        "the frames 19 to 21 were lost with the earlier writer, or came without one" in caplog.text
    )


def test_a_camera_that_counts_anew_is_numbered_on(tmp_path: Path, killed: Killed) -> None:
    """After a power cut cameras begin at 0: the frames go on behind those of the journal."""
    path = tmp_path / "run"
    killed(path, last=100, changes='{"durability": "frame"}')
    go_on(path, Camera(0, 5), durability="frame")
    run = open_run(path)
    assert verify_run(run).ok
    assert run.frames.frame_id.to_numpy().tolist() == list(range(105))
    assert any(note.topic == "counter restarted" for note in run.notes)


@pytest.mark.parametrize("way", ["service", "close"])
def test_a_kill_while_going_on_loses_nothing_either(
    tmp_path: Path, killed: Killed, way: str
) -> None:
    """The journal of the first writer stays until what is in it is committed."""
    path = tmp_path / "run"
    killed(path, last=10, changes='{"durability": "frame"}')
    RunWriter.resume(path).abandon()
    if way == "service":
        go_on(path, Camera(10, 5), durability="block")
        check(path, lost=[], upto=15)
    else:
        RunWriter.resume(path).close()
        check(path, lost=[], upto=10)


def spill_until_killed(path: Path, second: Path, killed: Killed) -> None:
    """Record 40 frames, most of which are spilled when the writer is killed."""
    spill = f'{{"overload": "spill", "spill": "{second}", "high_watermark": 0.1, '
    spill += '"low_watermark": 0.05, "durability": "frame"}'
    killed(path, last=40, frozen=2, changes=spill)
    assert [each for each in second.rglob("*") if each.is_file()]
    assert open_run(path).history.frames in {4, 8}


@pytest.mark.parametrize(
    ("way", "changes"),
    [
        ("the same folder", {"overload": "spill", "spill": "{second}"}),
        ("the same folder from here", {"overload": "spill", "spill": "second"}),
        ("the same folder by another name", {"overload": "spill", "spill": "{link}"}),
        ("another folder", {"overload": "spill", "spill": "{other}"}),
        ("another policy", {"overload": "drop-newest", "spill": "{second}"}),
        ("no settings", {}),
        ("close", {}),
    ],
)
def test_what_was_spilled_is_merged_back(
    tmp_path: Path,
    killed: Killed,
    way: str,
    changes: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run's own notes say where it is; it comes back in its order, and is removed there."""
    path, second = tmp_path / "run", tmp_path / "second"
    spill_until_killed(path, second, killed)
    (link := tmp_path / "link").symlink_to(second)
    if way == "close":
        RunWriter.resume(path).close()
    else:
        monkeypatch.chdir(tmp_path)
        places = {"second": second, "link": link, "other": tmp_path / "other"}
        camera = Camera(40, 5)
        go_on(path, camera, **{key: each.format(**places) for key, each in changes.items()})
    run = open_run(path)
    assert verify_run(run).ok
    taken = run.frames.frame_id.to_numpy().tolist()
    upto = 40 if way == "close" else 45
    lost = [n for each in run.dropped for n in range(each.first, each.last + 1)]
    assert sorted([*taken, *lost]) == list(range(upto))
    # Only what was in memory at the kill, between the ring and the second path, may be missing.
    assert len(lost) <= 12
    assert reasons(path) <= {NOT_RECORDED}
    assert not [each for each in second.rglob("*") if each.is_file()]


@pytest.mark.parametrize("way", ["service", "close"])
def test_what_two_writers_spilled_to_different_places_is_merged_back(
    tmp_path: Path, killed: Killed, way: str
) -> None:
    """The second one died before it had merged back what the first one had left."""
    path, second, other = tmp_path / "run", tmp_path / "second", tmp_path / "other"
    spill_until_killed(path, second, killed)
    before = resume_run(path, clock=SYSTEM_CLOCK)
    before.note("spill", str(other))
    before.abandon()
    run, geometry = open_run(path), Camera(0, 0).geometry
    with SpillQueue(other, run.run_id, geometry, epoch=run.history.epoch) as queue:
        for frame in Camera(40, 5).frames():
            assert queue.put(frame)
    if way == "service":
        go_on(path, Camera(45, 5), overload="spill", spill=second)
    else:
        RunWriter.resume(path).close()
    run = open_run(path)
    assert verify_run(run).ok
    taken = run.frames.frame_id.to_numpy().tolist()
    upto = 50 if way == "service" else 45
    assert taken[-5:] == list(range(upto - 5, upto))
    lost = [n for each in run.dropped for n in range(each.first, each.last + 1)]
    assert sorted([*taken, *lost]) == list(range(upto))
    assert len(lost) <= 12
    assert not [each for each in (*second.rglob("*"), *other.rglob("*")) if each.is_file()]


def test_a_second_path_that_is_gone_is_told(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    """Its disk may only not be mounted: whoever goes on without it is told what that costs."""
    path, second = tmp_path / "run", tmp_path / "second"
    spill_until_killed(path, second, killed)
    second.rename(tmp_path / "elsewhere")
    go_on(path, Camera(40, 5))
    assert f"{second / open_run(path).run_id}, where frames of run were spilled" in caplog.text


def test_a_stored_block_that_was_not_committed_is_taken_in(tmp_path: Path) -> None:
    """The writer died between naming the objects and the log's line."""
    path = tmp_path / "run"
    writer = RunWriter.create(path, Camera(0, 0).geometry, frames_per_block=4)
    for frame in Camera(0, 8).frames():
        writer.append(frame)
    writer.abandon()
    log = path / "_forebay/log/00000001.log"
    *lines, _ = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines))
    for name in ("frames", "timestamp", "frame_id", "flags"):
        document = path / name / "zarr.json"
        document.write_text(document.read_text().replace('"shape": [8', '"shape": [4', 1))
    group = path / "zarr.json"
    group.write_text(group.read_text().replace('"shape": [8', '"shape": [4'))
    assert open_run(path).history.frames == 4
    go_on(path, Camera(8, 3))
    check(path, lost=[], upto=11)


@pytest.mark.parametrize("way", ["service", "writer"])
def test_what_a_writer_left_that_died_when_it_had_closed_the_run_is_removed(
    tmp_path: Path, killed: Killed, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All of it is in the run: it would take the room for ever, since nobody else looks for it."""
    path, second, kept = tmp_path / "run", tmp_path / "second", tmp_path / "kept"
    spill_until_killed(path, second, killed)
    places = {path / "_forebay/journal": kept / "journal", second: kept / "second"}
    for place, copy in places.items():
        shutil.copytree(place, copy)
    RunWriter.resume(path).close()
    for place, copy in places.items():
        shutil.copytree(copy, place, dirs_exist_ok=True)
    before = open_run(path).history.frames
    caplog.clear()

    def again() -> None:
        if way == "service":
            go_on(path, Camera(40, 5))
        else:
            RunWriter.resume(path)

    with pytest.raises(RunExistsError, match="closed and whole"):
        again()
    assert open_run(path).history.frames == before
    assert not [each for place in places for each in place.rglob("*")]
    assert "is not there" not in caplog.text


def test_a_damaged_journal_does_not_keep_anybody_from_going_on(
    tmp_path: Path, killed: Killed
) -> None:
    """What is sound before the damage is taken; the rest is kept in the quarantine, and is lost."""
    path = tmp_path / "run"
    killed(path, last=10, changes='{"durability": "frame"}')
    (segment,) = (path / "_forebay/journal").glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[: len(content) // 3] = bytes(len(content) // 3)
    segment.write_bytes(content)
    RunWriter.resume(path).close()
    run = open_run(path)
    assert verify_run(run).ok
    assert run.frames.frame_id.to_numpy().tolist() == list(range(8))
    assert list((path / "_forebay/quarantine").glob("journal-*/*.segment"))


def test_no_frame_takes_the_number_of_one_that_was_sound_in_a_damaged_journal(
    tmp_path: Path, killed: Killed
) -> None:
    """What is before the damage is recorded; a camera that counts anew is numbered on behind it."""
    path = tmp_path / "run"
    killed(path, last=10)
    damage(write_journal(path, epoch=1, first=8, frames=3), frame=9)
    go_on(path, Camera(0, 5), durability="frame")
    run = open_run(path)
    assert verify_run(run).ok
    assert run.frames.frame_id.to_numpy().tolist() == list(range(14))
    assert list((path / "_forebay/quarantine").glob("journal-*/*.segment"))
    assert not list((path / "_forebay").glob("journal/*"))


def test_damage_in_the_journal_of_one_writer_takes_nothing_of_the_next_one(
    tmp_path: Path, killed: Killed
) -> None:
    """Nor is what was before it lost where this one dies as well: it stays until it is committed."""
    path = tmp_path / "run"
    killed(path, last=10)
    segment = write_journal(path, epoch=1, first=8, frames=3)
    damage(segment, frame=9)
    resume_run(path, clock=SYSTEM_CLOCK).abandon()
    write_journal(path, epoch=2, first=12, frames=2)
    RunWriter.resume(path).abandon()
    assert segment.exists()
    RunWriter.resume(path).close()
    run = open_run(path)
    assert verify_run(run).ok
    assert run.frames.frame_id.to_numpy().tolist() == [*range(9), 12, 13]
    assert reasons(path) == {DAMAGED}
    kept = list((path / "_forebay/quarantine").glob("journal-*/*.segment"))
    assert [each.name for each in kept] == [segment.name]
    assert not list((path / "_forebay").glob("journal/*"))


def write_journal(path: Path, *, epoch: int, first: int, frames: int) -> Path:
    """Leave frames in a run's journal, each of them flushed, as a writer that died does."""
    run, folder = open_run(path), path / "_forebay/journal"
    with FrameJournal(
        folder, run_id=run.run_id, geometry=run.layout.geometry, epoch=epoch
    ) as journal:
        for frame in Camera(first, frames).frames():
            journal.append(frame)
            journal.flush()
    return max(folder.glob("*.segment"))


def damage(segment: Path, *, frame: int) -> None:
    """Change a frame, all of whose pixels are its number."""
    content = bytearray(segment.read_bytes())
    content[content.index(bytes([frame, 0] * 24)) + 4] ^= 1
    segment.write_bytes(content)


def test_another_camera_cannot_go_on(tmp_path: Path, killed: Killed) -> None:
    """Its frames do not fit; the run stays as it is, and can still be gone on with."""
    path = tmp_path / "run"
    killed(path, last=10)
    with pytest.raises(FrameError, match=r"delivers frames of \(3, 3\).*start another run"):
        go_on(path, Camera(10, 3, shape=(3, 3)))
    go_on(path, Camera(10, 3))
    check(path, lost=[8, 9], upto=13)
