"""Small frames, of which many come, and large ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.recording_measurements.append import append
from benchmarks.recording_measurements.rate import record_at
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream

type Row = dict[str, Any]


def sizes(
    streams: Sequence[Stream], places: Mapping[str, Path], *, rounds: int, peers: Sequence[str]
) -> list[Row]:
    """Record frames of several sizes; return a row for each size, place and peer."""
    rows = []
    for stream in streams:
        for row in append(
            stream, places, rounds=rounds, peers=peers, compressions=[stream.compression]
        ):
            nbytes = stream.nbytes / stream.frames
            rate = row["MB_per_s"] * 1e6 / nbytes if "MB_per_s" in row else None
            rows.append({"side": stream.side, "frames_per_s": rate, **row})
    return rows


def small_rates(
    stream: Stream, folder: Path, *, rates: Sequence[float], seconds: float
) -> list[Row]:
    """Record small frames at given rates; return a row for each."""
    settings = settings_for(stream, overload="drop-newest")
    return [
        record_at(stream, folder, rate=rate, seconds=seconds, settings=settings).row(stream)
        for rate in rates
    ]
