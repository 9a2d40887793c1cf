"""Going on with a run whose frames are reduced, or of which some are kept as they came."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acquisition.service.killed_recording import Camera, Killed, check, go_on

from forebay.acquisition import (
    Geometry,
    ImageMetadata,
    Run,
    RunWriter,
    acquire,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import FrameError, RunExistsError, RunLockedError
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.run.writing.account import NOT_RECORDED

BINNED = {"steps": ["bin:2"]}
KEPT = {**BINNED, "keep_raw_every": 2}
NOT_KEPT = "only one frame of 2 is kept as it came"


def changes(reduction: dict[str, Any], **others: Any) -> str:
    return json.dumps({"reduction": reduction, **others})


def check_raw(path: Path, *, frames: list[int]) -> Run:
    """The frames as they came are whole, and no other than those of the same number beside them."""
    run, raw = open_run(path), open_run(path.with_name("run.raw"))
    assert raw.closed
    assert verify_run(raw).ok
    taken = raw.frames.frame_id.to_numpy().tolist()
    assert taken == frames
    there = set(run.frames.frame_id.to_numpy().tolist())
    both = [each for each in taken if each in there]
    assert both
    for each in both:
        ours = raw.frames[raw.frames.frame_id.to_numpy() == each].to_numpy()
        reduced = run.frames[run.frames.frame_id.to_numpy() == each].to_numpy()
        assert ours[0, 0, 0] == reduced[0, 0, 0]
    dropped = sum(each.count for each in raw.dropped)
    closed = raw.history.closed
    assert closed is not None
    assert closed.counted == closed.committed + dropped
    assert {each.reason for each in raw.dropped} <= {NOT_KEPT, NOT_RECORDED}
    return raw


def test_the_frames_as_they_came_are_gone_on_with(tmp_path: Path, killed: Killed) -> None:
    """Both runs are whole afterwards, and the one beside holds every second frame again."""
    path = tmp_path / "run"
    killed(path, last=14, changes=changes(KEPT))
    before = open_run(tmp_path / "run.raw").frames.frame_id.to_numpy().tolist()
    go_on(path, Camera(15, 6), reduction=KEPT)
    check(path, lost=[12, 13, 14], upto=21)
    assert before[:4] == [0, 2, 4, 6]
    raw = check_raw(path, frames=[*before, 16, 18, 20])
    known = {"raw_of": "run", "raw_of_run_id": open_run(path).run_id, "every": 2}
    assert raw.layout.provenance == known
    assert raw.dropped[-1].reason == NOT_KEPT


def test_how_many_are_kept_stays_as_it_was(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    go_on(path, Camera(8, 6), reduction={**KEPT, "keep_raw_every": 3})
    check_raw(path, frames=[0, 2, 4, 6, 8, 10, 12])
    assert "one frame of 2 is kept as it came, as before" in caplog.text


@pytest.mark.parametrize("anew", [False, True])
def test_no_two_frames_have_the_same_number_in_the_two_runs(
    tmp_path: Path, killed: Killed, anew: bool
) -> None:
    """Also where those as they came were committed further than the reduced ones."""
    path = tmp_path / "run"
    killed(path, last=8, frozen=1, changes=changes(KEPT))
    before = open_run(path).history.frames
    assert before < 8
    assert open_run(tmp_path / "run.raw").history.frames == 4
    go_on(path, Camera(0 if anew else 8, 4), reduction=KEPT)
    first = 7 if anew else 8
    run = open_run(path)
    assert run.frames.frame_id.to_numpy().tolist() == [*range(before), *range(first, first + 4)]
    check_raw(path, frames=[0, 2, 4, 6, 8, 10])


def test_where_no_more_are_kept_their_run_is_closed(tmp_path: Path, killed: Killed) -> None:
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    go_on(path, Camera(8, 3), reduction=BINNED)
    check(path, lost=[], upto=11)
    raw = check_raw(path, frames=[0, 2, 4, 6])
    assert raw.history.closed is not None
    assert raw.history.closed.reason == "no more frames were kept as they came"


def test_where_their_run_is_closed_already_that_is_said(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    """The frames are recorded all the same."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    RunWriter.resume(tmp_path / "run.raw").close()
    go_on(path, Camera(8, 4), reduction=KEPT)
    check(path, lost=[], upto=12)
    assert "run.raw is closed: no more frames are kept as they came" in caplog.text
    check_raw(path, frames=[0, 2, 4, 6])


