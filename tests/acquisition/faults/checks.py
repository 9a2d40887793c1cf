"""What must hold of a run whatever was done to its writer."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import dask
import numpy as np
import tensorstore
import zarr
from tests.acquisition.faults.recordings import SMALL, pixels

from forebay.acquisition import Geometry, Run, open_run, verify_run


def counters_of(run: Run) -> list[int]:
    """Return every counter that a run accounts for, in order; one that comes twice is there twice."""
    dropped = [range(each.first, each.last + 1) for each in run.dropped]
    taken = run.frames.frame_id.to_numpy().tolist()
    return sorted([*taken, *itertools.chain(*dropped)])


def check_readers(path: Path, geometry: Geometry = SMALL, *, all_shown: bool = False) -> None:
    """Each reader sees whole committed frames with the right pixels, and nothing else.

    Readers that know only Zarr may be behind, unless the writer has ended in an orderly way.
    """
    run = open_run(path)
    with dask.config.set(scheduler="sync"):
        frames = run.frames.compute()
    committed = run.history.frames
    assert frames.shape[0] == committed
    counters = frames.frame_id.to_numpy().tolist()
    right = np.array([pixels(each, geometry) for each in counters], geometry.dtype)
    right = right.reshape(-1, *geometry.shape)
    np.testing.assert_array_equal(frames, right)
    with zarr.config.set({"array.read_missing_chunks": False}):
        by_zarr = np.asarray(zarr.open_array(path / "frames", mode="r")[:])
        in_group = zarr.open_group(path, mode="r")["frame_id"]
        assert isinstance(in_group, zarr.Array)
        along = np.asarray(in_group[:])
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "frames")}}
    by_tensorstore = tensorstore.open(store, open=True, read=True).result().read().result()
    for seen in (by_zarr, by_tensorstore):
        assert len(seen) == committed if all_shown else len(seen) <= committed
        np.testing.assert_array_equal(seen, right[: len(seen)])
    assert along.tolist() == counters[: len(along)]


def check_committed(path: Path, promised: int, geometry: Geometry = SMALL) -> None:
    """After a writer has died: what it promised is there, and what is there is sound."""
    run = open_run(path)
    assert run.history.frames >= promised, f"{promised} frames were promised"
    damage = [each for each in verify_run(run).problems if each.block is not None]
    assert damage == []
    check_readers(path, geometry)


def check_whole(path: Path, counted: Sequence[int], geometry: Geometry = SMALL) -> None:
    """A closed run is sound, accounts for each counter once, and all readers see all of it."""
    check_sums(path, counted)
    check_tidy(path)
    check_readers(path, geometry, all_shown=True)


def check_sums(path: Path, counted: Sequence[int]) -> None:
    """A closed run is sound, and accounts for each counter once."""
    run = open_run(path)
    closed = run.history.closed
    assert closed
    assert verify_run(run).problems == ()
    assert counters_of(run) == list(counted)
    assert closed.counted == closed.committed + closed.dropped_count == len(counted)


def check_tidy(path: Path) -> None:
    """Nothing is left that was begun and has no name."""
    assert [each.name for each in (path / "_forebay/aside").iterdir()] == []


def left_in_flight(path: Path) -> list[str]:
    """Return what a dead writer had begun and not committed."""
    run = open_run(path)
    aside = [each.name for each in (path / "_forebay/aside").iterdir()]
    committed = {stored.key for block in run.blocks for stored in block.objects}
    objects = {each.relative_to(path).as_posix() for each in path.glob("[!_]*/c.*")}
    named = sorted(objects - committed)
    torn = ["the log's last line"] * bool(run.history.torn_bytes)
    return [*aside, *named, *torn]


def content_of(path: Path) -> list[tuple[str, int, str]]:
    """Return what was committed: each object's key, length and digest."""
    objects = itertools.chain(*(each.objects for each in open_run(path).blocks))
    return [(each.key, each.bytes, each.blake3) for each in objects]
