"""Recording at the full rate of the disk, with moves beside it and without."""

import math
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.recording_measurements.rate import record_at
from benchmarks.recording_peers.forebay import settings_for
from benchmarks.recording_peers.peer import Stream
from benchmarks.tiering_measurements.run import laboratory, record

from forebay.tiering.moving.pace import Pace
from forebay.tiering.specification import TieringSettings

type Row = dict[str, Any]

NEARLY = 0.9
"""Part of the rate that is reached alone, at which no frame may be lost."""
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


def recording_beside_moves(
    root: Path, *, gigabytes: float, seconds: float, megabytes: int, times: int
) -> list[Row]:
    """Record alone, beside moves that give way to recorders, and beside moves that do not.

    Parameters
    ----------
    root
        Where runs are recorded and moved.
    gigabytes
        What is recorded as fast as can be, to find the rate.
    seconds
        For so long it is recorded at nearly that rate.
    megabytes
        Size of the run that is moved.
    times
        Rounds.
    """
    gentle = float(TieringSettings().recording_bandwidth)
    paces = {
        "nothing": 0.0,
        f"moves at {gentle / 1e6:.0f} MB/s": gentle,
        "moves at any rate": math.inf,
    }
    stream = Stream.of(2048, gigabytes=gigabytes, shard_bytes=64 * 2**20)
    record(root / "runs" / "moved", megabytes)
    with laboratory(root / "runs", root / "cold", ledger=root / "ledger.sqlite") as lab:
        lab.take_in(root / "runs" / "moved")
    reached: dict[str, list[float]] = {name: [] for name in paces}
    lost = dict.fromkeys(paces, 0)
    moved: dict[str, list[float]] = {name: [] for name in paces}
    for _ in range(times):
        for name, pace in paces.items():
            with moving(root, pace) as rate:
                trial = record_at(
                    stream,
                    root,
                    rate=None,
                    seconds=0,
                    count=stream.frames,
                    can_wait=True,
                    settings=settings_for(stream, overload="block"),
                )
                reached[name].append(trial.rate)
                nearly = NEARLY * statistics.median(reached["nothing"])
                trial = record_at(
                    stream,
                    root,
                    rate=nearly,
                    seconds=seconds,
                    settings=settings_for(stream, overload="drop-newest"),
                )
                lost[name] += trial.status.dropped
                moved[name].append(rate())
    frame = stream.nbytes / stream.frames / 1e6
    return [
        {
            "beside": name,
            "MB_per_s": round(statistics.median(rates) * frame),
            "lost_percent": round(
                100
                * (
                    1
                    - statistics.median(
                        one / alone for one, alone in zip(rates, reached["nothing"], strict=True)
                    )
                ),
                1,
            ),
            f"frames_lost_at_{NEARLY:g}": lost[name],
            "copied_and_read_back_MB_per_s": round(statistics.median(moved[name])),
        }
        for name, rates in reached.items()
    ]


@contextmanager
def moving(root: Path, bytes_per_second: float) -> Iterator[Callable[[], float]]:
    """Let another process move a run, again and again; give what tells how fast it has, in MB/s."""
    if not bytes_per_second:
        yield lambda: 0.0
        return
    context = multiprocessing.get_context("spawn")
    started, through = context.Event(), context.Value("d", 0.0)
    process = context.Process(target=_keep_moving, args=(root, bytes_per_second, started, through))
    process.start()
    try:
        if not started.wait(_START_SECONDS):
            raise TimeoutError("the process that was to move a run did not start")
        began = time.monotonic()
        yield lambda: through.value / (time.monotonic() - began)
        if not process.is_alive():
            raise RuntimeError("the process that was to move a run has failed")
    finally:
        process.terminate()
        process.join(_STOP_SECONDS)
        shutil.rmtree(root / "cold", ignore_errors=True)


def _keep_moving(root: Path, bytes_per_second: float, started: Any, through: Any) -> None:
    run, cold = root / "runs" / "moved", root / "cold"
    pace = _Counting(bytes_per_second, through)
    ledger = root / "moving.sqlite"
    while True:
        shutil.rmtree(cold, ignore_errors=True)
        cold.mkdir()
        for path in root.glob("moving.sqlite*"):
            path.unlink()
        shutil.copy(root / "ledger.sqlite", ledger)
        with laboratory(root / "runs", cold, ledger=ledger, pace=pace) as lab:
            started.set()
            lab.move(run, "cold", keep=True)


class _Counting(Pace):
    """A pace that tells of what goes through."""

    def __init__(self, bytes_per_second: float, through: Any) -> None:
        super().__init__(bytes_per_second)
        self._through = through

    def take(self, count: int) -> None:
        self._through.value += count / 1e6
        super().take(count)
