"""What a writer refuses, and how it accounts for every counter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import (
    Frame,
    FrameFlag,
    Geometry,
    ImageMetadata,
    RunWriter,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import FrameError, SourceError, StorageError
from forebay.acquisition.run.writing.account import NOT_DELIVERED, NOT_RECORDED
from forebay.acquisition.storage.folder import FolderStorage

type Memory = Callable[[], Path]

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))


def frame(counter: int, **changes: Any) -> Frame:
    fields: dict[str, Any] = {"timestamp": counter, "data": np.full((3, 4), counter % 65536, "u2")}
    return Frame(counter, **{**fields, **changes})


def ids(path: Path) -> list[int]:
    taken: list[int] = open_run(path).frames.frame_id.to_numpy().tolist()
    return taken


def dropped(path: Path) -> list[tuple[int, int, str]]:
    return [(each.first, each.last, each.reason) for each in open_run(path).dropped]


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (Geometry(("x", "y"), (3, 4), np.dtype("u2")), "a run keeps"),
        (Geometry(("y", "x"), (3,), np.dtype("u2")), "every axis needs a length"),
        (Geometry(("y", "x"), (0, 4), np.dtype("u2")), "every axis needs a length"),
        (Geometry(("y", "x"), (3, 4), np.dtype("c8")), "integers and floats"),
        (Geometry(("y", "x"), (3, 4), np.dtype("O")), "integers and floats"),
        (Geometry(("y", "x"), (3, 4), np.dtype("longdouble")), "integers and floats"),
        (Geometry(("y", "x"), (2**40, 2**40), np.dtype("u2")), "take fewer frames per block"),
    ],
)
def test_a_geometry_that_cannot_be_kept_is_refused(
    tmp_path: Path, geometry: Geometry, message: str
) -> None:
    """Nothing is made for frames that a run cannot hold."""
    with pytest.raises(FrameError, match=message):
        RunWriter.create(tmp_path / "run", geometry)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("instrument", [{"gain": float("nan")}, {"at": np.uint8(1)}, {(1, 2): 3}])
def test_metadata_that_are_no_json_are_refused(tmp_path: Path, instrument: Any) -> None:
    """What other readers could not parse does not get into a run."""
    with pytest.raises(SourceError, match="cannot be kept as JSON"):
        RunWriter.create(tmp_path / "run", GEOMETRY, metadata=ImageMetadata(instrument=instrument))
    assert list(tmp_path.iterdir()) == []


def test_a_block_without_frames_is_refused(tmp_path: Path) -> None:
    """A block holds a frame at the least."""
    with pytest.raises(FrameError, match="a block of 0 frames"):
        RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (frame(3, data=np.zeros((4, 3), "u2")), r"shape \(4, 3\)"),
        (frame(3, data=np.zeros((3, 4), "u1")), "dtype uint8"),
        (frame(1), "comes again or too late: 2 was the next"),
        (frame(-1), "from 0 to 2"),
        (frame(2**64), "from 0 to 2"),
        (frame(3, timestamp=2**63), "not 64 bits"),
        (frame(3, flags=2**32), "not 32 bits"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, bad: Frame, message: str
) -> None:
    """The frame is named, not counted, and the run goes on as if it had not come."""
    with RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2) as writer:
        writer.append(frame(0))
        writer.append(frame(1))
        with pytest.raises(FrameError, match=message):
            writer.append(bad)
        assert writer.counted == 2
        writer.append(frame(2))
    assert ids(tmp_path / "run") == [0, 1, 2]
    assert dropped(tmp_path / "run") == []


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    """A source that takes counters and times out of arrays is recorded like any other."""
    with RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2) as writer:
        for counter in np.array([3, 5, 9], "uint64"):
            writer.append(frame(counter, timestamp=np.int64(7)))
        first, last = np.array([10, 12])
        writer.drop(first, last, reason="ring")
    assert ids(tmp_path / "run") == [3, 5, 9]
    assert [each[:2] for each in dropped(tmp_path / "run")] == [(4, 4), (6, 8), (10, 12)]
    assert verify_run(open_run(tmp_path / "run")).ok


@pytest.mark.parametrize(("first", "last"), [(1, 4), (5, 4), (2, 2**64), (-3, -1)])
def test_a_drop_that_does_not_follow_is_refused(tmp_path: Path, first: int, last: int) -> None:
    """Counters are dropped in their order, too."""
    with RunWriter.create(tmp_path / "run", GEOMETRY) as writer:
        writer.append(frame(1))
        with pytest.raises(FrameError, match=f"cannot drop the frames {first} to {last}: 2 is"):
            writer.drop(first, last, reason="ring")
    assert dropped(tmp_path / "run") == []


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["frame", "drop", "resume"]), st.integers(0, 3))),
    frames_per_block=st.integers(1, 4),
)
def test_the_sums_always_agree(
    steps: list[tuple[str, int]],
    frames_per_block: int,
    memory: Memory,
) -> None:
    """Taken, dropped, jumped over, or lost with a writer: every counter stands in the run once."""
    path = memory() / "run"
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=frames_per_block)
    counter, first = 5, None
    for what, jump in steps:
        counter += jump
        if what == "frame":
            writer.append(frame(counter))
        elif what == "drop":
            writer.drop(counter, counter, reason="ring")
        else:
            writer.abandon()
            writer = RunWriter.resume(path)
            continue
        first = counter if first is None else first
        counter += 1
    writer.append(frame(counter))
    writer.close()
    run = open_run(path)
    assert run.history.closed is not None
    accounted = sorted(
        [*ids(path), *(n for each in run.dropped for n in range(each.first, each.last + 1))]
    )
    assert accounted == list(range(counter if first is None else first, counter + 1))
    assert run.history.closed.counted == len(accounted) == writer.counted
    assert run.history.closed.committed + run.history.closed.dropped_count == len(accounted)
    assert verify_run(run).ok


def test_drops_at_both_ends_of_a_run_are_kept(tmp_path: Path) -> None:
    """What was lost before the first frame and behind the last one is written down, too."""
    with RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2) as writer:
        writer.drop(10, 12, reason="ring")
        for counter in (13, 15):
            writer.append(frame(counter))
        writer.drop(16, 16, reason="ring")
        writer.drop(17, 18, reason="ring")
    assert dropped(tmp_path / "run") == [
        (10, 12, "ring"),
        (14, 14, NOT_DELIVERED),
        (16, 18, "ring"),
    ]
    closed = open_run(tmp_path / "run").history.closed
    assert closed is not None
    assert (closed.counted, closed.committed, closed.dropped_count) == (9, 2, 7)


def test_a_run_of_drops_alone_closes(tmp_path: Path) -> None:
    """A run in which no frame found room says so."""
    with RunWriter.create(tmp_path / "run", GEOMETRY) as writer:
        writer.drop(0, 4, reason="ring")
    run = open_run(tmp_path / "run")
    assert run.frames.shape == (0, 3, 4)
    assert verify_run(run).ok
    assert dropped(tmp_path / "run") == [(0, 4, "ring")]


def test_a_block_larger_than_the_run_is_a_short_one(tmp_path: Path) -> None:
    """Fewer frames than a block holds are committed by closing; what is absent is not stored."""
    with RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=5000) as writer:
        writer.append(frame(0))
    assert ids(tmp_path / "run") == [0]
    assert (tmp_path / "run" / "frames/c.0.0.0").stat().st_size == 28 + 5000 * 16 + 4


def test_an_exception_within_the_block_closes_the_run_with_its_reason(tmp_path: Path) -> None:
    """What was taken before is committed, and the run says why it ended."""

    def work(writer: RunWriter) -> None:
        with writer:
            writer.append(frame(0))
            raise ValueError("the stage hit its limit")

    with pytest.raises(ValueError, match="the stage hit its limit"):
        work(RunWriter.create(tmp_path / "run", GEOMETRY))
    run = open_run(tmp_path / "run")
    assert run.history.closed is not None
    assert run.history.closed.reason == "ValueError: the stage hit its limit"
    assert ids(tmp_path / "run") == [0]


def test_a_writer_that_ended_takes_nothing(tmp_path: Path) -> None:
    """After `close` or `abandon` there is an error instead of a frame that goes nowhere."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY)
    writer.close()
    writer.close()
    with pytest.raises(StorageError, match="has ended"):
        writer.append(frame(0))
    with pytest.raises(StorageError, match="has ended"):
        writer.drop(0, 1, reason="ring")