def test_where_their_run_has_another_writer_it_is_left_alone(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is kept from recording by that, if no more are to be kept."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    with RunWriter.resume(tmp_path / "run.raw"):
        with pytest.raises(RunLockedError, match=r"run\.raw"):
            go_on(path, Camera(8, 4), reduction=KEPT)
        go_on(path, Camera(8, 4), reduction=BINNED)
        check(path, lost=[], upto=12)
        assert "run.raw stays open" in caplog.text


def test_nor_where_those_as_they_came_are_closed_already(tmp_path: Path, killed: Killed) -> None:
    path = tmp_path / "run"
    killed(path, last=8, frozen=1, changes=changes(KEPT))
    before = open_run(path).history.frames
    RunWriter.resume(tmp_path / "run.raw").close()
    go_on(path, Camera(0, 4), reduction=BINNED)
    taken = open_run(path).frames.frame_id.to_numpy().tolist()
    assert taken == [*range(before), *range(7, 11)]
    assert open_run(tmp_path / "run.raw").frames.frame_id.to_numpy().tolist() == [0, 2, 4, 6]


def test_frames_that_were_not_to_be_kept_are_not_said_to_be_lost(
    tmp_path: Path, killed: Killed
) -> None:
    """Nothing that was to be kept is missing in front of the first one that is."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    go_on(path, Camera(8, 4), reduction=KEPT)
    raw = check_raw(path, frames=[0, 2, 4, 6, 8, 10])
    assert {each.reason for each in raw.dropped} == {NOT_KEPT}


def test_a_recording_that_has_no_frame_yet_is_gone_on_with_from_any_counter(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    """It died while it waited for the first one: none is missing then."""
    path = tmp_path / "run"
    killed(path, last=0, changes=changes(KEPT))
    go_on(path, Camera(1000, 4), reduction=KEPT)
    run = open_run(path)
    assert run.frames.frame_id.to_numpy().tolist() == [1000, 1001, 1002, 1003]
    assert not run.dropped
    assert "gap" not in caplog.text


def test_frames_may_be_kept_from_then_on(tmp_path: Path, killed: Killed) -> None:
    """Where none were before, their run is made."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(BINNED))
    go_on(path, Camera(8, 5), reduction=KEPT)
    check(path, lost=[], upto=13)
    check_raw(path, frames=[8, 10, 12])


def test_those_of_another_run_of_the_name_are_left_alone(tmp_path: Path, killed: Killed) -> None:
    """Their run was left behind when the other one was removed."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    shutil.rmtree(path)
    killed(path, last=8, changes=changes(BINNED))
    with pytest.raises(RunExistsError, match=r"run\.raw exists already"):
        go_on(path, Camera(8, 4), reduction=KEPT)
    go_on(path, Camera(8, 4), reduction=BINNED)
    check(path, lost=[], upto=12)
    assert not open_run(tmp_path / "run.raw").closed


def test_where_they_are_damaged_the_others_are_recorded(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    (tmp_path / "run.raw" / log_key(1)).write_bytes(b"lost\n" * 40)
    go_on(path, Camera(8, 4), reduction=BINNED)
    check(path, lost=[], upto=12)
    assert "what was kept of frames as they came is left alone" in caplog.text


def test_something_else_in_their_place_is_refused(tmp_path: Path, killed: Killed) -> None:
    """The run can still be gone on with."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(BINNED))
    acquire(Camera(0, 2), tmp_path / "run.raw")
    with pytest.raises(RunExistsError, match=r"run\.raw exists already"):
        go_on(path, Camera(8, 4), reduction=KEPT)
    go_on(path, Camera(8, 4), reduction=BINNED)
    check(path, lost=[], upto=12)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (["sparsify:3"], [], "are reduced by 'sparsify:3.0' from .*, as it says, .* by nothing"),
        ([], ["sparsify:3"], "are reduced by nothing, as it says, .* by 'sparsify:3.0'"),
        (
            ["sparsify:3"],
            ["sparsify:4"],
            "by 'sparsify:3.0' from .*, as it says, .* by 'sparsify:4.0'",
        ),
        (
            ["bin:2"],
            ["bin:2,method=sum,dtype=uint16"],
            "by 'bin:2x2' from 6 × 4 uint16, as it says, .* by 'bin:2x2,",
        ),
        (
            ["background:A"],
            ["background:C"],
            r"by 'background:.*a.npy' \(blake3:[0-9a-f]{8}\) from .*, as it says",
        ),
    ],
)
def test_frames_are_not_reduced_otherwise_than_the_run_says(
    tmp_path: Path, killed: Killed, before: list[str], after: list[str], message: str
) -> None:
    """Whoever reduces the frames as they came again, to compare, would get others."""
    path = tmp_path / "run"
    files = {"A": tmp_path / "a.npy", "B": tmp_path / "b.npy", "C": tmp_path / "c.npy"}
    for name, level in (("A", 0), ("B", 0), ("C", 1)):
        np.save(files[name], np.full((6, 4), level, "uint16"))

    def steps(given: list[str]) -> list[str]:
        letters = [each.partition(":")[2] for each in given]
        return [f"background:{files[each]}" for each in letters if each in files] or given

    killed(path, last=8, changes=changes({"steps": steps(before)}))
    with pytest.raises(FrameError, match=f"(?s){message}.*give the same steps"):
        go_on(path, Camera(8, 4), reduction={"steps": steps(after)})
    # The same image may lie in another file.
    same = [each.replace(":A", ":B") for each in before]
    go_on(path, Camera(8, 4), reduction={"steps": steps(same)})
    run = open_run(path)
    assert run.closed
    assert run.frames.frame_id.to_numpy().tolist() == [*range(12)]


