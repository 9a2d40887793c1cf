"""What is given to the Python functions and is of the wrong type is refused in plain words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from obstore.store import MemoryStore
from zarr.storage import ObjectStore

from forebay.acquisition import (
    Extent,
    Frame,
    Geometry,
    ImageMetadata,
    RunWriter,
    acquire,
    find_runs,
    follow,
    open_run,
    verify_run,
)
from forebay.acquisition.errors import (
    AcquisitionError,
    ArgumentError,
    ExtentError,
    FolderError,
    FrameError,
    NoteError,
    RunNameError,
    RunNotFoundError,
    SourceError,
)
from forebay.acquisition.run.recompress import recompress
from forebay.acquisition.sources import open_source

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


@pytest.mark.parametrize("extent", [7, (0, 3), Extent(None, None), Extent(0.0, 1.0)])  # type: ignore[arg-type]
def test_frames_of_what_is_no_extent_are_refused(
    tmp_path: Path, write_run: Write, extent: Any
) -> None:
    """And so are pixels that are no slice."""
    write_run()
    run = open_run(tmp_path / "run")
    with pytest.raises(ExtentError, match=r"run\.read\(run\.blocks, Extent"):
        run.read(run.blocks, extent)
    wrong: Any = 3
    with pytest.raises(ExtentError, match="x is 3: give a slice"):
        run.read(run.blocks, Extent(0, 1), x=wrong)


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


@pytest.mark.parametrize("what", [7, None, "run", Path("run"), [], PIXELS])
def test_what_is_no_run_is_told_as_that(tmp_path: Path, what: Any) -> None:
    """Also where it is the folder of one."""
    calls: list[Callable[[], Any]] = [
        lambda: verify_run(what),
        lambda: next(follow(what)),
        lambda: recompress(what, tmp_path / "new", "zstd"),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match="is no run: give what open_run returns"):
            call()


@pytest.mark.parametrize("what", [7, None, "s3://bucket/run", Path("run")])
def test_what_is_no_store_over_a_bucket_is_told_as_that(what: Any) -> None:
    """Whether a run is to be made in it or taken over."""
    calls: list[Callable[[], Any]] = [
        lambda: RunWriter.create_in(what, "run", GEOMETRY),
        lambda: RunWriter.take_over(what),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match="is no store over a bucket: give"):
            call()
    with pytest.raises(RunNameError, match="is not a run name"):
        RunWriter.create_in(ObjectStore(MemoryStore()), Path("run"), GEOMETRY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"metadata": 7}, "7 does not say what is known of the instrument: give"),
        ({"metadata": ""}, "does not say what is known of the instrument: give"),
        ({"metadata": {"exposure": 1}}, "does not say what is known of the instrument: give"),
        ({"provenance": "binned"}, "provenance is 'binned': give a mapping"),
        ({"provenance": {"by": PIXELS}}, "provenance cannot be kept as JSON"),
        ({"compression": "gzip"}, "'gzip' is not one of none, .* choose one"),
        ({"compression": None}, "None is not one of none, .* choose one"),
        ({"run_id": 7}, "run_id is 7: give the text of a UUID"),
        ({"run_id": "night"}, "run_id is 'night': give the text of a UUID"),
        ({"clock": None}, "None is no clock"),
        ({"frames_per_block": True}, "give a whole number"),
    ],
)
def test_what_cannot_be_kept_of_a_new_run_is_refused(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    """And nothing is left of it."""
    with pytest.raises(AcquisitionError, match=told):
        RunWriter.create(tmp_path / "run", GEOMETRY, **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"pixel_size": 0.1},
        {"pixel_size": (0.1,)},
        {"pixel_size": "ab"},
        {"exposure": "10 ms"},
        {"frame_rate": [50]},
        {"channels": "red"},
        {"channels": (1, 2)},
        {"instrument": [1]},
    ],
)
def test_metadata_of_a_wrong_type_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """The message names what is wrong, and what it should be."""
    (name,) = wrong
    with pytest.raises(SourceError, match=f"the instrument's {name} is .*: give"):
        RunWriter.create(tmp_path / "run", GEOMETRY, metadata=ImageMetadata(**wrong))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dims", "shape"),
    [(7, (3, 4)), (("y", "x"), 12), (("y", "x"), (3, 4.0)), (("y", "x"), (3, True))],
)
def test_a_geometry_of_wrong_types_is_refused(tmp_path: Path, dims: Any, shape: Any) -> None:
    """Axes are names, and their lengths integers."""
    with pytest.raises(FrameError, match="frames have the"):
        RunWriter.create(tmp_path / "run", Geometry(dims, shape, np.dtype("u2")))
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_closed_for_what_is_no_text(tmp_path: Path) -> None:
    """It can be closed in the right way then."""
    writer = RunWriter.create(tmp_path / "run", GEOMETRY)
    writer.append(Frame(0, 0, PIXELS))
    wrong: Any = 7
    with pytest.raises(NoteError, match="for the reason 7: give a text"):
        writer.close(reason=wrong)
    writer.close(reason="done")
    run = open_run(tmp_path / "run")
    assert (run.history.frames, run.closed) == (1, True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"frames_per_block": "many"}, "frames_per_block cannot be 'many'"),
        ({"compression": "gzip"}, "compression cannot be 'gzip'"),
        ({"buffer_bytes": []}, r"buffer_bytes cannot be \[\]"),
        ({"overload": "wait"}, "overload cannot be 'wait'"),
        ({"overload": "spill"}, "needs the folder 'spill'"),
        ({"settings": {"compression": "zstd"}}, "settings are .*: give an AcquisitionSettings"),
        ({"expected_frames": "all"}, "expected_frames is 'all': give an integer"),
        ({"expected_frames": -1}, "expected_frames is -1: give an integer, 0 or more"),
        ({"stop": 7}, "stop is 7: give a threading.Event"),
        ({"on_status": 7}, "on_status is 7: give a function"),
        ({"clock": 7}, "7 is no clock"),
    ],
)
def test_an_acquisition_of_wrong_arguments_does_not_begin(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    """And nothing is left of it."""
    with (
        open_source("simulated:shape=8x8", frames=2) as source,
        pytest.raises(ArgumentError, match=told),
    ):
        acquire(source, tmp_path / "run", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_resumed_by_what_is_no_clock(tmp_path: Path) -> None:
    """It can be resumed in the right way then."""
    RunWriter.create(tmp_path / "run", GEOMETRY).abandon()
    wrong: Any = 7
    with pytest.raises(ArgumentError, match="7 is no clock"):
        RunWriter.resume(tmp_path / "run", clock=wrong)
    RunWriter.resume(tmp_path / "run").close()


@pytest.mark.parametrize("depth", ["deep", None, -1, 1.5])
def test_runs_are_not_sought_in_what_is_no_depth(tmp_path: Path, depth: Any) -> None:
    """Nor in a path that is none."""
    with pytest.raises(ArgumentError, match=r"depth is .*: give an integer"):
        next(find_runs(tmp_path, depth=depth))
    with pytest.raises(FolderError, match="cannot be read"):
        next(find_runs("runs\0"))
