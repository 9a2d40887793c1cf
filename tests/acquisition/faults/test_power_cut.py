"""The power is cut while a run is recorded: what was promised lies on the disk.

The disk is an image in memory.  Its copy, made while the writer is stopped, holds what had reached
the disk and nothing of what only the system's memory held.
"""

import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.acquisition.faults.checks import check_committed, check_whole
from tests.acquisition.faults.disks import copy_of, make_image, mounted_image
from tests.acquisition.faults.forked import Child, Forks
from tests.acquisition.faults.interception import End
from tests.acquisition.faults.promises import PromiseReader, Promises
from tests.acquisition.faults.recordings import (
    LARGER,
    RUN,
    go_on,
    record_and_fall_silent,
    record_on,
)
from tests.acquisition.faults.system_calls import Call

from forebay.acquisition import open_run, verify_run
from forebay.acquisition.errors import RunDamagedError, RunNotFoundError

pytestmark = [pytest.mark.fault, pytest.mark.parametrize("kind", ["ext4", "xfs"])]

CUTS = 4
FRAMES = 4000
"""More than are recorded before the last cut."""
LONGEST_DELAY = 0.02


@pytest.fixture
def chance() -> random.Random:
    """What chooses when the power is cut (``FOREBAY_POWER_SEED`` repeats a choice)."""
    seed = int(os.environ.get("FOREBAY_POWER_SEED", secrets.randbits(32)))
    print(f"FOREBAY_POWER_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def folder(memory: Callable[[], Path]) -> Path:
    """A place for images, in memory."""
    return memory()


@pytest.fixture
def image(folder: Path, kind: str) -> Path:
    """A disk with an empty file system."""
    return make_image(folder / "image", kind)


@pytest.fixture
def disk(folder: Path, image: Path, kind: str) -> Iterator[Path]:
    """The same, mounted."""
    with mounted_image(image, folder / "disk", kind) as disk:
        yield disk


@pytest.fixture
def promises(folder: Path) -> Iterator[PromiseReader]:
    """What the writer promises."""
    with PromiseReader(folder / "promises") as promises:
        yield promises


def cut(child: Child, promises: PromiseReader, image: Path, to: Path, delay: float) -> int:
    """Copy the disk at a moment; return the number of frames that had been promised by then."""
    # No event says when the power goes.
    time.sleep(delay)
    child.stop()
    promises.read()
    copy_of(image, to)
    child.go_on()
    return promises.frames


def test_nothing_that_was_promised_is_lost_and_nothing_wrong_is_seen(
    kind: str,
    folder: Path,
    image: Path,
    disk: Path,
    promises: PromiseReader,
    forks: Forks,
    chance: random.Random,
) -> None:
    """At any moment the disk holds a run that is sound, has all that was promised, and goes on."""
    child = forks.start(record_on, disk, promises.path, followed=False, frames=FRAMES)
    promised = []
    for number in range(CUTS):
        promises.wait_for(promises.frames + chance.randrange(2, 60))
        copy = folder / f"cut-{number}"
        promised.append(cut(child, promises, image, copy, chance.random() * LONGEST_DELAY))
    assert not any("closed" in each for each in promises.all), "the run had ended"
    child.kill()
    child.wait()

    for number, frames in enumerate(promised):
        with mounted_image(folder / f"cut-{number}", folder / "after", kind) as after:
            check_committed(after / RUN, frames, LARGER)
            kept = open_run(after / RUN).history.frames
            print(f"{kind}: {frames} frames were promised when the power went, {kept} are there")
            going_on = Promises(folder / f"going-on-{number}")
            go_on(after, going_on, counters=range(FRAMES, FRAMES + 5))
            going_on.close()
            check_whole(after / RUN, range(FRAMES + 5), LARGER)


def test_frames_that_are_safe_by_themselves_survive_without_their_block(
    kind: str, folder: Path, image: Path, disk: Path, promises: PromiseReader, forks: Forks
) -> None:
    """Some time after the last frame came, all are on the disk, and who resumes has them."""
    frames = 5
    child = forks.start(record_and_fall_silent, disk, promises.path, followed=False, frames=frames)
    promises.wait_for(delivered=frames)
    # A frame is safe some hundredths of a second after it has come; nothing tells of it.
    cut(child, promises, image, folder / "cut", 1.0)
    child.kill()
    child.wait()
    with mounted_image(folder / "cut", folder / "after", kind) as after:
        assert open_run(after / RUN).history.frames < frames
        going_on = Promises(folder / "going-on")
        go_on(after, going_on, counters=range(100, 103))
        going_on.close()
        check_whole(after / RUN, range(103))
        counters = open_run(after / RUN).frames.frame_id.to_numpy()
        assert counters.tolist() == [*range(frames), 100, 101, 102]


def is_log(path: Path) -> bool:
    return path.parent.name == "log"


def is_object(path: Path) -> bool:
    return path.parent.name == "aside" and "frames" in path.name


@pytest.mark.parametrize(
    "lost", [lambda _: True, is_log, is_object], ids=["all", "the log", "the frames"]
)
def test_a_writer_whose_flushes_do_nothing_loses_what_it_promised(
    kind: str,
    folder: Path,
    image: Path,
    disk: Path,
    promises: PromiseReader,
    forks: Forks,
    lost: Callable[[Path], bool],
) -> None:
    """So the copy of a disk is without what was not flushed, and the test above proves something.

    What the log tells of and the disk has lost is damage to whoever reads it, and never zeros.
    """

    def pretend(call: Call) -> End:
        flush = call.name in {"fsync", "fdatasync"} and lost(call.path)
        return End.PRETENDED if flush else End.DONE

    child = forks.start(record_on, disk, promises.path, frames=FRAMES)
    following = threading.Thread(target=child.follow, args=(disk, pretend))
    following.start()
    try:
        promises.wait_for(20)
        promised = cut(child, promises, image, folder / "cut", 0.0)
    finally:
        child.kill()
        following.join()
        child.wait()
    with mounted_image(folder / "cut", folder / "after", kind) as after:
        kept, reason = sound_frames(after / RUN)
    print(f"{kind}: {promised} frames were promised without a flush, {kept} are there{reason}")
    assert kept < promised


def sound_frames(path: Path) -> tuple[int, str]:
    """Return how many frames can be read, and why not more; all others are said to be damaged."""
    try:
        run = open_run(path)
    except (RunNotFoundError, RunDamagedError) as error:
        return 0, f" ({error})"
    problems = verify_run(run).problems
    damaged = {each.block: each.extent for each in problems if each.extent is not None}
    for extent in damaged.values():
        with pytest.raises(RunDamagedError):
            run.frames[extent.start : extent.stop].compute()
    lost = sum(len(extent) for extent in damaged.values())
    return run.history.frames - lost, f" ({problems[0].what})" if problems else ""
