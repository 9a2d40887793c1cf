"""Several cameras at a time, each into a run of its own."""

import shutil
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.recording_measurements.cost import Cost, cost_of
from benchmarks.recording_peers.forebay import prepare
from benchmarks.recording_peers.peer import Stream

COUNTS = (1, 2, 4)

type Row = dict[str, Any]


def cameras(stream: Stream, folder: Path, *, rounds: int) -> list[Row]:
    """Record a stream from one camera, and the same from more of them at a time, in turns."""
    costs: dict[int, list[tuple[Cost, list[float]]]] = {count: [] for count in COUNTS}
    for turn in range(rounds):
        for count in COUNTS[:: -1 if turn % 2 else 1]:
            costs[count].append(_record(stream, folder, count))
    return [_row(stream, count, costs) for count in COUNTS]


def _record(stream: Stream, folder: Path, count: int) -> tuple[Cost, list[float]]:
    """Record from so many cameras at once; return the cost, and what each of them took."""
    runs = [folder / f"camera-{number}" for number in range(count)]
    try:
        prepared = [prepare(stream, run).record for run in runs]
        with ThreadPoolExecutor(count) as threads:
            each: list[Cost] = []
            total = cost_of(lambda: each.extend(threads.map(cost_of, prepared)))
        return total, [cost.seconds for cost in each]
    finally:
        for run in runs:
            shutil.rmtree(run, ignore_errors=True)


def _row(stream: Stream, count: int, costs: dict[int, list[tuple[Cost, list[float]]]]) -> Row:
    def rates(of: int) -> list[float]:
        return [of * stream.nbytes / cost.seconds / 1e6 for cost, _ in costs[of]]

    ratios = [own / one for own, one in zip(rates(count), rates(1), strict=True)]
    cpu = statistics.median(cost.cpu_seconds for cost, _ in costs[count])
    return {
        "cameras": count,
        "MB_per_s_together": statistics.median(rates(count)),
        "of_one_camera": statistics.median(ratios),
        "slowest_of_fastest": statistics.median(min(s) / max(s) for _, s in costs[count]),
        "cpu_s_per_GB": cpu / (count * stream.nbytes) * 1e9,
    }
