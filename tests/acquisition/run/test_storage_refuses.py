"""No room, no permission, no second chance: what a writer does when the storage refuses."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.acquisition import Frame, Geometry, RunWriter, open_run, verify_run
from forebay.acquisition.errors import NoSpaceError, StorageError

GEOMETRY = Geometry(("y", "x"), (64, 64), np.dtype("uint16"))

ON_A_SMALL_DISK = """
import sys, numpy as np
from pathlib import Path
from forebay.acquisition import Frame, Geometry, RunWriter, open_run, verify_run
from forebay.acquisition.errors import StorageError

disk = Path(sys.argv[1])
(disk / "ballast").write_bytes(bytes(2 << 20))
geometry = Geometry(("y", "x"), (256, 256), np.dtype("uint16"))

def frame(counter):
    return Frame(counter, counter, np.full((256, 256), counter, "u2"))

writer = RunWriter.create(disk / "run", geometry, frames_per_block=4)
committed, counter = 0, 0
try:
    while True:
        block = writer.append(frame(counter))
        committed += 4 if block else 0
        counter += 1
except StorageError as error:
    print(error)
    assert "no space is left" in str(error) and f"block {committed // 4} of" in str(error)
assert 4 <= committed < 64
try:
    writer.append(frame(counter))
    raise SystemExit("a writer that failed took a frame")
except StorageError as error:
    assert "has ended" in str(error)
writer.close()

run = open_run(disk / "run")
assert not run.closed and run.writer is None
assert run.history.frames == committed
assert (run.frames.to_numpy()[:, 0, 0] == np.arange(committed)).all()
assert verify_run(run).ok, verify_run(run)
try:
    (disk / "other").mkdir()
    with RunWriter.create(disk / "other" / "run", geometry, frames_per_block=4) as other:
        for number in range(4):
            other.append(frame(number))
    raise SystemExit("there was room")
except StorageError as error:
    assert "no space is left" in str(error)

(disk / "ballast").unlink()
with RunWriter.resume(disk / "run") as writer:
    writer.append(frame(counter + 5))
run = open_run(disk / "run")
assert verify_run(run).ok and run.closed and run.history.frames == committed + 1
(lost,) = run.dropped
assert (lost.first, lost.last) == (committed, counter + 4)
print("recovered")
"""


def test_a_full_disk_ends_the_writer_and_keeps_what_was_committed(tmp_path: Path) -> None:
    """On a real file system of 6 MB: the block is named, what was before stays, room revives."""
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = 'mount -t tmpfs -o size=6m forebay-test "$0" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", inside]
    may_mount = (
        shutil.which("unshare")
        and not subprocess.run(
            [*command, disk, "true"], capture_output=True, check=False
        ).returncode
    )
    if not may_mount:
        pytest.skip("this system does not let its users mount a file system of their own")
    done = subprocess.run(
        [*command, disk, sys.executable, "-W", "error", "-c", ON_A_SMALL_DISK, disk],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("recovered\n")


def test_a_file_that_may_not_grow_ends_the_writer(tmp_path: Path) -> None:
    """The same with a limit on the length of files, which needs no permission to set."""
    script = f"""
import resource, signal, numpy as np
from forebay.acquisition import Frame, Geometry, RunWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
geometry = Geometry(("y", "x"), (256, 256), np.dtype("u2"))
writer = RunWriter.create({str(tmp_path / "run")!r}, geometry, frames_per_block=1)
try:
    writer.append(Frame(0, 0, np.zeros((256, 256), "u2")))
except OSError as error:
    print(type(error).__name__, error)
writer.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("StorageError cannot write block 0 of ")
    assert "would be larger than is allowed" in done.stdout
    assert list((tmp_path / "run/_forebay/aside").iterdir()) == []
    assert open_run(tmp_path / "run").history.frames == 0


type Broken = Callable[..., Any]


@pytest.fixture
def write_two(tmp_path: Path) -> Callable[[], RunWriter]:
    def write() -> RunWriter:
        writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=1)
        for counter in range(2):
            writer.append(Frame(counter, counter, np.full((64, 64), counter, "u2")))
        return writer

    return write


