"""How near each operation comes to the speed of the GPU's memory, and to NumPy on this host.

    python benchmarks/gpu_ops.py [--json] [--frames N] [--side N] [--repeats N]

What the memory can do is measured first, by copying an array within the device.  An operation has
to read its frames once and to write its result once, so that no implementation can be faster than
those bytes at that bandwidth; ``of copy`` says how near to that it is.  GPU times are between CUDA
events, after a warm-up; NumPy times are of the clock, on fewer frames, for each frame.  Without
CuPy or a device it says so and ends well.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from forebay.ops import (
    background,
    bandpass,
    find_particles,
    flat_field,
    fourier_bandpass,
    power_spectrum,
    subtract_background,
)

COPY_BYTES = 2**30
HOST_FRAMES = 2
PIXELS_PER_PARTICLE = 2000

type Operation = Callable[[xr.DataArray, xr.DataArray], Any]

OPERATIONS: dict[str, Operation] = {
    "background (median)": lambda frames, _: background(frames),
    "background (mean)": lambda frames, _: background(frames, method="mean"),
    "subtract_background": subtract_background,
    "flat_field": lambda frames, image: flat_field(frames, flat=image),
    "bandpass": lambda frames, _: bandpass(frames, background_sigma=5),
    "fourier_bandpass": lambda frames, _: fourier_bandpass(
        frames, min_wavelength=4, max_wavelength=32
    ),
    "power_spectrum": lambda frames, _: power_spectrum(frames),
    "power_spectrum (radial)": lambda frames, _: power_spectrum(frames, radial=True),
    "find_particles": lambda frames, _: find_particles(frames, diameter=11, minmass=500),
}


def device() -> tuple[ModuleType | None, str]:
    """Return CuPy, or None with the reason why there is none to use."""
    try:
        import cupy
    except ImportError as error:
        return None, f"CuPy cannot be imported: {error}"
    if not cupy.is_available():
        return None, "CuPy finds no CUDA device"
    return cupy, cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def scene(frames: int, side: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return frames of bright spots on a noisy ground."""
    random = np.random.default_rng(1)
    values = random.normal(100, 5, (frames, side, side))
    spot = 300 * np.exp(-(np.add.outer(np.arange(-7, 8) ** 2, np.arange(-7, 8) ** 2)) / 8)
    for frame in values:
        for y, x in random.integers(7, side - 8, (side * side // PIXELS_PER_PARTICLE, 2)):
            frame[y - 7 : y + 8, x - 7 : x + 8] += spot
    return values.clip(0, 65_535).astype(np.uint16)


def device_seconds(cupy: ModuleType, work: Callable[[], object], repeats: int) -> float:
    """Return the median time between two events around some work on the device."""
    work()
    seconds: list[float] = []
    for _ in range(repeats):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(1e-3 * cupy.cuda.get_elapsed_time(begin, end))
    return statistics.median(seconds)


def host_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of some work on the host."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def copy_bandwidth(cupy: ModuleType, repeats: int) -> float:
    """Return the bytes a second that a copy within the device reads and writes."""
    source = cupy.zeros(COPY_BYTES, dtype=cupy.uint8)
    target = cupy.empty_like(source)
    seconds = device_seconds(cupy, lambda: cupy.copyto(target, source), repeats)
    return 2 * COPY_BYTES / seconds


def moved_bytes(result: Any, frames: xr.DataArray) -> int:
    """Return what must be read and written at least: the frames once, and the result once."""
    written = result.nbytes if isinstance(result, xr.DataArray) else 0
    return int(frames.nbytes + written)


def measure(cupy: ModuleType, frames: int, side: int, repeats: int) -> dict[str, Any]:
    """Return the bandwidth of the device and the figures of each operation."""
    dims = ("t", "y", "x")
    host = xr.DataArray(scene(frames, side), dims=dims)
    there = host.copy(data=cupy.asarray(host.values))
    few = host[:HOST_FRAMES]
    image_there, image_here = (background(each, method="mean") for each in (there, few))
    bandwidth = copy_bandwidth(cupy, repeats)
    rows = []
    for name, operation in OPERATIONS.items():
        result = operation(there, image_there)
        moved = moved_bytes(result, there)
        del result
        on_device = device_seconds(cupy, partial(operation, there, image_there), repeats)
        on_host = host_seconds(partial(operation, few, image_here), 3)
        rows.append(
            {
                "operation": name,
                "gpu_ms_per_frame": 1e3 * on_device / frames,
                "gpu_GB_per_s": 1e-9 * moved / on_device,
                "of_copy": moved / on_device / bandwidth,
                "numpy_ms_per_frame": 1e3 * on_host / len(few),
                "times_numpy": (on_host / len(few)) / (on_device / frames),
            }
        )
        cupy.get_default_memory_pool().free_all_blocks()
    return {"copy_GB_per_s": 1e-9 * bandwidth, "frames": frames, "side": side, "operations": rows}


def main() -> None:
    """Measure and print, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--frames", type=int, default=64, help="on the device (default 64)")
    parser.add_argument("--side", type=int, default=2048, help="of a frame, pixels (default 2048)")
    parser.add_argument("--repeats", type=int, default=10, help="of each time (default 10)")
    arguments = parser.parse_args()
    cupy, name = device()
    if cupy is None:
        print(f"nothing measured: {name}", file=sys.stderr if arguments.json else sys.stdout)
        return
    figures = {"device": name} | measure(cupy, arguments.frames, arguments.side, arguments.repeats)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    rows = figures["operations"]
    title = (
        f"{arguments.frames} frames of {arguments.side} × {arguments.side} uint16 on {name}; "
        f"copy {figures['copy_GB_per_s']:.0f} GB/s"
    )
    table = Table(*(key.replace("_", " ") for key in rows[0]), title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else v for v in row.values()))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
