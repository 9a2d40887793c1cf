"""What the engine costs beside the work itself: ratios, each measured in one run.

    python -m benchmarks.engine [--json] COMMAND

``overhead`` runs the same operations on the same blocks by a hand-written Dask script, which keeps
its results in memory, by the same script with its results written as the engine writes them, by one
that reads each block by a call of ours in place of Dask's, and by the engine, which also plans,
records and publishes, with frames that are lazy and with frames in memory.  ``queue`` counts units that are added, claimed
and published each second, beside the bare statements that this takes.  ``live`` measures the time
from a commit to the published result while a run grows, beside an empty Dask task's round trip; if
no rate is given, at 0.8 of what can be processed here.  With ``--backlog`` many units of old runs
wait meanwhile, every worker is busy, and it is measured how long each of those units takes.  ``soak``
sends many small live units through one scheduler, for as long as it is let, and prints what each
process holds of memory.
``allocator`` compares the processor's time of a worker with that of one with Dask's own settings.

``runners`` does what ``overhead`` does by Prefect on Dask and by Parsl, and ``queues`` what ``queue``
does by procrastinate and pgqueuer, on one PostgreSQL server on loopback; ``uv sync --group peers``
installs them.
"""

import functools
import itertools
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import distributed
import numpy as np
import typer
import xarray as xr
from benchmarks.engine_measurements import live as live_work
from benchmarks.engine_measurements.queue import (
    FullQueue,
    bare_statements,
)
from benchmarks.engine_measurements.soak import soak as measure_soak
from benchmarks.engine_measurements.work import (
    one_block,
    one_block_read_whole,
    smooth_and_sum,
    without_history,
    written,
)
from benchmarks.engine_peers import queues as peer_queues
from benchmarks.engine_peers.runners import SETTINGS, parsl_runner, prefect_runner
from benchmarks.recording_measurements.report import conditions, table
from rich.console import Console
from tests.engine.queue.servers import running_server

import forebay
from forebay.cluster import LocalClusterSpecification, connect
from forebay.cluster.worker_memory import ENVIRONMENT
from forebay.engine import Algorithm
from forebay.engine.queue.database import Database
from forebay.ops import find_particles

WORKERS = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Output:
    """How figures are printed."""

    as_json: bool
    """As JSON, one object on a line."""

    def print(self, title: str, rows: list[Row]) -> None:
        """Print figures."""
        if self.as_json:
            for row in rows:
                print(json.dumps({"measurement": title, **row}))
        else:
            Console(width=160).print(table(title, rows))