@pytest.mark.parametrize("call", ["fsync", "fdatasync", "write", "link", "replace"])
def test_a_call_that_fails_once_is_not_tried_again(
    tmp_path: Path, write_two: Callable[[], RunWriter], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """An I/O error ends the writer though the next call would succeed; resuming goes on."""
    writer = write_two()
    calls: list[Path] = []

    def broken(what: int | Path, *args: Any, **options: Any) -> Any:
        path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else what
        calls.append(path)
        raise OSError(5, "Input/output error")

    # When the log has the block, what is left to do is to show it.
    what = "the metadata" if call == "replace" else "block 2"
    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(StorageError, match=rf"{what} of .*: the device reported an I/O error"):
            writer.append(Frame(2, 2, np.full((64, 64), 2, "u2")))
    # Four objects are made durable at a time, and then shown.
    assert len(calls) == len(set(calls)) == (4 if call in {"fsync", "replace"} else 1)
    with pytest.raises(StorageError, match="has ended"):
        writer.append(Frame(3, 3, np.zeros((64, 64), "u2")))
    writer.close()

    assert open_run(tmp_path / "run").history.frames == (3 if call == "replace" else 2)
    # Where its objects had their names, the block is taken in.
    shown = 2 if call in {"fsync", "link"} else 3
    with RunWriter.resume(tmp_path / "run") as again:
        again.append(Frame(3, 3, np.full((64, 64), 3, "u2")))
    run = open_run(tmp_path / "run")
    assert run.frames.frame_id.to_numpy().tolist() == [*range(shown), 3]
    assert [(each.first, each.last) for each in run.dropped] == [(2, 2)] * (shown == 2)
    assert verify_run(run).ok


def test_names_that_could_not_be_flushed_for_want_of_room_end_the_writer(
    tmp_path: Path, write_two: Callable[[], RunWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room may be waited for, but no flush that failed is to be believed when it is repeated."""
    writer = write_two()
    flush = os.fsync

    def full(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError) as raised:
            writer.append(Frame(2, 2, np.zeros((64, 64), "u2")))
    assert not isinstance(raised.value, NoSpaceError)
    writer.close()
    assert open_run(tmp_path / "run").history.frames == 2


def test_half_a_line_for_which_there_was_no_room_is_taken_back(
    tmp_path: Path, write_two: Callable[[], RunWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be written again when there is room, and nothing is between it and the one before."""
    writer = write_two()
    write = os.write
    written: list[int] = []

    def full(descriptor: int, content: memoryview) -> int:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(write(descriptor, content[:10]))
        return written[0]

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(NoSpaceError):
            writer.note("annotation", "the lamp flickers")
    writer.note("annotation", "the lamp is steady")
    writer.close()
    run = open_run(tmp_path / "run")
    assert [each.text for each in run.notes] == ["the lamp is steady"]
    assert (run.history.frames, run.closed) == (2, True)


def test_after_a_note_that_could_not_be_flushed_nothing_is_added(
    tmp_path: Path, write_two: Callable[[], RunWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it: nobody can tell any more what the log holds."""
    writer = write_two()

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(StorageError, match=r"a note in .*: the device reported an I/O error"):
            writer.note("annotation", "the lamp flickers")
    with pytest.raises(StorageError, match="has ended"):
        writer.append(Frame(2, 2, np.zeros((64, 64), "u2")))
    writer.close()
    run = open_run(tmp_path / "run")
    assert (run.history.frames, run.notes, run.closed) == (2, (), False)


def test_a_line_that_could_not_be_flushed_is_taken_back(
    tmp_path: Path, write_two: Callable[[], RunWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads a record of which the system did not say that it is durable."""
    writer = write_two()
    log = tmp_path / "run/_forebay/log/00000001.log"
    before = log.read_bytes()

    def broken(descriptor: int) -> None:
        assert log.stat().st_size > len(before)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(StorageError):
            writer.append(Frame(2, 2, np.zeros((64, 64), "u2")))
    writer.close()
    assert log.read_bytes() == before


@pytest.mark.parametrize(
    ("call", "number"),
    [("link", errno.EOPNOTSUPP), ("link", errno.ENOSYS), ("fsync", errno.EINVAL)],
)
def test_a_file_system_that_lacks_something_is_refused_with_what_a_run_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """When the run is made, of which nothing is left."""

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StorageError, match="needs one with hard links, fsync and locks"):
            RunWriter.create(tmp_path / "run", GEOMETRY)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was begun is removed again."""

    def broken(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", broken)
        with pytest.raises(StorageError, match=r"cannot write the run .*: no space is left"):
            RunWriter.create(tmp_path / "run", GEOMETRY)
    assert list(tmp_path.iterdir()) == []
    RunWriter.create(tmp_path / "run", GEOMETRY).close()
