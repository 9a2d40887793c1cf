"""What a power cut would tell: each thing is durable before the next one builds on it."""

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition.errors import StorageError
from forebay.acquisition.storage.folder import FolderStorage

LOG = "_forebay/log/00000001.log"


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every call that changes or flushes something, with the path that it concerns."""
    calls: list[tuple[str, str]] = []

    def name(what: Any, below: int | None = None) -> str:
        path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(what)
        if below is not None:
            path = Path(f"/proc/self/fd/{below}").readlink() / path
        return path.relative_to(tmp_path).as_posix() if path.is_relative_to(tmp_path) else ""

    def watch(call: str, *, of: int) -> None:
        original = getattr(os, call)

        def watched(*args: Any, **options: Any) -> Any:
            kind = call
            if call == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode):
                kind = "fsync folder"
            calls.append((kind, name(args[of], options.get("dst_dir_fd"))))
            return original(*args, **options)

        monkeypatch.setattr(os, call, watched)

    for call in ("write", "pwritev", "fsync", "fdatasync", "mkdir"):
        watch(call, of=0)
    for call in ("link", "rename", "replace"):
        watch(call, of=1)
    unlink = os.unlink

    def unlinked(*args: Any, **options: Any) -> None:
        unlink(*args, **options)
        calls.append(("unlink", name(args[0])))

    # What is not there is no loss.
    monkeypatch.setattr(os, "unlink", unlinked)
    return calls


def test_a_block_is_durable_before_its_record_and_shown_after_it(
    tmp_path: Path, trace: list[tuple[str, str]]
) -> None:
    """Objects flushed; named, and only then the old names removed; the record; the arrays."""
    writer = RunWriter.create(
        tmp_path / "run", Geometry(("y", "x"), (3, 4), np.dtype("u2")), frames_per_block=2
    )
    writer.append(Frame(0, 0, np.zeros((3, 4), "u2")))
    del trace[:]
    writer.append(Frame(1, 1, np.zeros((3, 4), "u2")))
    arrays = {"timestamp": "c.0", "frame_id": "c.0", "flags": "c.0", "frames": "c.0.0.0"}
    asides = [f"run/_forebay/aside/00000001.{array}.{key}" for array, key in arrays.items()]

    def shown(array: str) -> list[tuple[str, str]]:
        folder = f"run/{array}".rstrip("/")
        aside = "run/_forebay/aside/document." + f"{array}/zarr.json".lstrip("/").replace("/", ".")
        replaced = ("replace", f"{folder}/zarr.json")
        return [("write", aside), ("fsync", aside), replaced, ("fsync folder", folder)]

    # What is in one set is done at a time; what follows it, when all of it is done.
    expected = [
        {("pwritev", aside) for aside in asides},
        {("fsync", aside) for aside in asides},
        {("link", f"run/{array}/{key}") for array, key in arrays.items()},
        {("fsync folder", f"run/{array}") for array in arrays},
        {("unlink", aside) for aside in asides},
        {("write", f"run/{LOG}")},
        {("fdatasync", f"run/{LOG}")},
        {call for array in arrays for call in shown(array)},
        *({call} for call in shown("")),
    ]
    # A part of an object is written as often as there are parts.
    calls = [each for before, each in zip([None, *trace], trace, strict=False) if each != before]
    done = iter(calls)
    for number, together in enumerate(expected):
        assert {next(done) for _ in together} == together, number
    assert next(done, None) is None
    for array in arrays:
        assert [call for call in calls if call in shown(array)][-4:] == shown(array)
    writer.abandon()


def test_a_run_is_durable_before_it_has_its_name(
    tmp_path: Path, trace: list[tuple[str, str]]
) -> None:
    """Every file and folder of a new run is flushed before the rename, and the name after it."""
    path = tmp_path / "above" / "run"
    RunWriter.create(path, Geometry(("y", "x"), (3, 4), np.dtype("u2"))).abandon()
    (named,) = [index for index, (call, _) in enumerate(trace) if call == "rename"]
    assert trace[named:] == [("rename", "above/run"), ("fsync folder", "above")]
    made = {what for call, what in trace if call in {"mkdir", "write"} and what}
    flushed = {what for call, what in trace[:named] if call.startswith("fsync")}
    assert len(made) == 1 + 8 + 6
    assert made - {"above"} <= flushed
    assert ("fsync folder", "") in trace or ("fsync folder", ".") in trace


def test_a_resumed_log_is_durable_before_the_next_one_seals_it(
    tmp_path: Path, trace: list[tuple[str, str]]
) -> None:
    """What a killed writer had written without flushing it is flushed before it is built on."""
    path = tmp_path / "run"
    RunWriter.create(path, Geometry(("y", "x"), (3, 4), np.dtype("u2"))).abandon()
    del trace[:]
    RunWriter.resume(path).abandon()
    second = "run/_forebay/log/00000002.log"
    order = [
        ("fsync", f"run/{LOG}"),
        ("write", "run/_forebay/aside/log"),
        ("fsync", "run/_forebay/aside/log"),
        ("link", second),
        ("unlink", "run/_forebay/aside/log"),
        ("fsync folder", "run/_forebay/log"),
    ]
    assert trace[: len(order)] == order


def test_names_of_a_block_that_is_taken_in_are_durable_before_its_record(
    tmp_path: Path, trace: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stored it may have died before they were."""
    path = tmp_path / "run"
    geometry = Geometry(("y", "x"), (3, 4), np.dtype("u2"))
    writer = RunWriter.create(path, geometry, frames_per_block=2)
    writer.append(Frame(0, 0, np.zeros((3, 4), "u2")))

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "append", broken)
        with pytest.raises(StorageError):
            writer.append(Frame(1, 1, np.zeros((3, 4), "u2")))
    writer.abandon()
    del trace[:]
    again = RunWriter.resume(path)
    assert again.committed == 2
    again.abandon()
    named = trace[: trace.index(("link", "run/_forebay/log/00000002.log"))]
    arrays = ("timestamp", "frame_id", "flags", "frames")
    assert {("fsync folder", f"run/{array}") for array in arrays} <= {*named}
