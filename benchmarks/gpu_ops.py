"""How near each operation comes to the speed of the GPU's memory, and to NumPy on this host.

    python benchmarks/gpu_ops.py [--numpy] [--json] [--frames N] [--side N] [--repeats N]

What the memory can do is measured first, by copying an array within the device.  An operation has
to read its frames once and to write its result once, so that no implementation can be faster than
those bytes at that bandwidth; ``of copy`` says how near to that it is.  What is point-wise is one kernel: ``kernel of copy`` is of
that alone, without the time of Python around it, and ``times stepwise`` how much faster it is than
its arithmetic one step after the other.  For operations that are
Fourier transforms, ``of fft`` is the time of the bare transforms of the same size, with what it
puts around the frames (cuFFT's, or `scipy.fft`'s where there is no GPU), by that of the operation.  GPU times
are between CUDA events, after a warm-up; NumPy times are of the clock, on fewer frames, for each
frame.  Then blocks in pinned memory are sent to the device, worked on and fetched, one after the other and
on two streams, through the same memory: ``hidden`` is the part of the transfers' time that the
second way saves, ``could be hidden`` the part that the work lasts as long as.  Last, blocks go from a
Zarr array on this disk to a result on the host.

Without CuPy or a device it says so and ends well; ``--numpy`` does everything with NumPy in the
GPU's place, for which transfers are copies: a dry run.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import scipy.fft
import xarray as xr
import zarr
from array_api_compat import array_namespace
from rich.console import Console
from rich.table import Table

from forebay.ops import (
    background,
    bandpass,
    correct_camera,
    find_particles,
    flat_field,
    fourier_bandpass,
    gaussian_filter,
    gaussian_psf,
    median_filter,
    power_spectrum,
    richardson_lucy,
    subtract_background,
    white_top_hat,
)
from forebay.ops.deconvolution.transfer import canvas_shape
from forebay.ops.pointwise import formulas
from forebay.ops.pointwise.one_pass import Pointwise

COPY_BYTES = 2**30
HOST_FRAMES = 2
PIXELS_PER_PARTICLE = 2000
BLOCKS = 6
PSF = gaussian_psf(sigma=1.5)
DIMS = ("t", "y", "x")

type Operation = Callable[[xr.DataArray, xr.DataArray], Any]

OPERATIONS: dict[str, Operation] = {
    "background (median)": lambda frames, _: background(frames),
    "background (mean)": lambda frames, _: background(frames, method="mean"),
    "subtract_background": subtract_background,
    "correct_camera": lambda frames, image: correct_camera(frames, flat=image, gain=0.5),
    "correct_camera (to uint16)": lambda frames, image: correct_camera(
        frames, flat=image, gain=0.5, threshold=9, dtype="uint16"
    ),
    "flat_field": lambda frames, image: flat_field(frames, flat=image),
    "gaussian_filter": lambda frames, _: gaussian_filter(frames, sigma=2),
    "bandpass": lambda frames, _: bandpass(frames, background_sigma=5),
    "median_filter": lambda frames, _: median_filter(frames, size=3),
    "white_top_hat": lambda frames, _: white_top_hat(frames, size=11),
    "fourier_bandpass": lambda frames, _: fourier_bandpass(
        frames, min_wavelength=4, max_wavelength=32
    ),
    "power_spectrum": lambda frames, _: power_spectrum(frames),
    "power_spectrum (radial)": lambda frames, _: power_spectrum(frames, radial=True),
    "richardson_lucy (5 steps)": lambda frames, _: richardson_lucy(frames, psf=PSF, iterations=5),
    "find_particles": lambda frames, _: find_particles(frames, diameter=11, minmass=500),
}
TRANSFORMS: dict[str, Callable[[ModuleType, Any], object]] = {
    "fourier_bandpass": lambda fft, real: there_and_back(fft, real),
    "power_spectrum": lambda fft, real: fft.rfft2(real),
    "richardson_lucy (5 steps)": lambda fft, real: [there_and_back(fft, real) for _ in range(10)],
}
"""The bare transforms that an operation cannot do without, of the size that it works on."""


def grown(operation: str, real: Any) -> Any:
    """Return frames of the size that an operation transforms: some have more around them."""
    if not operation.startswith("richardson_lucy"):
        return real
    sizes = real.shape[-2:]
    more = [
        (0, large - size) for large, size in zip(canvas_shape(sizes, PSF.shape), sizes, strict=True)
    ]
    return array_namespace(real).pad(real, [(0, 0), *more], mode="edge")


def there_and_back(fft: ModuleType, real: Any) -> Any:
    """Return frames after a Fourier transform and its inverse."""
    return fft.irfft2(fft.rfft2(real), s=real.shape[-2:])


CORRECTED: dict[str, Any] = {"names": ("factor",), "offset": 0.0}
ROUNDED = {"low": -9.0, "high": 9.0, "least": 0.0, "most": 65_535.0, "work": "float32"}
KERNELS: dict[str, tuple[Pointwise, dict[str, Any]]] = {
    "correct_camera": (formulas.corrected, CORRECTED | {"dtype": "float32"}),
    "correct_camera (to uint16)": (
        formulas.corrected_rounded,
        CORRECTED | ROUNDED | {"dtype": "uint16"},
    ),
}
"""What is one kernel on a GPU, and what it is given."""


def stepwise(function: Pointwise, given: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """Return the arithmetic of a kernel, one step after the other."""
    numbers = {name: each for name, each in given.items() if name != "names"}
    return lambda pixels, image: function.__wrapped__(pixels, factor=image, **numbers)


def chain(frames: xr.DataArray, image: xr.DataArray) -> xr.DataArray:
    """Return what is done to blocks that are sent there and back: evened out, and a band of it."""
    return bandpass(flat_field(frames, flat=image), background_sigma=5)


class Device(Protocol):
    """Where operations are measured."""

    name: str
    xp: ModuleType
    fft: ModuleType

    def there(self, array: np.ndarray[Any, Any]) -> Any:
        """Return an array on the device."""

    def here(self, array: Any) -> np.ndarray[Any, Any]:
        """Return an array on the host."""

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Return the median time of some work, after a warm-up."""

    def streamed(
        self, blocks: list[np.ndarray[Any, Any]], work: Callable[[Any], Any], *, streams: int
    ) -> list[np.ndarray[Any, Any]]:
        """Send blocks, work on them and fetch the results: with one stream, in this order.

        With two, the transfers of a block go on beside the work on the other.  Returns the last
        result of each stream.
        """

    def tidy(self) -> None:
        """Give back memory that is not used."""


