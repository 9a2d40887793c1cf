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
_CALIBRATION_SECONDS = 15.0
_SETTLING = 0.25
"""Part of a calibration that does not count: workers have yet to import what they need."""
_LEAD = 16
"""Blocks that a calibration commits ahead of what is published."""
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
    came: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: JobEvent) -> None:
        if not isinstance(event, UnitPublished):
            return
        if event.unit.job.algorithm == _OLD.name:
            self.old.append((time.perf_counter(), event.seconds))
        elif event.unit.job.run_name == self.run:
            self.published[event.unit.core.t.start] = time.perf_counter()
            self.came.set()
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
        Part of what can be processed: of the blocks that are published each second while as many
        as can be are committed, a few ahead of what is published.
    side
        Rows and columns of a frame; a block has four.
    rounds
        How often the arithmetic is done on each block.
    backlog
        Units of old runs that wait.
    old_seconds
        Processor's time that each of them takes.
    """
    bare = _round_trips(connected)
    seen = _Seen()
    with Database(folder / "ledger.sqlite") as database, _service(database, connected, seen):
        sizes = {"side": side, "rounds": rounds}
        able = _able(folder, "before", seen, **sizes)
        rate = load * able if rate is None else rate
        if backlog:
            old = written(folder / "old", blocks=-(-backlog // _TILES) + 1, per_block=4, side=128)
            forebay.submit(old, _OLD, ledger=folder / "ledger.sqlite", seconds=old_seconds)
            _wait_until(lambda: _waiting(database) >= backlog and len(seen.old) > _WARM)
        began = time.perf_counter()
        found = _followed(folder, "live", seen, rate=rate, seconds=seconds, **sizes)
        left = _waiting(database)
        # What else the machine does may have changed meanwhile; beside old runs it would be theirs.
        able_after = None if backlog else _able(folder, "after", seen, **sizes)
    bare += _round_trips(connected)
    waits = [found.published[at] - found.committed[at] for at in sorted(found.published)]
    first, last = min(found.committed.values()), max(found.committed.values())
    reached = (len(found.committed) - 1) / max(last - first, 1e-9)
    row = {
        "can be processed blocks/s": able,
        "the same afterwards": able_after,
        "wanted blocks/s": rate,
        "blocks/s": reached,
        "of what can be processed": reached / statistics.mean(filter(None, (able, able_after))),
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
        {"part of the time": f"{n + 1}/{number}", **_quantiles("", each)}
        for number in (2, 4)
        for n, each in enumerate(_divided(waits, number))
    ]
    return [row, *parts]


def _able(folder: Path, name: str, seen: _Seen, *, side: int, rounds: int) -> float:
    """Return how many blocks are published each second at the most while a run is recorded.

    The recording takes its part of the processors, as it does at any rate: without it more would
    be promised than can be kept.
    """
    found = _followed(
        folder, name, seen, side=side, rounds=rounds, lead=_LEAD, seconds=_CALIBRATION_SECONDS
    )
    last = max(found.committed.values())
    first = last - (1 - _SETTLING) * (last - min(found.committed.values()))
    # What is published after the last commit had the processors for itself.
    ends = [at for at in found.published.values() if first <= at <= last]
    if len(ends) < 2:
        raise RuntimeError(f"{len(ends)} blocks are published within {last - first:.3g} s: too few")
    return (len(ends) - 1) / (max(ends) - min(ends))


def _divided(waits: list[float], number: int) -> list[list[float]]:
    size = max(1, len(waits) // number)
    return [some for n in range(number) if (some := waits[n * size : (n + 1) * size])]


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
    seconds: float,
    rate: float | None = None,
    lead: int | None = None,
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
        _commit(writer, seen, rate=rate, lead=lead, seconds=seconds)
        _wait_until(lambda: not seen.behind)
    return _Seen(seen.committed, seen.published, seen.live_seconds)


def _commit(
    writer: RunWriter, seen: _Seen, *, rate: float | None, lead: int | None, seconds: float
) -> None:
    """Commit blocks, at a rate, or as soon as there are fewer than `lead` that are not published."""
    began, number = time.monotonic(), 0
    pixels = np.ones(writer.layout.geometry.shape, "uint16")
    while (passed := time.monotonic() - began) < seconds:
        if lead is not None and seen.behind >= lead:
            seen.came.clear()
            if seen.behind >= lead:
                seen.came.wait(seconds - passed)
            continue
        block: Block | None = None
        while block is None:
            block = writer.append(Frame(number, time.time_ns(), pixels))
            number += 1
        seen.committed[block.extent.start] = time.perf_counter()
        if rate is not None:
            due = began + len(seen.committed) / rate
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


def _round_trips(connected: Any) -> list[float]:
    return [_timed(lambda: connected.submit(int, pure=False).result()) for _ in range(50)]


def _timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
