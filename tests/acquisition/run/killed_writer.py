"""A writer that is killed at one of its calls to the system after the other.

``killed_writer.py FOLDER STRIDE`` takes each call, or every seventh; test_killed.py runs it.  It
prints a line of JSON for every point at which it was killed, and fails at the first folder in
which something is not as it was promised.
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

import dask
import numpy as np
import numpy.typing as npt
import tensorstore
import zarr

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run, verify_run
from forebay.acquisition.errors import RunExistsError
from forebay.acquisition.run.writing.account import NOT_RECORDED

CALLS = ("mkdir", "write", "pwritev", "fsync", "fdatasync", "link", "unlink", "rename", "replace")
SHAPE = (3, 4)
FRAMES_PER_BLOCK = 2

type Told = Callable[[str], None]
type Work = Callable[[Path, Told], None]
type Check = Callable[[Path, list[str]], None]


def pixels(counter: int) -> npt.NDArray[Any]:
    return (np.arange(12, dtype="uint16").reshape(SHAPE) + 1) * (counter + 1)


def frame(counter: int) -> Frame:
    return Frame(counter, counter * 1000, pixels(counter))


def record(path: Path, told: Told) -> None:
    """Make a run of one whole block and a short one."""
    geometry = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))
    writer = RunWriter.create(path, geometry, frames_per_block=FRAMES_PER_BLOCK)
    for counter in range(3):
        told("block" if writer.append(frame(counter)) else "frame")
    writer.close()
    told("closed")


def go_on(path: Path, told: Told) -> None:
    """Resume the run of a writer that was killed with frame 2 in flight, and close it."""
    writer = RunWriter.resume(path)
    told("block" if writer.append(frame(4)) else "frame")
    writer.close()
    told("closed")


def kill_at(
    number: int, work: Work, path: Path, *, calls: tuple[str, ...] = CALLS
) -> tuple[str, list[str]]:
    """Fork, work, and die at the given call; return the call, and what had been promised by then.

    A write is cut off in its middle.  The call is empty where the work came to its end first.
    """
    reading, writing = os.pipe()
    tell = functools.partial(os.write, writing)
    child = os.fork()
    if child == 0:
        _die_at(number, calls, tell)
        work(path, lambda what: _ignore(tell(f"{what} ".encode())))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        *promised, last = lines.read().split(" ")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (-signal.SIGKILL if last else 0), f"point {number}: the child ended {status}"
    return last, promised


def _die_at(number: int, calls: tuple[str, ...], tell: Callable[[bytes], object]) -> None:
    count = itertools.count(1)

    def deadly(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def die_or_call(*args: Any, **options: Any) -> Any:
            if next(count) == number:
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                if name == "pwritev":
                    call(args[0], [args[1][0][: len(args[1][0]) // 2]], args[2])
                tell(name.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return die_or_call

    for name in calls:
        setattr(os, name, deadly(name, getattr(os, name)))


def _ignore(_: object) -> None:
    pass


def counters_of(run: Run) -> list[int]:
    """Return every counter that the run accounts for, in order; none may come twice."""
    dropped = [range(each.first, each.last + 1) for each in run.dropped]
    taken = run.frames.frame_id.to_numpy().tolist()
    return sorted([*taken, *itertools.chain(*dropped)])


def check_readers(path: Path, run: Run) -> None:
    """Every reader sees whole committed frames with the right pixels, and nothing else."""
    committed = run.history.frames
    frames = run.frames.compute()
    right = np.array([pixels(each) for each in frames.frame_id.to_numpy()]).reshape(-1, *SHAPE)
    np.testing.assert_array_equal(frames, right)
    stock = np.asarray(zarr.open_array(path / "frames", mode="r")[:])
    assert committed - FRAMES_PER_BLOCK <= len(stock) <= committed
    np.testing.assert_array_equal(stock, right[: len(stock)])
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "frames")}}
    array = tensorstore.open(store, open=True, read=True).result()
    assert len(stock) <= array.shape[0] <= committed
    np.testing.assert_array_equal(array.read().result(), right[: array.shape[0]])


def check_resumed(path: Path, *, first_known: int) -> None:
    """After a kill the run goes on behind what was committed, and says what was lost."""
    before = open_run(path)
    check_readers(path, before)
    assert not [each for each in verify_run(before).problems if each.block is not None]
    try:
        writer = RunWriter.resume(path)
    except RunExistsError:
        assert before.closed
        after = open_run(path)
    else:
        assert not before.closed
        with writer:
            for counter in (7, 8, 9):
                writer.append(frame(counter))
        after = open_run(path)
        assert after.blocks[: len(before.blocks)] == before.blocks
        assert counters_of(after) == list(range(first_known, 10))
        lost = [each for each in after.dropped if each.last == 6]
        assert all(each.reason == NOT_RECORDED for each in lost)
        assert bool(lost) == (first_known < 7)
    assert after.closed
    check_readers(path, after)
    assert verify_run(after).problems == ()
    assert not list((path / "_forebay/aside").iterdir())


def check_new(path: Path, promised: list[str]) -> None:
    if not path.exists():
        assert not promised
        record(path, promised.append)
    run = open_run(path)
    assert len(run.blocks) >= promised.count("block")
    assert run.closed or "closed" not in promised
    started = run.history.first_counter is not None
    assert started or not promised
    check_resumed(path, first_known=0 if started else 7)


def check_gone_on(path: Path, promised: list[str]) -> None:
    run = open_run(path)
    assert run.closed or "closed" not in promised
    assert counters_of(run)[:2] == [0, 1]
    check_resumed(path, first_known=0)


def main(folder: Path, stride: int) -> None:
    dask.config.set(scheduler="sync")
    gc.collect()
    gc.freeze()
    # The second object of the short block has no name yet, and the first one has.
    killed = folder / "killed" / "run"
    assert kill_at(6, record, killed, calls=("link",))[0] == "link"
    points: list[tuple[Path, Check, str, list[str]]] = []
    for number in itertools.count(1, stride):
        path = folder / f"new-{number}" / "run"
        points.append((path, check_new, *kill_at(number, record, path)))
        if not points[-1][2]:
            break
    for number in itertools.count(1, stride):
        path = folder / f"resumed-{number}" / "run"
        shutil.copytree(killed, path)
        points.append((path, check_gone_on, *kill_at(number, go_on, path)))
        if not points[-1][2]:
            break
    # Readers use threads, and who has threads should not fork: so they come after all the kills.
    for path, check, call, promised in points:
        try:
            check(path, promised)
        except BaseException:
            print(f"{path}, killed at {call}, promised {promised}", file=sys.stderr)
            raise
        print(json.dumps({"point": path.parent.name, "call": call, "promised": promised}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
