"""How much a process grows for the heaviest operations, over runs of two lengths.

    python -m benchmarks.ops_memory [--json] [--quick] [--side N] [--block N] [--case NAME]

Frames are made block by block when they are asked for, and results are thrown away block by
block, by one thread. What a run of any length needs is what a block needs: so a run four times
as long must take no more, nor more than `scratch_bytes` says, with the block itself. Each figure
is from what a process holds before to its highest point, after a first block.
"""

import argparse
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from benchmarks.ops import Nowhere, status
from rich.console import Console
from rich.table import Table

from forebay import ops
from forebay.ops.catalogue import operations

LENGTHS = (2, 8)
"""Blocks of the runs that are compared."""

PSF = ops.gaussian_psf(sigma=1.5)
HEAVY: dict[str, dict[str, Any]] = {
    "anisotropic_diffusion": {"iterations": 5, "edge": 30},
    "bilateral_filter": {"sigma": 1, "value_sigma": 40},
    "fourier_filter": {"kind": "low", "cutoff": 0.1},
    "h_maxima": {"h": 60},
    "local_threshold": {"size": 31},
    "matched_filter": {"template": np.ones((5, 5))},
    "median_filter": {"size": 5},
    "nonlocal_means": {"strength": 30, "search_size": 5},
    "power_spectrum": {},
    "remove_cosmic_rays": {"read_noise": 3.0, "iterations": 2},
    "richardson_lucy": {"psf": PSF, "iterations": 5},
    "rolling_ball": {"radius": 12, "precision": "fast"},
    "running_mean": {"window": 3},
    "running_median": {"window": 3},
    "unsupervised_wiener": {"psf": PSF},
    "wavelet_denoise": {},
    "welch_spectrum": {"dim": "x", "segment": 256},
    "wiener": {"psf": PSF, "noise_to_signal": 0.1},
}


def made(block: npt.NDArray[np.uint16], block_id: tuple[int, ...] = ()) -> npt.NDArray[np.uint16]:
    """Return a block of frames of some noise, other ones for each place."""
    random = np.random.default_rng(block_id[0] if block_id else 0)
    return random.integers(380, 420, block.shape, dtype=np.uint16)


def run(blocks: int, block: int, side: int) -> xr.DataArray:
    """Return frames that are made when they are asked for."""
    shape = (blocks * block, side, side)
    nothing = da.zeros(shape, dtype=np.uint16, chunks=(block, side, side))
    return xr.DataArray(nothing.map_blocks(made, dtype=np.uint16), dims=("t", "y", "x"))


def compute(result: xr.DataArray) -> None:
    """Compute block by block, by one thread, and keep nothing."""
    target: Any = Nowhere()
    with dask.config.set(scheduler="threads", num_workers=1):
        da.store(result.data, target, lock=False)


def growth(name: str, block: int, side: int) -> list[float]:
    """Return by how many megabytes this process grows while it does an operation on each run."""
    function = operations()[name].function
    compute(function(run(1, block, side), **HEAVY[name]))
    grown = []
    for blocks in LENGTHS:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        compute(function(run(blocks, block, side), **HEAVY[name]))
        grown.append((status("VmHWM") - before) / 1024)
    return grown


def figures(name: str, block: int, side: int) -> dict[str, Any]:
    """Return what is said of an operation, and what it takes."""
    scratch = ops.scratch_bytes(name, run(LENGTHS[-1], block, side), **HEAVY[name])
    said = scratch + run(1, block, side).nbytes
    command = [sys.executable, "-m", "benchmarks.ops_memory", f"--block={block}"]
    command += [f"--side={side}", "--grow", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = zip(LENGTHS, json.loads(done.stdout), strict=True)
    taken = {f"{blocks} blocks, MB": each for blocks, each in grown}
    return {"operation": name, "said, MB": said / 2**20} | taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="next to nothing: does it run?")
    parser.add_argument("--side", type=int, default=1024, help="pixels (default 1024)")
    parser.add_argument("--block", type=int, default=4, help="frames in a block (default 4)")
    parser.add_argument("--case", default="", help="only those whose name begins with this")
    parser.add_argument("--grow", metavar="NAME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.side, arguments.block = 96, 2
    if arguments.grow:
        print(json.dumps(growth(arguments.grow, arguments.block, arguments.side)))
        return
    rows = []
    for name in (name for name in HEAVY if name.startswith(arguments.case)):
        print(name, file=sys.stderr)
        rows.append(figures(name, arguments.block, arguments.side))
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(
            *(f"{each:.0f}" if isinstance(each, float) else each for each in row.values())
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
