"""How long a frame takes to be committed, beside a process that keeps the machine busy."""

from pathlib import Path
from typing import Any

from benchmarks.recording_measurements.busy import busy_processes
from benchmarks.recording_measurements.rate import record_at
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream

type Row = dict[str, Any]


def latency(
    stream: Stream,
    folder: Path,
    *,
    rate: float,
    seconds: float,
    realtime_priority: int = 0,
    busy: tuple[int, ...] = (0, 1),
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
                settings=settings_for(
                    stream,
                    overload="drop-newest",
                    scheduling={"realtime_priority": realtime_priority},
                ),
            )
        taken, committed = trial.status.receive_seconds, trial.status.latency_seconds
        rows.append(
            {
                "busy_processes": count,
                "realtime_priority": realtime_priority,
                "frames_per_s": rate,
                "block_fills_in_ms": 1e3 * stream.frames_per_shard / rate,
                **{f"commit_{name}_ms": 1e3 * value for name, value in committed.items()},
                **{f"receive_{name}_ms": 1e3 * value for name, value in taken.items()},
                "dropped": trial.status.dropped,
                "sums_close": trial.account.closes,
            }
        )
    return rows