class Gpu:
    """A CUDA device, by CuPy."""

    def __init__(self, cupy: ModuleType) -> None:
        self.xp, self.fft = cupy, cupy.fft
        self.name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()

    def there(self, array: np.ndarray[Any, Any]) -> Any:
        """Return an array on the device."""
        return self.xp.asarray(array)

    def here(self, array: Any) -> np.ndarray[Any, Any]:
        """Return an array on the host."""
        host: np.ndarray[Any, Any] = array.get()
        return host

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Return the median time between two events around some work."""
        work()
        seconds: list[float] = []
        for _ in range(repeats):
            begin, end = self.xp.cuda.Event(), self.xp.cuda.Event()
            begin.record()
            work()
            end.record()
            end.synchronize()
            seconds.append(1e-3 * self.xp.cuda.get_elapsed_time(begin, end))
        return statistics.median(seconds)

    def streamed(
        self, blocks: list[np.ndarray[Any, Any]], work: Callable[[Any], Any], *, streams: int
    ) -> list[np.ndarray[Any, Any]]:
        """Use streams in turn, each with pinned memory of its own for what is sent and fetched."""
        lanes = [self.xp.cuda.Stream(non_blocking=True) for _ in range(streams)]
        sent = [self._pinned(blocks[0].shape, blocks[0].dtype) for _ in lanes]
        fetched: list[Any] = [None] * streams
        for number, block in enumerate(blocks):
            at = number % streams
            lanes[at].synchronize()
            sent[at][...] = block
            with lanes[at]:
                array = self.xp.empty(block.shape, block.dtype)
                array.set(sent[at], stream=lanes[at])
                result = work(array)
                if fetched[at] is None:
                    fetched[at] = self._pinned(result.shape, result.dtype)
                result.get(stream=lanes[at], out=fetched[at], blocking=False)
        for lane in lanes:
            lane.synchronize()
        return fetched

    def _pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        size = int(np.prod(shape)) * dtype.itemsize
        memory = self.xp.cuda.alloc_pinned_memory(size)
        return np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)

    def tidy(self) -> None:
        """Give back memory that is not used."""
        self.xp.get_default_memory_pool().free_all_blocks()


class DryRun:
    """NumPy in the GPU's place: transfers are copies, and nothing goes on beside anything."""

    name: str = "NumPy (a dry run)"
    xp: ModuleType = np
    fft: ModuleType = scipy.fft

    def there(self, array: np.ndarray[Any, Any]) -> Any:
        """Return a copy."""
        return array.copy()

    def here(self, array: Any) -> np.ndarray[Any, Any]:
        """Return a copy."""
        return np.array(array)

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Return the median time on the clock."""
        work()
        return host_seconds(work, repeats)

    def streamed(
        self, blocks: list[np.ndarray[Any, Any]], work: Callable[[Any], Any], *, streams: int
    ) -> list[np.ndarray[Any, Any]]:
        """Do one thing after the other."""
        return [self.here(work(self.there(block))) for block in blocks][-streams:]

    def tidy(self) -> None:
        """Do nothing."""


def find_device(*, dry: bool) -> tuple[Device | None, str]:
    """Return what to measure on, or None with the reason why there is nothing."""
    if dry:
        return DryRun(), ""
    try:
        import cupy
    except ImportError as error:
        return None, f"CuPy cannot be imported: {error}"
    if not cupy.is_available():
        return None, "CuPy finds no CUDA device"
    return Gpu(cupy), ""


def scene(frames: int, side: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return frames of bright spots on a noisy ground."""
    random = np.random.default_rng(1)
    values = random.normal(100, 5, (frames, side, side))
    spot = 300 * np.exp(-(np.add.outer(np.arange(-7, 8) ** 2, np.arange(-7, 8) ** 2)) / 8)
    for frame in values:
        for y, x in random.integers(7, side - 8, (side * side // PIXELS_PER_PARTICLE, 2)):
            frame[y - 7 : y + 8, x - 7 : x + 8] += spot
    return values.clip(0, 65_535).astype(np.uint16)


def host_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of some work on the host."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def copy_bandwidth(device: Device, repeats: int, size: int) -> float:
    """Return the bytes a second that a copy within the device reads and writes."""
    source = device.xp.zeros(size, dtype=device.xp.uint8)
    target = device.xp.empty_like(source)
    seconds = device.seconds(lambda: device.xp.copyto(target, source), repeats)
    return 2 * size / seconds


def moved_bytes(result: Any, frames: xr.DataArray) -> int:
    """Return what must be read and written at least: the frames once, and the result once."""
    written = result.nbytes if isinstance(result, xr.DataArray) else 0
    return int(frames.nbytes + written)


def measure(device: Device, frames: int, side: int, repeats: int) -> dict[str, Any]:
    """Return the bandwidth of the device and the figures of each operation."""
    host = xr.DataArray(scene(frames, side), dims=DIMS)
    there = host.copy(data=device.there(host.values))
    few = host[:HOST_FRAMES]
    image_there, image_here = (background(each, method="mean") for each in (there, few))
    bandwidth = copy_bandwidth(device, repeats, min(COPY_BYTES, 16 * host.nbytes))
    rows = []
    for name, operation in OPERATIONS.items():
        result = operation(there, image_there)
        moved = moved_bytes(result, there)
        del result
        on_device = device.seconds(partial(operation, there, image_there), repeats)
        on_host = host_seconds(partial(operation, few, image_here), min(3, repeats))
        bare = None
        if name in TRANSFORMS:
            real = grown(name, there.data.astype("float32"))
            bare = device.seconds(partial(TRANSFORMS[name], device.fft, real), repeats) / on_device
        alone = steps = None
        if name in KERNELS:
            function, given = KERNELS[name]
            pair = (there.data, image_there.data)
            alone = device.seconds(partial(function, *pair, **given), repeats)
            steps = device.seconds(partial(stepwise(function, given), *pair), repeats)
        rows.append(
            {
                "operation": name,
                "gpu_ms_per_frame": 1e3 * on_device / frames,
                "gpu_GB_per_s": 1e-9 * moved / on_device,
                "of_copy": moved / on_device / bandwidth,
                "of_fft": bare,
                "kernel_of_copy": None if alone is None else moved / alone / bandwidth,
                "times_stepwise": None if alone is None or steps is None else steps / alone,
                "numpy_ms_per_frame": 1e3 * on_host / len(few),
                "times_numpy": (on_host / len(few)) / (on_device / frames),
            }
        )
        device.tidy()
    return {"copy_GB_per_s": 1e-9 * bandwidth, "frames": frames, "side": side, "operations": rows}


def transfers(device: Device, frames: int, side: int, repeats: int) -> dict[str, float | None]:
    """Return how long blocks take there and back, and what part of the transfers is hidden."""
    block = scene(max(frames // 8, 1), side)
    blocks = [block] * BLOCKS
    image = xr.DataArray(device.there(block), dims=DIMS).mean("t", dtype="float32")

    def work(array: Any) -> Any:
        return chain(xr.DataArray(array, dims=DIMS), image).data

    array = device.there(block)
    working = BLOCKS * device.seconds(partial(work, array), repeats)

    taken = {}
    for streams in (1, 2):
        through = partial(device.streamed, blocks, work, streams=streams)
        for result in through():
            # A race between the streams would show in the values.
            np.testing.assert_array_equal(result, device.here(work(array)))
        taken[streams] = host_seconds(through, repeats)
    after_each_other, beside = taken[1], taken[2]
    moving = after_each_other - working
    return {
        "one_by_one_ms_per_block": 1e3 * after_each_other / BLOCKS,
        "two_streams_ms_per_block": 1e3 * beside / BLOCKS,
        "work_ms_per_block": 1e3 * working / BLOCKS,
        # Where nothing is sent anywhere, there may be nothing to hide.
        "hidden": (after_each_other - beside) / moving if moving > 0 else None,
        "could_be_hidden": min(1.0, working / moving) if moving > 0 else None,
    }


def from_disk(device: Device, frames: int, side: int, repeats: int) -> dict[str, float]:
    """Return the rate from blocks of a Zarr array to results on the host, here and there."""
    size = max(frames // 8, 1)
    with tempfile.TemporaryDirectory() as folder:
        stored = zarr.create_array(
            folder, shape=(BLOCKS * size, side, side), chunks=(size, side, side), dtype="uint16"
        )
        stored[:] = np.concatenate([scene(size, side)] * BLOCKS)
        image = xr.DataArray(stored[:size], dims=DIMS).mean("t", dtype="float32")
        image_there = image.copy(data=device.there(image.values))

        def through(send: Callable[[Any], Any], fetch: Callable[[Any], Any], flat: Any) -> None:
            for start in range(0, BLOCKS * size, size):
                block = xr.DataArray(send(stored[start : start + size]), dims=DIMS)
                fetch(chain(block, flat).data)

        def same(array: Any) -> Any:
            return array

        on_device = host_seconds(partial(through, device.there, device.here, image_there), repeats)
        on_host = host_seconds(partial(through, same, same, image), min(3, repeats))
    megabytes = 1e-6 * stored.nbytes
    return {
        "gpu_MB_per_s": megabytes / on_device,
        "numpy_MB_per_s": megabytes / on_host,
        "times_numpy": on_host / on_device,
    }


def main() -> None:
    """Measure and print, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--numpy", action="store_true", help="NumPy in the GPU's place: a dry run")
    parser.add_argument("--frames", type=int, default=64, help="on the device (default 64)")
    parser.add_argument("--side", type=int, default=2048, help="of a frame, pixels (default 2048)")
    parser.add_argument("--repeats", type=int, default=10, help="of each time (default 10)")
    arguments = parser.parse_args()
    device, reason = find_device(dry=arguments.numpy)
    if device is None:
        print(f"nothing measured: {reason}", file=sys.stderr if arguments.json else sys.stdout)
        return
    given = (device, arguments.frames, arguments.side, arguments.repeats)
    figures = {"device": device.name} | measure(*given)
    figures["transfers"] = transfers(*given)
    figures["from_disk"] = from_disk(*given)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    title = (
        f"{arguments.frames} frames of {arguments.side} × {arguments.side} uint16 on {device.name}; "
        f"copy {figures['copy_GB_per_s']:.0f} GB/s"
    )
    console = Console(width=120)
    for rows, what in (
        (figures["operations"], title),
        ([figures["transfers"]], "blocks sent, worked on and fetched"),
        ([figures["from_disk"]], "blocks from a Zarr array to results on the host"),
    ):
        table = Table(*(key.replace("_", " ") for key in rows[0]), title=what, title_justify="left")
        for row in rows:
            table.add_row(*map(shown, row.values()))
        console.print(table)


def shown(value: object) -> str:
    """Return a figure for people."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