def test_the_cameras_keep_their_channels(tmp_path: Path, killed: Killed) -> None:
    """Frames of the one would be taken for those of the other, whose size is the same."""
    path = tmp_path / "run"
    geometry = Geometry(("c", "y", "x"), (2, 6, 4), np.dtype("uint16"))
    metadata = ImageMetadata(channels=("left", "right"))
    RunWriter.create(path, geometry, metadata=metadata).abandon()
    camera = Camera(0, 4)
    camera.geometry = geometry
    for channels in (("right", "left"), ()):
        camera.metadata = ImageMetadata(channels=channels)
        with pytest.raises(FrameError, match=r"run holds the channels left, right.*--channels"):
            go_on(path, camera)
    camera.metadata = metadata
    go_on(path, camera)
    assert open_run(path).frames.shape == (4, 2, 6, 4)


def test_what_a_run_keeps_of_what_is_set_otherwise_is_told(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run"
    killed(path, last=8)
    go_on(path, Camera(8, 4), frames_per_block=3, compression="zstd")
    assert open_run(path).layout.frames_per_block == 4
    assert "a block has 4 frames, as before" in caplog.text
    assert "the frames are packed by none, as before" in caplog.text


def test_what_overload_does_is_not_changed_either(tmp_path: Path, killed: Killed) -> None:
    """The flags of the frames say which of the steps were done; without any more, none is."""
    path = tmp_path / "run"
    declared = {"overload_steps": ["sparsify:1"]}
    killed(path, last=8, changes=changes(declared, overload="reduce"))
    other = {"overload_steps": ["sparsify:2"]}
    with pytest.raises(FrameError, match=r"in times of overload by 'sparsify:1\.0' from"):
        go_on(path, Camera(8, 4), reduction=other, overload="reduce")
    go_on(path, Camera(8, 4), overload="drop-newest")
    check(path, lost=[], upto=12)


def test_a_source_that_says_something_else_of_itself_is_noted(
    tmp_path: Path, killed: Killed, caplog: pytest.LogCaptureFixture
) -> None:
    """What the run says of its frames was said of the earlier ones."""
    path = tmp_path / "run"
    killed(path, last=8)
    camera = Camera(8, 4)
    camera.metadata = ImageMetadata(exposure=0.02, instrument={"lens": "63x"})
    go_on(path, camera)
    (note,) = open_run(path).notes
    assert note.topic == "source"
    assert note.text.endswith('exposure 0.02 and not null, instrument lens "63x" and not null')
    assert note.text in caplog.text


def test_so_is_a_source_that_says_again_what_the_run_does(tmp_path: Path, killed: Killed) -> None:
    """Whoever reads the notes would take what was said in between for true of its frames as well."""
    path = tmp_path / "run"
    killed(path, last=8, changes=changes(KEPT))
    for first in (8, 16):
        killed(path, first=first, last=first + 8, changes=changes(KEPT, exposure=0.02))
    go_on(path, Camera(24, 4), reduction=KEPT)
    for place in (path, tmp_path / "run.raw"):
        notes = [each.text for each in open_run(place).notes if each.topic == "source"]
        assert notes == [
            "from here on the source says what the run does not: exposure 0.02 and not null",
            "from here on the source says again what the run does",
        ]
