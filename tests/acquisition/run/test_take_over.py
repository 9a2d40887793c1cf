"""A writer from which a run was taken changes nothing any more, wherever it was stopped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Frame, Geometry, RunWriter, open_run, verify_run
from forebay.acquisition.errors import RunExistsError, RunLockedError, RunTakenOverError
from forebay.acquisition.run.writing.account import NOT_RECORDED
from forebay.acquisition.storage.folder import FolderStorage

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))


def frame(counter: int, value: int | None = None) -> Frame:
    pixels = np.full((3, 4), counter if value is None else value, "u2")
    return Frame(counter, counter, pixels)


@pytest.fixture
def zombie(tmp_path: Path) -> RunWriter:
    """A writer with one committed block, that is still there."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    for counter in range(3):
        writer.append(frame(counter))
    return writer


def check(path: Path, ids: list[int]) -> None:
    run = open_run(path)
    frames = run.frames.compute()
    assert frames.frame_id.to_numpy().tolist() == ids
    np.testing.assert_array_equal(frames[:, 0, 0], ids)
    assert run.closed
    assert verify_run(run).ok


def test_a_living_writer_keeps_its_run_unless_it_is_taken(
    tmp_path: Path, zombie: RunWriter
) -> None:
    """The message says who has it, and how to take it."""
    with pytest.raises(RunLockedError, match=r"written by process .* take the run over"):
        RunWriter.resume(tmp_path / "run")
    zombie.close()


def test_what_comes_after_a_take_over_is_void(tmp_path: Path, zombie: RunWriter) -> None:
    """The older writer ends with an error at its next commit; the sums of the run close."""
    with RunWriter.resume(tmp_path / "run", take_over=True) as writer:
        for counter in (5, 6):
            writer.append(frame(counter))
        with pytest.raises(RunTakenOverError, match="taken over by another writer"):
            zombie.append(frame(3, value=99))
        zombie.close()
        writer.append(frame(7))
    check(tmp_path / "run", [0, 1, 5, 6, 7])
    (lost,) = open_run(tmp_path / "run").dropped
    assert (lost.first, lost.last, lost.reason) == (2, 4, NOT_RECORDED)


@pytest.mark.parametrize("at", ["publish", "append", "show"])
def test_a_writer_that_slept_through_the_take_over_harms_nothing(
    tmp_path: Path, zombie: RunWriter, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """It had looked, found nobody, and was stopped: before naming, before the log, before showing."""
    original = getattr(FolderStorage, at)
    path = tmp_path / "run"
    successors: list[RunWriter] = []

    def stopped(self: FolderStorage, *args: Any) -> None:
        if not successors:
            writer = RunWriter.resume(path, take_over=True)
            successors.append(writer)
            for counter in (5, 6):
                writer.append(frame(counter))
        original(self, *args)

    monkeypatch.setattr(FolderStorage, at, stopped)
    if at != "show":
        # Before naming there is nothing left to name; before the log, its line is void.
        with pytest.raises((RunExistsError, RunTakenOverError, OSError)):
            zombie.append(frame(3, value=99))
    else:
        zombie.append(frame(3, value=99))
    # What is void is not told of as committed.
    assert zombie.committed == (4 if at == "show" else 2)
    zombie.abandon()
    (writer,) = successors
    writer.append(frame(7))
    writer.close()
    run = open_run(path)
    assert verify_run(run).ok
    taken = run.frames.frame_id.to_numpy().tolist()
    # Where its objects had their names, or its record was there, its frames were saved.
    assert taken == ([0, 1, 5, 6, 7] if at == "publish" else [0, 1, 2, 3, 5, 6, 7])


def test_an_object_that_a_zombie_leaves_is_put_aside(tmp_path: Path, zombie: RunWriter) -> None:
    """The log does not know of it; the successor's takes its place."""
    path = tmp_path / "run"
    with RunWriter.resume(path, take_over=True) as writer:
        (path / "frames/c.1.0.0").write_bytes(b"left by a zombie")
        for counter in (5, 6):
            writer.append(frame(counter))
    zombie.abandon()
    check(path, [0, 1, 5, 6])
    kept = [each.read_bytes() for each in (path / "_forebay/quarantine").rglob("frames.*")]
    assert kept == [b"left by a zombie"]


def test_what_the_next_writer_has_committed_is_never_put_aside(
    tmp_path: Path, zombie: RunWriter
) -> None:
    """Not by one that had taken the run itself, and may put aside what was left before it came."""
    path = tmp_path / "run"
    second = RunWriter.resume(path, take_over=True)
    storage = second._run.storage
    with RunWriter.resume(path, take_over=True) as third:
        for counter in (5, 6):
            third.append(frame(counter))
        late = storage.new_object("frames/c.1.0.0")
        late.write([b"left by a zombie"])
        with pytest.raises(RunExistsError, match="another writer was here"):
            storage.publish([late.finish()])
    second.abandon()
    zombie.abandon()
    check(path, [0, 1, 5, 6])


def test_a_run_that_cannot_be_resumed_is_let_go_of(tmp_path: Path, zombie: RunWriter) -> None:
    """Also while the error is still looked at."""
    zombie.close()
    with pytest.raises(RunExistsError, match="closed and whole") as refused:
        RunWriter.resume(tmp_path / "run")
    assert open_run(tmp_path / "run").writer is None
    assert refused.value is not None
