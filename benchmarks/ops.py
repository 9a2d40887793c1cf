"""Operations beside what one would write with Dask and SciPy, and beside dask-image.

    python -m benchmarks.ops [--json] [--quick] [--frames N] [--side N] [--rounds N] [--only WHAT]
                            [--case NAME]

All work on the same frames in the same blocks. *Naive* is Dask's `map_blocks` with a function of
SciPy, scikit-image or NumPy for each step, in float32, as a user would write it; *dask-image* is
its function, where it has one. Results are thrown away block by block. The programs take turns;
what is compared is processor time in the same round, and of the ratios the median is shown with
the lowest and the highest. Peak memory is of a process of its own for each.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Dask's threads are the threads: BLAS would start more of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dask
import dask.array as da
import xarray as xr
from benchmarks.ops_peers.cases import CHAINS, SINGLES, Case
from benchmarks.ops_peers.scene import Given, given
from dask.base import optimize
from rich.console import Console
from rich.table import Table

WORKERS = 2
PEERS = ("ours", "naive", "dask_image")


class Nowhere:
    """What results are stored in: it keeps nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        """Forget a block."""


def lazy(case: Case, peer: str, frames: Given) -> Any:
    """Return what a peer makes of the frames, as a Dask array, or None if it cannot do that."""
    function: Callable[[Given], Any] | None = getattr(case, peer)
    if function is None:
        return None
    try:
        made = function(frames)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("dask_image"):
            raise
        return None
    return made.data if isinstance(made, xr.DataArray) else made


def compute(array: Any) -> None:
    """Compute an array block by block, and keep nothing."""
    target: Any = Nowhere()
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        da.store(array, target, lock=False)


def tasks(array: Any) -> int:
    """Return how many tasks a scheduler gets for an array."""
    (optimised,) = optimize(array)  # type: ignore[no-untyped-call]
    return len(dict(optimised.__dask_graph__()))


def seconds(array: Any) -> tuple[float, float]:
    """Return processor time and time on the clock."""
    begun, clock = time.process_time(), time.perf_counter()
    compute(array)
    return time.process_time() - begun, time.perf_counter() - clock


def compare(case: Case, frames: Given, rounds: int) -> dict[str, Any]:
    """Return the figures of a case."""
    arrays = {peer: lazy(case, peer, frames) for peer in PEERS}
    arrays = {peer: array for peer, array in arrays.items() if array is not None}
    for array in arrays.values():
        compute(array[: frames.pixels.chunks[0][0]])
    taken: dict[str, list[tuple[float, float]]] = {peer: [] for peer in arrays}
    for turn in range(rounds):
        order = list(arrays) if turn % 2 == 0 else list(arrays)[::-1]
        for peer in order:
            taken[peer].append(seconds(arrays[peer]))
    number = frames.frames.sizes["t"]
    row: dict[str, Any] = {
        "operation": case.name,
        "ours_ms": 1e3 * statistics.median(each[0] for each in taken["ours"]) / number,
        "tasks": tasks(arrays["ours"]),
    }
    for peer in PEERS[1:]:
        for what, at in (("", 0), ("_wall", 1)):
            ratios = [
                theirs[at] / own[at]
                for theirs, own in zip(taken.get(peer, []), taken["ours"], strict=False)
            ]
            row[f"{peer}{what}"] = statistics.median(ratios) if ratios else None
            if not what:
                row[f"{peer}_range"] = [min(ratios), max(ratios)] if ratios else None
        row[f"{peer}_tasks"] = tasks(arrays[peer]) if peer in arrays else None
    return row


def peak_memory(case: str, peer: str, size: list[str]) -> float | None:
    """Return by how many megabytes a process grows that computes one case."""
    command = [sys.executable, "-m", "benchmarks.ops", *size, "--peak", case, peer]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown: float | None = json.loads(done.stdout)
    return grown


def growth(case: Case, peer: str, frames: Given) -> float | None:
    """Compute a case in this process, and return by how many megabytes it has grown."""
    array = lazy(case, peer, frames)
    if array is None:
        return None
    compute(array[: frames.pixels.chunks[0][0]])
    # What the first block has freed goes back to the system, lest it be taken again unseen.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    # What was needed to make the frames is not counted: the highest point is forgotten here.
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    compute(array)
    return (status("VmHWM") - before) / 1024


def status(name: str) -> float:
    """Return a figure that Linux keeps of this process, in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def parsed() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--quick", action="store_true", help="next to nothing: does it run?")
    parser.add_argument("--frames", type=int, default=16, help="how many (default 16)")
    parser.add_argument("--side", type=int, default=1024, help="pixels (default 1024)")
    parser.add_argument("--block", type=int, default=4, help="frames in a block (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (default 5)")
    parser.add_argument(
        "--only", choices=["chains", "singles", "memory"], help="a part of the measurements"
    )
    parser.add_argument("--case", default="", help="only those whose name begins with this")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "PEER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.frames, arguments.side, arguments.block, arguments.rounds = 6, 96, 3, 1
    return arguments


def main() -> None:
    """Measure and print."""
    arguments = parsed()
    frames = given(arguments.frames, arguments.side, arguments.block)
    every = {case.name: case for case in (*CHAINS, *SINGLES)}
    if arguments.peak:
        name, peer = arguments.peak
        print(json.dumps(growth(every[name], peer, frames)))
        return
    figures: dict[str, Any] = {}
    for part, cases in (("chains", CHAINS), ("singles", SINGLES)):
        if arguments.only in (None, part):
            figures[part] = []
            for case in (case for case in cases if case.name.startswith(arguments.case)):
                print(case.name, file=sys.stderr)
                figures[part].append(compare(case, frames, arguments.rounds))
    if arguments.only in (None, "memory"):
        size = [f"--{name}={getattr(arguments, name)}" for name in ("frames", "side", "block")]
        figures["memory, MB"] = [
            {"operation": case.name} | {peer: peak_memory(case.name, peer, size) for peer in PEERS}
            for case in CHAINS
            if case.name.startswith(arguments.case)
        ]
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for title, rows in figures.items():
        if not rows:
            continue
        table = Table(*(key.replace("_", " ") for key in rows[0]), title=title)
        for row in rows:
            table.add_row(*map(shown, row.values()))
        Console(width=150).print(table)


def shown(value: object) -> str:
    """Return a figure for people."""
    if isinstance(value, list):
        return " to ".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
