"""Time from a commit to its published result while a run grows, alone and beside old runs."""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.engine_measurements.work import busy_for, recording, smooth_and_sum, written

import forebay
from forebay.acquisition import Block, Frame, RunWriter
from forebay.engine import Algorithm
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.states import OPEN_UNITS

_LIVE = Algorithm("smooth-and-sum", "1.0.0", smooth_and_sum)
_OLD = Algorithm("busy-for", "1.0.0", busy_for, forebay.Blockwise(tile_pixels=4, halo_pixels=0))
_TILES = 1024
_BURST = 60
_WARM = 4
_LATEST_SECONDS = 120.0

type Row = dict[str, Any]


@dataclass
class _Seen:
    """What was seen of units; times are those of `time.perf_counter`."""

    committed: dict[int, float] = field(default_factory=dict)
    published: dict[int, float] = field(default_factory=dict)
    live_seconds: list[float] = field(default_factory=list)
    old: list[tuple[float, float]] = field(default_factory=list)
    """Of each old unit, when it was published and how long a worker was at it."""
    run: str = ""

    def __call__(self, event: JobEvent) -> None:
        if not isinstance(event, UnitPublished):
            return
        if event.unit.job.algorithm == _OLD.name:
            self.old.append((time.perf_counter(), event.seconds))
        elif event.unit.job.run_name == self.run:
            self.published[event.unit.core.t.start] = time.perf_counter()
            self.live_seconds.append(event.seconds)

    @property
    def behind(self) -> int:
        return len(self.committed) - len(self.published)


def measure(
    folder: Path,
    connected: Any,
    *,
    seconds: float,
    rate: float | None,
    load: float,
    side: int,
    rounds: int,
    backlog: int,
    old_seconds: float,
) -> list[Row]:
    """Commit blocks for so long, and compare when their results are published.

    Parameters
    ----------
    folder
        Where runs, results and the ledger go.
    connected
        A `distributed.Client`.
    seconds
        How long the run grows.
    rate
        Blocks that are committed each second; if not given, `load` of what can be processed.
    load
        Part of the blocks that are done each second where as many as can be are committed.
    side
        Rows and columns of a frame; a block has four.
    rounds
        How often the arithmetic is done on each block.
    backlog
        Units of old runs that wait.
    old_seconds
        Processor's time that each of them takes.
    """
    bare = [_timed(lambda: connected.submit(int, pure=False).result()) for _ in range(50)]
    seen = _Seen()
    with Database(folder / "ledger.sqlite") as database, _service(database, connected, seen):
        if rate is None:
            burst = _followed(folder, "burst", seen, side=side, rounds=rounds, blocks=_BURST)
            # The first ones find workers that have yet to import what they need.
            ends = sorted(burst.published.values())[_BURST // 4 :]
            rate = load * (len(ends) - 1) / (ends[-1] - ends[0])
        if backlog:
            old = written(folder / "old", blocks=-(-backlog // _TILES) + 1, per_block=4, side=128)
            forebay.submit(old, _OLD, ledger=folder / "ledger.sqlite", seconds=old_seconds)
            _wait_until(lambda: _waiting(database) >= backlog and len(seen.old) > _WARM)
        began = time.perf_counter()
        found = _followed(
            folder, "live", seen, side=side, rounds=rounds, rate=rate, seconds=seconds
        )
        left = _waiting(database)
    waits = [found.published[at] - found.committed[at] for at in sorted(found.published)]
    first, last = min(found.committed.values()), max(found.committed.values())
    row = {
        "wanted blocks/s": rate,
        "blocks/s": (len(found.committed) - 1) / max(last - first, 1e-9),
        "blocks": len(found.committed),
        "published": len(found.published),
        **_quantiles("", waits),
        "a live unit ms": statistics.median(found.live_seconds) * 1000,
        "Dask round trip ms": statistics.median(bare) * 1000,
    }
    if backlog:
        took = [each for at, each in seen.old if at >= began]
        longest = float(np.quantile(took, 0.99)) * 1000
        row |= {
            "waiting": left,
            "old units": len(took),
            "old median ms": statistics.median(took) * 1000,
            "old p99 ms": longest,
            "p99 beyond an old unit's ms": row["p99 ms"] - longest,
        }
    parts = [
        {"part of the time": f"{n + 1}/4", **_quantiles("", each)}
        for n, each in enumerate(_quarters(waits))
    ]
    return [row, *parts]


def _quarters(waits: list[float]) -> list[list[float]]:
    size = max(1, len(waits) // 4)
    return [some for n in range(4) if (some := waits[n * size : (n + 1) * size])]


def _quantiles(name: str, waits: list[float]) -> Row:
    return {
        f"{name}median ms": statistics.median(waits) * 1000,
        f"{name}p99 ms": float(np.quantile(waits, 0.99)) * 1000,
        f"{name}most ms": max(waits) * 1000,
    }


@contextmanager
def _service(database: Database, connected: Any, seen: _Seen) -> Iterator[None]:
    """Run a service within the block; its error is raised at the end."""
    stop, errors = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            serve(
                database,
                lambda: contextlib.nullcontext(connected),
                lambda name, _: _OLD if name == _OLD.name else _LIVE,
                options=ServiceOptions(),
                stop=stop,
                on_event=seen,
            )
        except BaseException as error:  # noqa: BLE001 (raised again below)
            errors.append(error)

    service = threading.Thread(target=work)
    service.start()
    try:
        yield
    finally:
        stop.set()
        service.join()
    for error in errors:
        raise error


def _followed(
    folder: Path,
    name: str,
    seen: _Seen,
    *,
    side: int,
    rounds: int,
    rate: float | None = None,
    blocks: int | None = None,
    seconds: float = 600.0,
) -> _Seen:
    """Record a run that a live job follows, and wait for all of its results."""
    seen.committed, seen.published, seen.live_seconds, seen.run = {}, {}, [], name
    with recording(folder / name, per_block=4, side=side) as writer:
        forebay.submit(
            forebay.open_run(folder / name),
            _LIVE,
            ledger=folder / "ledger.sqlite",
            lane="realtime",
            live=True,
            rounds=rounds,
        )
        _commit(writer, seen.committed, rate=rate, blocks=blocks, seconds=seconds)
        _wait_until(lambda: not seen.behind)
    return _Seen(seen.committed, seen.published, seen.live_seconds)


def _commit(
    writer: RunWriter,
    committed: dict[int, float],
    *,
    rate: float | None,
    blocks: int | None,
    seconds: float,
) -> None:
    began, number = time.monotonic(), 0
    pixels = np.ones(writer.layout.geometry.shape, "uint16")
    while time.monotonic() - began < seconds and (blocks is None or len(committed) < blocks):
        block: Block | None = None
        while block is None:
            block = writer.append(Frame(number, time.time_ns(), pixels))
            number += 1
        committed[block.extent.start] = time.perf_counter()
        if rate is not None:
            due = began + len(committed) / rate
            time.sleep(max(0.0, due - time.monotonic()))


def _waiting(database: Database) -> int:
    """Return how many units of old runs are known and not done."""
    jobs = Jobs(database)
    old = [each.job for each in jobs.find() if each.algorithm == _OLD.name]
    return sum(jobs.progress(each).count(*OPEN_UNITS) for each in old)


def _wait_until(there: Any) -> None:
    pause, deadline = threading.Event(), time.monotonic() + _LATEST_SECONDS
    while not there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"what is waited for has not come within {_LATEST_SECONDS:g} s")
        pause.wait(0.05)


def _timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