@app.callback()
def _common(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    context.obj = Output(as_json)
    if not as_json:
        Console(width=160).print(table("conditions", [conditions({})]))


@app.command()
def overhead(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    large: Annotated[int, typer.Option(min=1, help="Number of large blocks.")] = 16,
    small: Annotated[int, typer.Option(min=1, help="Number of small blocks.")] = 200,
) -> None:
    """Compare a job with a Dask script written by hand for the same work."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="forebay-") as name, client() as connected:
        for title, blocks, per_block, side, work in (
            ("few large blocks", large, 8, 1024, 4),
            ("many small blocks", small, 4, 128, 1),
        ):
            folder = Path(name) / title.replace(" ", "-")
            run = written(folder, blocks=blocks, per_block=per_block, side=side)
            lazy = Algorithm("smooth-and-sum", "1.0.0", smooth_and_sum)
            eager = Algorithm("smooth-and-sum", "1.1.0", smooth_and_sum, eager=True)
            ways: dict[str, Callable[[], int]] = {
                "script": functools.partial(by_hand, run, connected, work),
                "script that writes": functools.partial(
                    by_hand, run, connected, work, parts=folder.parent / "by-hand"
                ),
                "script that reads whole blocks": functools.partial(
                    by_hand, run, connected, work, task=one_block_read_whole
                ),
                "forebay": functools.partial(by_engine, run, connected, lazy, work, folder),
                "forebay, eager": functools.partial(by_engine, run, connected, eager, work, folder),
            }
            rows += in_turns(title, ways, "script", blocks=blocks, rounds=rounds)
    context.obj.print("a whole job", rows)


@app.command()
def queue(
    context: typer.Context,
    units: Annotated[int, typer.Option(min=100, help="Units of one round.")] = 20_000,
    batch: Annotated[int, typer.Option(min=1, help="Units in a transaction.")] = 100,
    waiting: Annotated[
        list[int] | None,
        typer.Option(help="Units that wait besides, at the least; may be repeated."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="URL of a PostgreSQL database; SQLite if not given.")
    ] = None,
) -> None:
    """Count units that are added, claimed and published each second, and time what people ask."""
    with tempfile.TemporaryDirectory(prefix="forebay-") as name:
        where: Path | str = database or Path(name) / "ledger.sqlite"
        with Database(where) as opened:
            full = FullQueue(opened, batch=batch)
            rows = [
                {**full.with_waiting(number, units=units), **full.questions()}
                for number in sorted(waiting or [200_000])
            ]
        taken = bare_statements(where, units=units, batch=batch)
    for row in rows:
        row["bare statements/s"] = taken
        row["of bare"] = row["claimed and published/s"] / taken
    context.obj.print("units in the queue", rows)


@app.command()
def live(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of the recording.")] = 60.0,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Blocks committed each second; else by --load.")
    ] = None,
    load: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="Part of what can be processed.")
    ] = 0.8,
    side: Annotated[int, typer.Option(min=16, help="Rows and columns of a frame.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Work on each block.")] = 1,
    backlog: Annotated[int, typer.Option(min=0, help="Units of old runs that wait.")] = 0,
    old_seconds: Annotated[
        float, typer.Option(min=0.001, help="Processor's time of each of them.")
    ] = 0.3,
) -> None:
    """Measure the time from a commit to its published result while a run grows."""
    with tempfile.TemporaryDirectory(prefix="forebay-") as name, client() as connected:
        whole, *parts = live_work.measure(
            Path(name),
            connected,
            seconds=seconds,
            rate=rate,
            load=load,
            side=side,
            rounds=rounds,
            backlog=backlog,
            old_seconds=old_seconds,
        )
    if whole["blocks/s"] < 0.95 * whole["wanted blocks/s"]:
        typer.echo("the recorder has not reached the rate that was wanted", err=True)
    context.obj.print("live", [whole])
    context.obj.print("live, in parts", parts)


@app.command()
def soak(
    context: typer.Context,
    units: Annotated[
        int | None, typer.Option(min=1, help="How many at the least; until Ctrl-C if not given.")
    ] = None,
    tiles: Annotated[int, typer.Option(min=1, help="Tiles along each side of a frame.")] = 16,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two samples.")] = 30.0,
    folder: Annotated[Path | None, typer.Option(help="Where to write; in memory here.")] = None,
) -> None:
    """Compute many small units of a run that grows, and watch the memory of all processes."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    where = folder or Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="forebay-", dir=where) as name:
        grown = measure_soak(
            Path(name),
            units=units,
            tiles=tiles,
            workers=WORKERS,
            every=every,
            stop=stop,
            tell=lambda row: print(json.dumps(row), file=sys.stderr, flush=True),
        )
    context.obj.print("soak", [grown])


@app.command()
def allocator(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    blocks: Annotated[int, typer.Option(min=1, help="Number of blocks of eight frames.")] = 10,
) -> None:
    """Compare a worker of ours with one that has Dask's own settings for freed memory."""
    clusters: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "Dask's settings": lambda: daskwise(),
        "forebay": lambda: connect(LocalClusterSpecification(workers=1, threads_per_worker=1)),
    }
    generator = np.random.default_rng(5)
    scene = generator.poisson(200, (8, 424, 640)).astype("uint16")
    rows = []
    for number, (name, start) in itertools.product(range(rounds), clusters.items()):
        for variable in ENVIRONMENT:
            # A nanny leaves them in the environment of its process.
            os.environ.pop(variable, None)
        with start() as connected:
            connected.submit(particles, scene, 1, pure=False).result()
            user, system = connected.submit(particles, scene, blocks, pure=False).result()
        rows.append({"round": number, "worker": name, "user s": user, "system s": system})
    context.obj.print("looking for particles", rows)


@contextmanager
def daskwise() -> Iterator[Any]:
    """Start a worker as Dask does by itself."""
    library: Any = distributed
    with (
        library.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as own,
        library.Client(own) as connected,
    ):
        yield connected


def particles(scene: Any, blocks: int) -> tuple[float, float]:
    """Look for particles in a block so often; return the processor's time, ours and the system's."""
    frames = xr.DataArray(scene, dims=("t", "y", "x"))
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(blocks):
        find_particles(frames, diameter=7, minmass=500)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


