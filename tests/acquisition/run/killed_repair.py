"""A repair that is killed at one of its calls to the system after the other.

``killed_repair.py FOLDER STRIDE`` takes each call, or every so many of them; test_killed_repair.py
runs it.  It prints a line of JSON for every point at which the repair was killed, and fails at the
first run that cannot be repaired after it as if nothing had been.
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
import zarr

from forebay.acquisition import Frame, Geometry, RunWriter, open_run, verify_run
from forebay.acquisition.errors import RunDamagedError, RunNotFoundError
from forebay.acquisition.run.recovery.repair import RepairReport, repair_run

CALLS = ("mkdir", "rmdir", "write", "fsync", "link", "unlink", "rename", "replace")
GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint16"))
FRAMES = 9

type Work = Callable[[Path], object]


def pixels(counter: int) -> npt.NDArray[Any]:
    return (np.arange(12, dtype="uint16").reshape(3, 4) + 1) * (counter + 1)


def write(path: Path) -> None:
    """Make a run of four blocks and a short one, and damage its log within."""
    with RunWriter.create(path, GEOMETRY, frames_per_block=2) as writer:
        for counter in range(FRAMES):
            writer.append(Frame(counter, counter, pixels(counter)))
    log = path / "_forebay/log/00000001.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:4], b"damaged\n", *lines[5:]]))


def write_with_a_damaged_block(path: Path) -> None:
    """Make the same run, and damage the shard whose line is damaged."""
    write(path)
    shard = path / "frames/c.1.0.0"
    shard.write_bytes(shard.read_bytes()[:-1])


def kill_at(number: int, work: Work, path: Path) -> str:
    """Fork, work, and die at the given call; return the call, none if the work came to its end."""
    reading, writing = os.pipe()
    tell = functools.partial(os.write, writing)
    child = os.fork()
    if child == 0:
        _die_at(number, tell)
        work(path)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        last = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (-signal.SIGKILL if last else 0), f"point {number}: the child ended {status}"
    return last


def _die_at(number: int, tell: Callable[[bytes], object]) -> None:
    count = itertools.count(1)

    def deadly(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def die_or_call(*args: Any, **options: Any) -> Any:
            if next(count) == number:
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                tell(name.encode())
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return die_or_call

    for name in CALLS:
        setattr(os, name, deadly(name, getattr(os, name)))


def check(path: Path, *, counters: list[int], set_aside: bool) -> None:
    """Before it is repaired again the run is refused or sound; afterwards it is sound."""
    try:
        check_sound(path, counters)
    except (RunDamagedError, RunNotFoundError):
        pass
    else:
        assert repair_run(path).needed in {True, False}
    report = repair_run(path, set_aside=set_aside)
    if report.needed:
        assert report == RepairReport(
            needed=True,
            frames=len(counters),
            closed=True,
            kept=4,
            rebuilt=() if set_aside else (1,),
            set_aside=report.set_aside,
            lines_lost=1,
            unexplained=2 if set_aside else 0,
            old_log="_forebay/quarantine/00000002/log",
        )
        assert len(report.set_aside) == set_aside
    check_sound(path, counters)
    assert verify_run(open_run(path)).problems == ()
    assert (path / "_forebay/quarantine/00000002/log/00000001.log").exists()
    assert repair_run(path) == RepairReport(needed=False, frames=len(counters), closed=True)


def check_sound(path: Path, counters: list[int]) -> None:
    run = open_run(path)
    frames = run.frames.compute()
    assert run.closed
    assert frames.frame_id.to_numpy().tolist() == counters
    np.testing.assert_array_equal(frames, [pixels(each) for each in counters])
    stock = np.asarray(zarr.open_array(path / "frames", mode="r")[:])
    np.testing.assert_array_equal(stock, frames[: len(stock)])


def main(folder: Path, stride: int) -> None:
    dask.config.set(scheduler="sync")
    gc.collect()
    gc.freeze()
    points: list[tuple[Path, str, functools.partial[None]]] = []
    for name, make, set_aside in (
        ("log", write, False),
        ("block", write_with_a_damaged_block, True),
    ):
        begin = folder / name
        assert kill_at(10**6, make, begin) == ""
        counters = [each for each in range(FRAMES) if not (set_aside and each // 2 == 1)]
        repair = functools.partial(repair_run, set_aside=set_aside)
        inspect = functools.partial(check, counters=counters, set_aside=set_aside)
        for number in itertools.count(1, stride):
            path = folder / f"{name}-{number}"
            shutil.copytree(begin, path)
            points.append((path, kill_at(number, repair, path), inspect))
            if not points[-1][1]:
                break
    # Readers use threads, and who has threads should not fork: so they come after all the kills.
    for path, call, inspect in points:
        try:
            inspect(path)
        except BaseException:
            print(f"{path}, killed at {call}", file=sys.stderr)
            raise
        print(json.dumps({"point": path.name, "call": call}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
