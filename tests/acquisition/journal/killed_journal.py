"""A journal and a spill queue whose writer is killed at one of its calls to the system after the other.

``killed_journal.py FOLDER STRIDE`` takes each call, or every so many of them;
test_killed_journal.py runs it.  It prints a line of JSON for every point at which the writer was
killed, and fails at the first one that leaves something else than was promised.
"""

import functools
import gc
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forebay.acquisition import Dropped, Frame, Geometry
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.reading import read_journal
from forebay.acquisition.journal.row import Room
from forebay.acquisition.journal.spill import SpillQueue

CALLS = (
    "mkdir",
    "posix_fallocate",
    "pwrite",
    "pwritev",
    "fsync",
    "fdatasync",
    "link",
    "unlink",
    "rename",
)
RUN_ID = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"
GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
SEGMENT = 4096 + 3 * 128
FRAMES = 12

type Told = Callable[[str], None]
type Work = Callable[[Path, Told], None]


def pixels(counter: int) -> npt.NDArray[Any]:
    return (np.arange(12, dtype="uint16").reshape(3, 4) + 1) * (counter + 1)


def keep(folder: Path, told: Told) -> None:
    """Journal frames, lose some, commit behind them, and use freed segments again."""
    room = Room(4 * SEGMENT, SEGMENT, spares=1)
    journal = FrameJournal(folder, run_id=RUN_ID, geometry=GEOMETRY, epoch=1, room=room)
    for counter in range(FRAMES):
        if counter % 5 == 4:
            added = journal.drop(Dropped(counter, counter, "lost", counter))
        else:
            added = journal.append(Frame(counter, counter, pixels(counter)))
        assert added
        told("added")
        if counter % 2:
            journal.flush()
        if counter % 3 == 2:
            # What is committed may go from now on, whether or not it goes.
            told("committed")
            journal.free_through(counter - 1)
    journal.close()
    told("closed")


def spill(folder: Path, told: Told, *, epoch: int = 1, after: int | None = None) -> None:
    """Put two frames for each one that is taken, and free what is taken."""
    room = Room(8 * SEGMENT, SEGMENT, spares=0)
    start = SpillQueue if after is None else functools.partial(SpillQueue.recover, after=after)
    queue = start(folder, RUN_ID, GEOMETRY, epoch=epoch, room=room)
    first = 0 if after is None else FRAMES
    into = np.empty((3, 4), "uint16")
    for counter in range(first, first + FRAMES):
        assert queue.put(Frame(counter, counter, pixels(counter)))
        told("added")
        if counter % 2:
            spilled = queue.take(into)
            assert spilled
            assert spilled.frame
            told("committed")
            queue.free_through(spilled.frame.counter)
    queue.close()
    told("closed")


def kill_at(number: int, work: Work) -> Callable[[Path], tuple[str, list[str]]]:
    """Return what forks, works in a folder, and dies at the given call.

    It returns the call, and what had been told by then; no call if the work came to its end.
    """

    def run(folder: Path) -> tuple[str, list[str]]:
        reading, writing = os.pipe()
        tell = functools.partial(os.write, writing)
        child = os.fork()
        if child == 0:
            _die_at(number, tell)
            work(folder, lambda what: _ignore(tell(f"{what} ".encode())))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            *told, last = lines.read().split(" ")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == (-signal.SIGKILL if last else 0), f"point {number}: it ended {status}"
        return last, told

    return run


def _die_at(number: int, tell: Callable[[bytes], object]) -> None:
    count = itertools.count(1)

    def deadly(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def die_or_call(*args: Any, **options: Any) -> Any:
            if next(count) == number:
                if name in {"pwrite", "pwritev"}:
                    _write_half(*args)
                tell(name.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return die_or_call

    for name in CALLS:
        setattr(os, name, deadly(name, getattr(os, name)))


def _write_half(descriptor: int, content: Any, offset: int) -> None:
    whole = content if isinstance(content, bytes) else b"".join(content)
    os.lseek(descriptor, offset, os.SEEK_SET)
    os.write(descriptor, whole[: len(whole) // 2])


def _ignore(_: object) -> None:
    pass


def check(counters: list[int], told: list[str], *, freed: int, folder: Path) -> None:
    """All that was added and is not freed is there, at most one more, each once and in order."""
    added = told.count("added")
    assert counters in (
        [*range(freed + 1, added)],
        [*range(freed + 1, added + 1)],
    ), f"{folder}: {counters} after {added} were added and {freed} freed"


def check_kept(folder: Path, told: list[str]) -> None:
    freed = 3 * told.count("committed") - 2 if "committed" in told else -1
    counters = []
    for entry in read_journal(folder, run_id=RUN_ID, after=freed):
        if isinstance(entry, Dropped):
            assert entry == Dropped(entry.first, entry.first, "lost", entry.first)
            counters.append(entry.first)
        else:
            np.testing.assert_array_equal(entry.data, pixels(entry.counter))
            counters.append(entry.counter)
    check(counters, told, freed=freed, folder=folder)
    # The next writer can begin, and leaves what is there.
    second = FrameJournal(
        folder, run_id=RUN_ID, geometry=GEOMETRY, epoch=2, room=Room(4 * SEGMENT, SEGMENT)
    )
    assert second.append(Frame(100, 100, pixels(100)))
    second.close()
    again = list(read_journal(folder, run_id=RUN_ID, after=freed))
    assert len(again) == len(counters) + 1
    second.remove()
    assert not folder.exists()


def check_spilled(folder: Path, told: list[str], *, epoch: int = 2, before: int = 0) -> None:
    committed = told.count("committed") - 1
    room = Room(12 * SEGMENT, SEGMENT, spares=0)
    queue = SpillQueue.recover(
        folder, RUN_ID, GEOMETRY, epoch=epoch, room=room, after=committed if told else None
    )
    counters, into = [], np.empty((3, 4), "uint16")
    assert queue.put(Frame(1000, 1000, pixels(1000)))
    while spilled := queue.take(into):
        assert spilled.frame
        counters.append(spilled.frame.counter)
        np.testing.assert_array_equal(into, pixels(spilled.frame.counter))
    assert counters.pop() == 1000
    check(counters, ["added"] * before + told, freed=committed, folder=folder)
    queue.remove()
    assert not any(folder.iterdir())


def main(folder: Path, stride: int) -> None:
    folder.mkdir(exist_ok=True)
    gc.collect()
    gc.freeze()
    left = folder / "left"
    # Killed with everything put, half of it taken and committed, and nothing closed.
    kill_at(10**6, lambda path, told: _die_behind(path, told))(left)
    for name, work, inspect in (
        ("kept", keep, check_kept),
        ("spilled", spill, check_spilled),
        ("recovered", _recover, _check_recovered),
    ):
        for number in itertools.count(1, stride):
            path = folder / f"{name}-{number}"
            if name == "recovered":
                shutil.copytree(left, path)
            call, told = kill_at(number, work)(path)
            inspect(path, told)
            print(json.dumps({"point": path.name, "call": call, "told": len(told)}))
            if not call:
                break


def _die_behind(folder: Path, told: Told) -> None:
    SpillQueue.close = lambda _: os._exit(0)  # type: ignore[assignment, method-assign]
    spill(folder, told)


def _recover(folder: Path, told: Told) -> None:
    spill(folder, told, epoch=2, after=FRAMES // 2 - 1)


def _check_recovered(folder: Path, told: list[str]) -> None:
    first = ["committed"] * (FRAMES // 2)
    check_spilled(folder, [*first, *told], epoch=3, before=FRAMES)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
