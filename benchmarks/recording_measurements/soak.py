"""Whether memory, file descriptors and threads stay as they are while a run goes on for long."""

import resource
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recording_measurements.running import account_of, frames_removed
from benchmarks.recording_measurements.source import PreparedSource
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream

from forebay.acquisition import AcquisitionStatus, acquire

_JOIN_SECONDS = 30.0

type Row = dict[str, Any]


def soak(
    stream: Stream,
    folder: Path,
    *,
    rate: float,
    seconds: float,
    every: float,
    tell: Callable[[Row], None],
) -> Row:
    """Record at a rate for long, tell of the process in regular intervals, and return the sums."""
    run, frames = folder / "run", max(1, round(rate * seconds))
    source = PreparedSource(stream.shard(), count=frames, rate=rate, can_wait=False)
    samples: list[Row] = []
    latest: list[AcquisitionStatus] = []
    ended = threading.Event()

    def watch() -> None:
        began = time.monotonic()
        while not ended.wait(every):
            sample = {"minutes": (time.monotonic() - began) / 60, **process_sizes()}
            if latest:
                sample |= {"committed": latest[-1].committed, "dropped": latest[-1].dropped}
            samples.append(sample)
            tell(sample)

    watcher = threading.Thread(target=watch, name="benchmark-watch")
    try:
        with frames_removed(run), source:
            watcher.start()
            try:
                status = acquire(
                    source,
                    run,
                    settings=settings_for(stream, overload="drop-newest"),
                    on_status=lambda status: latest.__setitem__(slice(None), [status]),
                )
            finally:
                # What is read back afterwards is not the recording's.
                ended.set()
                watcher.join(_JOIN_SECONDS)
        closes = account_of(run, status, delivered=frames).closes
    finally:
        shutil.rmtree(run, ignore_errors=True)
    return {
        "frames_per_s": rate,
        "minutes": seconds / 60,
        "committed": status.committed,
        "dropped": status.dropped,
        "sums_close": closes,
        **_growth(samples),
    }


def process_sizes() -> Row:
    """Return the resident memory of this process, and how much else of the system it holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "resident_MB": pages * resource.getpagesize() / 1e6,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def _growth(samples: list[Row]) -> Row:
    """Return how much more there is at the end than after the first interval."""
    if not samples:
        return {}
    first, last = samples[0], samples[-1]
    return {
        f"{name}_{word}": value
        for name in ("resident_MB", "descriptors", "threads")
        for word, value in (
            ("first", first[name]),
            ("last", last[name]),
            ("most", max(sample[name] for sample in samples)),
        )
    }