@app.command()
def runners(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    large: Annotated[int, typer.Option(min=1, help="Number of large blocks.")] = 16,
    small: Annotated[int, typer.Option(min=1, help="Number of small blocks.")] = 200,
) -> None:
    """Compare a job with one task a block by Prefect on Dask, and by Parsl."""
    rows = []
    os.environ |= SETTINGS
    with (
        tempfile.TemporaryDirectory(prefix="forebay-") as name,
        client() as connected,
        prefect_runner(connected.scheduler.address) as by_prefect,
        parsl_runner(WORKERS) as by_parsl,
    ):
        for title, blocks, per_block, side, work in (
            ("few large blocks", large, 8, 1024, 4),
            ("many small blocks", small, 4, 128, 1),
        ):
            folder = Path(name) / title.replace(" ", "-")
            run = written(folder, blocks=blocks, per_block=per_block, side=side)
            algorithm = Algorithm("smooth-and-sum", "1.0.0", smooth_and_sum)
            parts = folder.parent / f"parts-{blocks}"
            parts.mkdir()
            ways: dict[str, Callable[[], int]] = {
                "forebay": functools.partial(by_engine, run, connected, algorithm, work, folder),
                "Prefect on Dask": functools.partial(by_prefect, one_block, run, work, parts),
                "Parsl": functools.partial(by_parsl, one_block, run, work, parts),
            }
            rows += in_turns(title, ways, "forebay", blocks=blocks, rounds=rounds)
    context.obj.print("a task for each block", rows)


@app.command()
def queues(
    context: typer.Context,
    jobs: Annotated[int, typer.Option(min=100, help="Jobs of one round.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Jobs that are taken at a time.")] = 100,
) -> None:
    """Compare the queue with procrastinate and pgqueuer on one PostgreSQL server."""
    rows = []
    with running_server() as server:
        with server.database("own") as url, Database(url) as opened:
            rows.append(
                {"queue": "forebay", **FullQueue(opened, batch=batch).with_waiting(0, units=jobs)}
            )
        with server.database("bare") as url:
            rows.append({"queue": "bare statements", "claimed and finished/s": bare_statements(
                url, units=jobs, batch=batch
            )})  # fmt: skip
        with server.database("procrastinate") as url:
            found = peer_queues.procrastinate(url, jobs=jobs, batch=batch)
            rows.append({"queue": "procrastinate", **found})
        with server.database("pgqueuer") as url:
            found = peer_queues.pgqueuer(url, jobs=jobs, batch=batch)
            rows.append({"queue": "pgqueuer", **found})
    columns = ("queue", "added/s", "claimed and finished/s")
    rows[0]["claimed and finished/s"] = rows[0]["claimed and published/s"]
    shown = [{name: row.get(name, float("nan")) for name in columns} for row in rows]
    context.obj.print(f"{jobs} jobs, {batch} at a time, on one PostgreSQL", shown)


def in_turns(
    title: str, ways: dict[str, Callable[[], int]], to: str, *, blocks: int, rounds: int
) -> list[Row]:
    """Do the same in several ways, by turns, and compare each with one of them."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way in list(ways)[:: -1 if turn % 2 else 1]:
            began = time.perf_counter()
            done = ways[way]()
            seconds = time.perf_counter() - began
            if done != blocks:
                raise RuntimeError(f"{way} did {done} of {blocks} blocks")
            if turn:
                took[way].append(seconds)
    rows = []
    for way, seconds_of in took.items():
        ratios = [a / b for a, b in zip(seconds_of, took[to], strict=True)]
        rows.append(
            {
                "case": title,
                "way": way,
                "seconds": statistics.median(seconds_of),
                f"of the {to}": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
            }
        )
    return rows


@contextmanager
def given(connected: Any) -> Iterator[Any]:
    """Give a client that stays open."""
    yield connected


@contextmanager
def client() -> Iterator[Any]:
    """Start a cluster of two workers of a thread each."""
    with connect(LocalClusterSpecification(workers=WORKERS, threads_per_worker=1)) as connected:
        connected.run(__import__, "forebay.engine.execution.work")
        connected.run(__import__, "pandas")
        yield connected


def by_hand(
    run: forebay.Run,
    connected: Any,
    work: int,
    *,
    parts: Path | None = None,
    task: Callable[..., object] = one_block,
) -> int:
    """Run the operations as one task for each block, as one would write it."""
    if parts is not None:
        parts.mkdir(exist_ok=True)
    light = without_history(run)
    futures = [
        connected.submit(task, light, block, work, parts, pure=False) for block in run.blocks
    ]
    tables = connected.gather(futures)
    return len(tables)


def by_engine(
    run: forebay.Run, connected: Any, algorithm: Algorithm, work: int, folder: Path
) -> int:
    """Run the same as a job of the engine."""
    result = forebay.process(
        run, algorithm, client=connected, force=True, results=folder.parent / "results", rounds=work
    )
    return len(result.done)


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(app())
