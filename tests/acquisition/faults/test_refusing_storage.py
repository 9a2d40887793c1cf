"""The storage refuses, once or from some moment on: nothing is promised that is not there."""

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.acquisition.faults.checks import check_committed, check_whole
from tests.acquisition.faults.disks import copy_of, make_image, mounted_image
from tests.acquisition.faults.forked import Forks
from tests.acquisition.faults.interception import End
from tests.acquisition.faults.promises import (
    PromiseReader,
    Promises,
    promised_frames,
    read_promises,
)
from tests.acquisition.faults.recordings import (
    FRAMES_PER_BLOCK,
    LARGER,
    QUIET_SECONDS,
    RUN,
    go_on,
    record,
    record_on,
)
from tests.acquisition.faults.system_calls import Call

from forebay.acquisition import open_run

pytestmark = pytest.mark.fault

FRAMES = 4000


def test_what_could_not_be_flushed_is_written_anew_into_another_file(
    memory: Callable[[], Path], forks: Forks
) -> None:
    """A flush that failed is not tried again: what the system says of that file is worth nothing."""
    folder = memory()
    (disk := folder / "disk").mkdir()
    of_file: list[str] = []
    refused: list[Path] = []

    def refuse_once(call: Call) -> End | int:
        is_object = call.path.parent.name == "aside" and "frames" in call.path.name
        if not refused and call.name == "fsync" and is_object:
            refused.append(call.path)
            return errno.EIO
        if refused and call.path == refused[0]:
            of_file.append(call.name)
        return End.DONE

    child = forks.start(record, disk, folder / "promises")
    child.follow(disk, refuse_once)
    assert child.wait() == 0
    assert refused, "no object was ever flushed"
    assert "create" in of_file[: of_file.index("fsync")], of_file
    check_whole(disk / RUN, range(10, 16))
    assert promised_frames(folder / "promises") == 5


@pytest.mark.parametrize("refused", [("fsync", "fdatasync"), ("fdatasync",)], ids="+".join)
def test_a_device_that_flushes_nothing_any_more_ends_the_recording(
    memory: Callable[[], Path], forks: Forks, refused: tuple[str, ...]
) -> None:
    """Nothing is promised, or seen, that was not flushed while it could be."""
    folder = memory()
    (disk := folder / "disk").mkdir()
    seen: list[int] = []

    def refuse(call: Call) -> End | int:
        if call.name not in refused or not promised_frames(folder / "promises"):
            return End.DONE
        if not seen:
            seen.append(promised_frames(folder / "promises"))
        return errno.EIO

    child = forks.start(record, disk, folder / "promises")
    child.follow(disk, refuse)
    assert child.wait() == 1
    assert seen, "the device never refused"
    *_, last = read_promises(folder / "promises")
    assert last["failed"] == "StorageError"
    assert "I/O error" in last["text"]
    check_committed(disk / RUN, promised_frames(folder / "promises"))
    # The first block was promised before the second one came.
    assert open_run(disk / RUN).history.frames == seen[0] == FRAMES_PER_BLOCK
    going_on = Promises(folder / "going on")
    go_on(disk, going_on, counters=range(16, 20))
    going_on.close()
    check_whole(disk / RUN, range(10, 20))


def test_a_failure_ends_the_recording_though_no_frame_comes(
    memory: Callable[[], Path], forks: Forks
) -> None:
    """The first block cannot be named, and the camera is quiet until it is told to stop."""
    folder = memory()
    (disk := folder / "disk").mkdir()

    def refuse(call: Call) -> End | int:
        return errno.EIO if call.path.match(f"{RUN}/frames/c.*") else End.DONE

    child = forks.start(record, disk, folder / "promises")
    child.follow(disk, refuse)
    assert child.wait() == 1
    (told,) = read_promises(folder / "promises")
    assert told["failed"] == "StorageError"
    assert told["seconds"] < QUIET_SECONDS


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own."""
    image = make_image(tmp_path / "image", "ext4")
    with mounted_image(image, tmp_path / "disk", "ext4") as disk:
        yield disk


@pytest.fixture
def promises(tmp_path: Path) -> Iterator[PromiseReader]:
    """What the writer promises."""
    with PromiseReader(tmp_path / "promises") as promises:
        yield promises


def forbid(disk: Path, folder: str) -> None:
    subprocess.run(["chattr", "+i", disk / RUN / folder], check=True)


def allow(disk: Path, folder: str) -> None:
    subprocess.run(["chattr", "-i", disk / RUN / folder], check=True)


@pytest.mark.parametrize("folder", ["_forebay/aside", "frames"])
def test_a_folder_that_takes_no_file_any_more_ends_the_recording(
    disk: Path, promises: PromiseReader, forks: Forks, tmp_path: Path, folder: str
) -> None:
    """What was promised is there; when the folder takes files again, the run goes on."""
    child = forks.start(record_on, disk, promises.path, followed=False, frames=FRAMES)
    promises.wait_for(10)
    forbid(disk, folder)
    try:
        assert child.wait() == 1
        promises.read()
        assert promises.all[-1]["failed"] == "StorageError"
        assert "not permitted" in promises.all[-1]["text"]
        check_committed(disk / RUN, promises.frames, LARGER)
    finally:
        allow(disk, folder)
    going_on = Promises(tmp_path / "going on")
    go_on(disk, going_on, counters=range(FRAMES, FRAMES + 5))
    going_on.close()
    check_whole(disk / RUN, range(FRAMES + 5), LARGER)


def test_a_file_system_that_becomes_read_only_ends_the_recording(
    promises: PromiseReader, forks: Forks, tmp_path: Path
) -> None:
    """What was promised is there when it is mounted again, and the run goes on."""
    image = make_image(tmp_path / "image", "ext4")
    with mounted_image(image, tmp_path / "disk", "ext4") as disk:
        child = forks.start(record_on, disk, promises.path, followed=False, frames=FRAMES)
        promises.wait_for(10)
        # What the kernel does itself when the device reports errors.
        subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
        assert child.wait() == 1
        promises.read()
        assert promises.all[-1]["failed"] == "StorageError"
    # A process with mounts of its own may hold the first one, which would then be mounted again.
    again = copy_of(image, tmp_path / "again")
    with mounted_image(again, tmp_path / "disk", "ext4") as disk:
        check_committed(disk / RUN, promises.frames, LARGER)
        going_on = Promises(tmp_path / "going on")
        go_on(disk, going_on, counters=range(FRAMES, FRAMES + 5))
        going_on.close()
        check_whole(disk / RUN, range(FRAMES + 5), LARGER)
