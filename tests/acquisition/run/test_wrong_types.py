"""What is given to the Python functions and is of the wrong type is refused in plain words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Extent, Frame, Geometry, RunWriter, acquire, find_runs, open_run
from forebay.acquisition.errors import (
    ExtentError,
    FolderError,
    FrameError,
    NoteError,
    RunNameError,
    RunNotFoundError,
    SourceError,
)

GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("u2"))
PIXELS = np.zeros((3, 4), "u2")

type Write = Callable[..., Any]


@pytest.mark.parametrize("blocks", [0, None, [0], {1, 2}, "all"])
def test_frames_of_what_are_no_blocks_are_refused(
    tmp_path: Path, write_run: Write, blocks: Any
) -> None:
    """The message says what to give instead."""
    write_run()
    with pytest.raises(ExtentError, match=r"are no blocks of the run: give some of run\.blocks"):
        open_run(tmp_path / "run").frames_of(blocks)


def test_frames_of_blocks_that_do_not_follow_each_other_are_refused(
    tmp_path: Path, write_run: Write
) -> None:
    """Neither as a lazy array nor at once: nobody would know which frames they are."""
    write_run(frames=12, frames_per_block=4)
    run = open_run(tmp_path / "run")
    for blocks in (run.blocks[::2], run.blocks[::-1]):
        with pytest.raises(ExtentError, match="does not follow block"):
            run.frames_of(blocks)
        with pytest.raises(ExtentError, match="does not follow block"):
            run.read(blocks, Extent(0, 12))
    assert run.frames_of(run.blocks[1:]).frame_id.to_numpy().tolist() == [*range(4, 12)]
    assert run.frames_of([]).shape == (0, 6, 8)


@pytest.mark.parametrize("what", [7, None, b"runs"])
def test_what_names_no_folder_is_refused(what: Any) -> None:
    """Wherever a folder is asked for."""
    with pytest.raises(FolderError, match="is no folder of runs"):
        next(find_runs(what))
    with pytest.raises(RunNotFoundError, match="is no place of a run"):
        open_run(what)
    with pytest.raises(RunNotFoundError, match="is no place of a run"):
        RunWriter.resume(what)
    with pytest.raises(RunNameError, match="is no place for a run"):
        RunWriter.create(what, GEOMETRY)


@pytest.mark.parametrize(
    ("geometry", "per_block"),
    [
        (7, 2),
        ((3, 4), 2),
        (Geometry(("y", "x"), (3, 4), "uint16"), 2),  # type: ignore[arg-type]
        (GEOMETRY, "many"),
        (GEOMETRY, 1.5),
    ],
)
def test_a_run_of_nothing_that_frames_can_be_is_not_made(
    tmp_path: Path, geometry: Any, per_block: Any
) -> None:
    """And nothing is left of it."""
    with pytest.raises(FrameError, match="give a"):
        RunWriter.create(tmp_path / "run", geometry, frames_per_block=per_block)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frame",
    [
        7,
        None,
        PIXELS,
        Frame("1", 0, PIXELS),  # type: ignore[arg-type]
        Frame(1, "now", PIXELS),  # type: ignore[arg-type]
        Frame(1, 0.5, PIXELS),  # type: ignore[arg-type]
        Frame(1, 0, PIXELS, "dark"),  # type: ignore[arg-type]
        Frame(1, 0, PIXELS.tolist()),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_frame_is_not_taken_and_ends_nothing(tmp_path: Path, frame: Any) -> None:
    """The next frame is taken as if nothing had been."""
    with RunWriter.create(tmp_path / "run", GEOMETRY) as writer:
        writer.append(Frame(0, 0, PIXELS))
        with pytest.raises(FrameError, match="give a"):
            writer.append(frame)
        writer.append(Frame(1, 1, PIXELS))
    assert open_run(tmp_path / "run").history.frames == 2


def test_what_cannot_be_written_down_ends_nothing(tmp_path: Path) -> None:
    """The writer goes on, with what is right."""
    with RunWriter.create(tmp_path / "run", GEOMETRY) as writer:
        writer.append(Frame(0, 0, PIXELS))
        note: Any = writer.note
        for topic, text in ((1, 2), ("event", {"laser"}), (None, "on")):
            with pytest.raises(NoteError, match="a note is a topic and a text"):
                note(topic, text)
        drop: Any = writer.drop
        for first, last, reason in (("1", 1, "lost"), (1, None, "lost"), (1, 1, 7)):
            with pytest.raises(FrameError, match="give"):
                drop(first, last, reason=reason)
        writer.note("event", "laser")
        writer.drop(1, 1, reason="lost")
    run = open_run(tmp_path / "run")
    assert [(each.topic, each.text) for each in run.notes] == [("event", "laser")]
    assert [(each.first, each.reason) for each in run.dropped] == [(1, "lost")]


@pytest.mark.parametrize("source", [7, "simulated:", PIXELS])
def test_what_is_no_source_is_refused_before_a_run_is_made(tmp_path: Path, source: Any) -> None:
    """The message tells how to open one."""
    with pytest.raises(SourceError, match="open one with open_source"):
        acquire(source, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