def test_flags_are_kept(tmp_path: Path) -> None:
    """Each frame has its own."""
    flags = [FrameFlag(0), FrameFlag.INCOMPLETE, FrameFlag.INCOMPLETE | FrameFlag.SATURATED]
    with RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2) as writer:
        for counter, flag in enumerate(flags):
            writer.append(frame(counter, flags=flag))
    assert open_run(tmp_path / "run").frames.flags.to_numpy().tolist() == [0, 2, 3]


def test_a_resumed_run_says_which_counters_were_lost(tmp_path: Path) -> None:
    """The frames in flight, and those that came while nobody wrote, are named with the reason."""
    path = tmp_path / "run"
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=2)
    for counter in (4, 5, 6):
        writer.append(frame(counter))
    writer.abandon()
    with RunWriter.resume(path) as writer:
        assert (writer.committed, writer.dropped, writer.counted) == (2, 0, 2)
        writer.append(frame(9))
        writer.append(frame(11))
    assert ids(path) == [4, 5, 9, 11]
    assert dropped(path) == [(6, 8, NOT_RECORDED), (10, 10, NOT_DELIVERED)]


def test_what_was_lost_before_the_first_block_is_known(tmp_path: Path) -> None:
    """The first counter is written down at once, so that a kill cannot hide where it began."""
    path = tmp_path / "run"
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=8)
    writer.append(frame(100))
    writer.append(frame(101))
    writer.abandon()
    with RunWriter.resume(path) as writer:
        writer.append(frame(105))
    assert dropped(path) == [(100, 104, NOT_RECORDED)]
    assert verify_run(open_run(path)).ok


