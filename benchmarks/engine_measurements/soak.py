"""Whether memory stays as it is while many small units go through one scheduler."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import xarray as xr

import forebay
from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.cluster import AddressSpecification, connect
from forebay.cluster.worker_memory import ENVIRONMENT
from forebay.engine import Algorithm
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.queue.database import Database

_ROOT = Path(__file__).parents[2]
_PIXELS = 8
"""Side of a tile."""
_AHEAD = 1000
"""Units that the recording may be ahead of the processing."""
_END_SECONDS = 600.0

type Row = dict[str, Any]


def brightest(frames: xr.DataArray) -> pd.DataFrame:
    """Return the brightest value of each frame."""
    t, y, x = (frames[name].to_numpy() for name in ("t", "y", "x"))
    most = np.asarray(frames.data).max(axis=(1, 2))
    return pd.DataFrame({"t": t, "y": y[0], "x": x[0], "most": most})


def soak(
    folder: Path,
    *,
    units: int | None,
    tiles: int,
    workers: int,
    every: float,
    stop: threading.Event,
    tell: Callable[[Row], None],
) -> Row:
    """Compute units of a run that grows, and tell what each process holds in regular intervals.

    Parameters
    ----------
    folder
        Where run, result and ledger go.
    units
        How many at the least; until `stop` if not given.
    tiles
        Along each side of a frame; a unit is a tile of one frame.
    workers
        Processes of one thread each, beside one of the scheduler and this one.
    every
        Seconds between two samples.
    stop
        Ends the recording; what is recorded is still processed.
    tell
        Told of each sample.
    """
    algorithm = Algorithm(
        "brightest", "1.0.0", brightest, forebay.Blockwise(tile_pixels=_PIXELS, halo_pixels=0)
    )
    count, began = _Count(), time.monotonic()
    samples: list[Row] = []
    with ExitStack() as stack:
        processes = stack.enter_context(_cluster(folder, workers))
        address = (folder / "scheduler").read_text()
        client = stack.enter_context(connect(AddressSpecification(address=address)))
        client.wait_for_workers(workers, timeout=60)
        database = stack.enter_context(Database(folder / "ledger.sqlite"))
        stack.enter_context(_serving(database, client, algorithm, count))

        def look() -> None:
            sizes = {name: _own_memory(each) / 1e6 for name, each in processes.items()}
            seconds = time.monotonic() - began
            samples.append({"units": count.published, "seconds": round(seconds), **sizes})
            tell(samples[-1])

        frames = _frames(None if units is None else -(-units // tiles**2))
        ended = threading.Event()
        watcher = threading.Thread(target=lambda: _each(every, ended, look))
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(ended.set)
        total = 0
        geometry = Geometry(("y", "x"), (_PIXELS * tiles,) * 2, np.dtype("uint16"))
        with RunWriter.create(folder / "run", geometry, frames_per_block=1) as writer:
            job = forebay.submit(
                forebay.open_run(folder / "run"),
                algorithm,
                ledger=folder / "ledger.sqlite",
                lane="realtime",
                live=True,
            )
            pixels = np.ones(geometry.shape, "uint16")
            for number in frames:
                # Not far ahead of the processing, as it is live.
                while count.published + _AHEAD < total and not stop.is_set():
                    count.came.wait(0.1)
                    count.came.clear()
                if stop.is_set():
                    break
                writer.append(Frame(number, time.time_ns(), pixels))
                total += tiles**2
        record = job.wait(timeout=_END_SECONDS)
        look()
    if record.state != "done" or count.published != total:
        raise RuntimeError(f"the job is {record.state}: {count.published} of {total} units")
    return {"units": total, "seconds": samples[-1]["seconds"], **_growth(samples)}


class _Count:
    """Counts what is published."""

    def __init__(self) -> None:
        self.published = 0
        self.came = threading.Event()

    def observe(self, event: JobEvent) -> None:
        if isinstance(event, UnitPublished):
            self.published += 1
            self.came.set()


def _frames(number: int | None) -> Iterator[int]:
    at = 0
    while number is None or at < number:
        yield at
        at += 1


def _each(seconds: float, ended: threading.Event, look: Callable[[], None]) -> None:
    while not ended.wait(seconds):
        look()


def _own_memory(process: psutil.Process) -> int:
    # Pages of programs and libraries are left out: the system drops them and reads them again.
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


@contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[dict[str, psutil.Process]]:
    """Start a scheduler and workers as processes of their own; give all, and this one, by name."""
    here = folder / "scheduler"
    program = ["-m", "benchmarks.engine_measurements.soak_process"]
    common = {"env": {**ENVIRONMENT, **os.environ}, "stdin": subprocess.PIPE, "cwd": _ROOT}
    with ExitStack() as stack:
        processes = {"client and service MB": psutil.Process()}

        def start(name: str, *arguments: str) -> None:
            process = subprocess.Popen([sys.executable, *program, *arguments], **common)  # type: ignore[call-overload]
            # It ends when nobody holds its input any more, whatever becomes of this process.
            stack.callback(process.wait)
            stack.callback(process.stdin.close)
            processes[name] = psutil.Process(process.pid)

        start("scheduler MB", "scheduler", str(here))
        for number in range(workers):
            start(f"worker {number} MB", "worker", str(here))
        deadline = time.monotonic() + 60
        while not here.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the scheduler does not start")
            time.sleep(0.05)
        yield processes


@contextmanager
def _serving(
    database: Database, client: Any, algorithm: Algorithm, count: _Count
) -> Iterator[None]:
    @contextmanager
    def given() -> Iterator[Any]:
        yield client

    stop = threading.Event()
    service = threading.Thread(
        target=serve,
        args=(database, given, lambda *_: algorithm),
        kwargs={"options": ServiceOptions(), "stop": stop, "on_event": count.observe},
    )
    service.start()
    try:
        yield
    finally:
        stop.set()
        service.join()


def _growth(samples: list[Row]) -> Row:
    """Return by how many bytes each process grows with a unit, in both halves.

    The first twentieth is left out: there modules are loaded, and logs of a fixed length fill.
    """
    grown: Row = {}
    whole = samples[-1]["units"]
    samples = [each for each in samples if each["units"] > whole / 20]
    halves = {
        "first": [each for each in samples if each["units"] <= whole / 2],
        "second": [each for each in samples if each["units"] > whole / 2],
    }
    for name in [name for name in samples[-1] if name.endswith("MB")]:
        for half, some in halves.items():
            if len(some) > 1:
                units = [each["units"] for each in some]
                slope = np.polyfit(units, [each[name] * 1e6 for each in some], 1)[0]
                grown[f"{name[:-3]}, bytes/unit, {half} half"] = float(slope)
    return grown
