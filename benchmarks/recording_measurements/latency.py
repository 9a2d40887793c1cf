"""How long a frame takes to be committed, beside a process that keeps the machine busy."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.recording_measurements.rate import record_at
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream

_BUSY_BYTES = 64 * 2**20
_JOIN_SECONDS = 10.0

type Row = dict[str, Any]


def latency(
    stream: Stream, folder: Path, *, rate: float, seconds: float, busy: tuple[int, ...] = (0, 1)
) -> list[Row]:
    """Record at a rate, beside so many busy processes each; return a row for each."""
    rows = []
    for count in busy:
        with busy_processes(count):
            trial = record_at(
                stream,
                folder,
                rate=rate,
                seconds=seconds,
                settings=settings_for(stream, overload="drop-newest"),
            )
        taken, committed = trial.status.receive_seconds, trial.status.latency_seconds
        rows.append(
            {
                "busy_processes": count,
                "frames_per_s": rate,
                "block_fills_in_ms": 1e3 * stream.frames_per_shard / rate,
                **{f"commit_{name}_ms": 1e3 * value for name, value in committed.items()},
                **{f"receive_{name}_ms": 1e3 * value for name, value in taken.items()},
                "dropped": trial.status.dropped,
                "sums_close": trial.account.closes,
            }
        )
    return rows


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many other processes compute and copy without a pause."""
    context = multiprocessing.get_context("spawn")
    started = [context.Event() for _ in range(count)]
    others = [context.Process(target=_keep_busy, args=(each,), daemon=True) for each in started]
    for each in others:
        each.start()
    try:
        for ready in started:
            ready.wait(_JOIN_SECONDS)
        yield
    finally:
        for each in others:
            each.terminate()
            each.join(_JOIN_SECONDS)


def _keep_busy(started: Any) -> None:
    values, copy = np.ones(_BUSY_BYTES, np.uint8), np.zeros(_BUSY_BYTES, np.uint8)
    started.set()
    while True:
        copy[:] = values
        sum(range(100_000))
