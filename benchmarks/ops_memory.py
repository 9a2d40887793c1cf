"""Each operation on a run that is longer than the memory of the worker that does it.

    python -m benchmarks.ops_memory [--json] [--quick] [--gigabytes N] [--seconds N] [--side N]
                                   [--block N] [--case NAME ...]

One local worker of one thread has a memory limit of 2 GB, as users give it, and as root it cannot have
more: it is put into a control group of that size (version 1), and one that needs more is ended. Frames are made
block by block when they are asked for, and results are thrown away block by block. What a worker
grows by is from what it holds before to its highest point, after a first run of one block; what is
said is `scratch_bytes`, with the block. Slow operations do what they get done in the seconds given.
"""

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dask
import dask.array as da
import xarray as xr
from benchmarks.ops import Nowhere, shown, status
from benchmarks.ops_peers.long_runs import called, run
from dask.base import is_dask_collection
from distributed import Client
from pydantic import ByteSize
from rich.console import Console
from rich.table import Table

from forebay import ops
from forebay.cluster import LocalClusterSpecification, connect
from forebay.ops.catalogue import operations

LIMIT = 2 * 10**9
"""Bytes that the worker may have."""
GROUPS = Path("/sys/fs/cgroup/memory")
"""Where control groups are made."""
LEAST = 4
"""Blocks that are done however slow it is."""


@contextmanager
def confined(process: int) -> Iterator[None]:
    """Let a process have no more memory than the limit, where this system and this user allow it."""
    group = GROUPS / f"forebay-{process}"
    try:
        group.mkdir()
    except OSError as error:
        print(f"only Dask limits the memory: {error}", file=sys.stderr)
        yield
        return
    (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    (group / "cgroup.procs").write_text(str(process))
    try:
        yield
    finally:
        for left in (group / "cgroup.procs").read_text().split():
            (GROUPS / "cgroup.procs").write_text(left)
        group.rmdir()


def begin() -> float:
    """Give back what is free, forget the highest point, and return what is held, in megabytes."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS") / 1024


def highest() -> float:
    """Return the most that this process has held since, in megabytes."""
    return status("VmHWM") / 1024


@contextmanager
def worker() -> Iterator[Client]:
    """Give a client of one worker that has so much memory and no more."""
    cluster = LocalClusterSpecification(
        workers=1, threads_per_worker=1, memory_limit=ByteSize(LIMIT)
    )
    settings = {"distributed.scheduler.allowed-failures": 0}
    with dask.config.set(settings), connect(cluster) as client, client.as_current():
        (process,) = client.run(os.getpid).values()
        with confined(process):
            yield client


def lazy(result: Any) -> list[Any]:
    """Return what is to be computed of a result."""
    if isinstance(result, xr.DataArray):
        return [result.data] if result.chunks is not None else []
    if isinstance(result, xr.Dataset):
        return [part for each in result.data_vars.values() for part in lazy(each)]
    if is_dask_collection(result):
        return [result.map_partitions(len)]
    parts = result if isinstance(result, tuple) else ()
    return [part for each in parts if isinstance(each, xr.DataArray) for part in lazy(each)]


def compute(name: str, frames: xr.DataArray) -> None:
    """Do an operation on all frames, block by block, and keep nothing."""
    own, given = called(name, frames)
    for each in lazy(operations()[name].function(own, **given)):
        if isinstance(each, da.Array):
            da.store(each, Nowhere(), lock=False)  # type: ignore[arg-type]
        else:
            each.compute()


def measure(client: Client, name: str, size: argparse.Namespace) -> dict[str, Any]:
    """Return what is said of an operation, and what a worker takes for it on a long run."""
    one = run(LEAST, size.block, size.side)
    blocks = max(int(size.gigabytes * 1e9 * LEAST / one.nbytes), LEAST)
    compute(name, one)
    begun = time.monotonic()
    compute(name, one)
    each = (time.monotonic() - begun) / LEAST
    long = run(max(min(blocks, int(size.seconds / each)), LEAST), size.block, size.side)
    own, given = called(name, long)
    said = ops.scratch_bytes(name, own, **given) + run(1, size.block, size.side).nbytes
    before = sum(client.run(begin).values())
    compute(name, long)
    most = sum(client.run(highest).values())
    return {
        "operation": name,
        "run, GB": long.nbytes / 1e9,
        "said, MB": said / 2**20,
        "grown, MB": most - before,
        "worker, MB": most,
    }


def every(size: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the figures of all operations, or of those that were named."""
    rows = []
    for name in size.case or sorted(operations()):
        print(name, file=sys.stderr, flush=True)
        with worker() as client:
            rows.append(measure(client, name, size))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="next to nothing: does it run?")
    parser.add_argument("--gigabytes", type=float, default=3.0, help="of a run (default 3)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for one of them (default 60)")
    parser.add_argument("--side", type=int, default=1024, help="pixels (default 1024)")
    parser.add_argument("--block", type=int, default=8, help="frames in a block (default 8)")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="only these operations")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.side, arguments.block, arguments.gigabytes = 96, 4, 0.0
    rows = every(arguments)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(shown, row.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