def test_uncommitted_objects_are_put_aside(tmp_path: Path, write_run: Any) -> None:
    """What a dead writer had written without committing it is kept, out of the way."""
    pixels: npt.NDArray[Any] = write_run(frames=4, close=False)
    orphans = {"frames/c.1.0.0": b"half", "flags/c.1": b"whole"}
    path = tmp_path / "run"
    for key, content in orphans.items():
        (path / key).write_bytes(content)
    (path / "_forebay/aside/frames-1").write_bytes(b"torn")
    with RunWriter.resume(path) as writer:
        for counter in range(4, 8):
            writer.append(Frame(counter, counter, pixels[counter - 4]))
    kept = {each.name: each.read_bytes() for each in (path / "_forebay/quarantine").rglob("*.*")}
    assert kept == {key.replace("/", "."): content for key, content in orphans.items()}
    assert list((path / "_forebay/aside").iterdir()) == []
    assert verify_run(open_run(path)).ok
    np.testing.assert_array_equal(open_run(path).frames.to_numpy()[4:], pixels)


def test_a_writer_keeps_nothing_of_what_it_has_committed(tmp_path: Path) -> None:
    """However long it runs: neither files aside, nor their names in memory."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    for counter in range(8):
        writer.append(frame(counter))
    storage = writer._run.storage
    assert isinstance(storage, FolderStorage)
    assert storage._named == set()
    aside = tmp_path / "run" / "_forebay/aside"
    assert [each.name for each in aside.iterdir()] == []
    writer.close()
