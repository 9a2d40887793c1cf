"""What the engine costs beside the work itself: ratios, each measured in one run.

    python -m benchmarks.engine [--json] COMMAND

``overhead`` runs the same operations on the same blocks by a hand-written Dask script, which keeps
its results in memory, by the same script with its results written as the engine writes them, by one
that reads each block by a call of ours in place of Dask's, and by the engine, which also plans,
records and publishes.  ``queue`` counts units that are added, claimed
and published each second, beside the bare statements that this takes.  ``live`` measures the time
from a commit to the published result while a run grows, beside an empty Dask task's round trip; if
no rate is given, at 0.8 of what can be processed here.  With ``--backlog`` many units of old runs
wait meanwhile, every worker is busy, and it is measured how long each of those units takes.  ``soak`` sends
many small live units through one scheduler and prints what each process holds of memory.
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
import pandas as pd
import psutil
import sqlalchemy as sa
import typer
import xarray as xr
from benchmarks.engine_measurements import live as live_work
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
from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.cluster import LocalClusterSpecification, connect
from forebay.cluster.worker_memory import ENVIRONMENT
from forebay.engine import Algorithm
from forebay.engine.execution.events import JobEvent, UnitPublished
from forebay.engine.execution.serve import ServiceOptions, serve
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.leases import Service
from forebay.engine.queue.planning import Planning
from forebay.engine.queue.submission import Submission, Target
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, Region, Unit
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
            algorithm = Algorithm("smooth-and-sum", "1.0.0", smooth_and_sum)
            ways: dict[str, Callable[[], int]] = {
                "script": functools.partial(by_hand, run, connected, work),
                "script that writes": functools.partial(
                    by_hand, run, connected, work, parts=folder.parent / "by-hand"
                ),
                "script that reads whole blocks": functools.partial(
                    by_hand, run, connected, work, task=one_block_read_whole
                ),
                "forebay": functools.partial(by_engine, run, connected, algorithm, work, folder),
            }
            rows += in_turns(title, ways, "script", blocks=blocks, rounds=rounds)
    context.obj.print("a whole job", rows)


@app.command()
def queue(
    context: typer.Context,
    units: Annotated[int, typer.Option(min=100, help="Units of one round.")] = 20_000,
    batch: Annotated[int, typer.Option(min=1, help="Units in a transaction.")] = 100,
    waiting: Annotated[int, typer.Option(min=0, help="Units that wait besides.")] = 200_000,
    database: Annotated[
        str | None, typer.Option(help="URL of a PostgreSQL database; SQLite if not given.")
    ] = None,
) -> None:
    """Count units that are added, claimed and published each second."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="forebay-") as name:
        where: Path | str = database or Path(name) / "ledger.sqlite"
        with Database(where) as opened:
            rows.append(_queue(opened, units=units, batch=batch, waiting=waiting))
        rows[-1]["bare statements/s"] = _bare(where, units=units, batch=batch)
        done, bare = rows[-1]["claimed and published/s"], rows[-1]["bare statements/s"]
        rows[-1]["of bare"] = done / bare
    context.obj.print("units in the queue", rows)


def _queue(database: Database, *, units: int, batch: int, waiting: int) -> Row:
    service = Service(database)
    planning = Planning(database, service.identity)
    began = time.perf_counter()
    for number in range(2):
        job = job_named(f"run-{number}")
        target = Target(job, "nowhere", "nowhere")
        Jobs(database).submit(Submission(targets=[target], priority=-number, key=f"{number}"))
        count = units if number == 0 else waiting
        for begin in range(0, count, 1000):
            some = [(unit_of(job, at), 1) for at in range(begin, min(begin + 1000, count))]
            planning.add(job.identity, some, blocks=0, frames=0, complete=False)
        if number == 0:
            added = units / (time.perf_counter() - began)
    began = time.perf_counter()
    done = 0
    slowest = 0.0
    while done < units:
        once = time.perf_counter()
        claims = service.claim(min(batch, units - done), begin=True)
        part = Part("part", "0" * 64, 1, 1)
        published = service.outcomes.publish([(each, part, 0.1) for each in claims])
        done += len(published)
        slowest = max(slowest, time.perf_counter() - once)
    return {
        "database": database.dialect,
        "units": units,
        "waiting": waiting,
        "batch": batch,
        "added/s": added,
        "claimed and published/s": units / (time.perf_counter() - began),
        "slowest batch ms": slowest * 1000,
    }


def _bare(where: Path | str, *, units: int, batch: int) -> float:
    """Count the same by the least statements that take a unit and note that it is done."""
    with Database(where) as database:
        with database.write() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS bare")
            connection.exec_driver_sql(
                "CREATE TABLE bare (unit INTEGER PRIMARY KEY, state TEXT, attempt INTEGER)"
            )
            rows = [{"unit": number} for number in range(units)]
            insert = sa.text("INSERT INTO bare VALUES (:unit, 'ready', 0)")
            connection.execute(insert, rows)
            connection.exec_driver_sql("CREATE INDEX bare_ready ON bare (state, unit)")
        began = time.perf_counter()
        for _ in range(0, units, batch):
            with database.write() as connection:
                taken = connection.execute(
                    sa.text(
                        "UPDATE bare SET state = 'held', attempt = attempt + 1 WHERE unit IN "
                        "(SELECT unit FROM bare WHERE state = 'ready' ORDER BY unit LIMIT :most) "
                        "RETURNING unit, attempt"
                    ),
                    {"most": batch},
                ).all()
            with database.write() as connection:
                connection.execute(
                    sa.text(
                        "UPDATE bare SET state = 'done' WHERE unit = :unit AND attempt = :attempt"
                    ),
                    [{"unit": unit, "attempt": attempt} for unit, attempt in taken],
                )
        return units / (time.perf_counter() - began)


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
    context.obj.print("live", [whole])
    context.obj.print("live, in parts", parts)


@app.command()
def soak(
    context: typer.Context,
    blocks: Annotated[int, typer.Option(min=1, help="Blocks of the run.")] = 1000,
    tiles: Annotated[int, typer.Option(min=1, help="Tiles along each side of a frame.")] = 10,
    folder: Annotated[Path | None, typer.Option(help="Where to write; in memory here.")] = None,
) -> None:
    """Compute many small units of a run that grows, and watch the memory of all processes."""
    algorithm = Algorithm(
        "brightest", "1.0.0", brightest, forebay.Blockwise(tile_pixels=8, halo_pixels=0)
    )
    stop, samples = threading.Event(), list[Row]()
    published = 0

    def observe(event: JobEvent) -> None:
        nonlocal published
        published += isinstance(event, UnitPublished)

    where = folder or Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="forebay-", dir=where) as name, client() as connected:
        ledger = Path(name) / "ledger.sqlite"
        with Database(ledger) as database:
            service = threading.Thread(
                target=serve,
                args=(database, lambda: given(connected), lambda *_: algorithm),
                kwargs={"options": ServiceOptions(), "stop": stop, "on_event": observe},
            )
            service.start()
            began = time.monotonic()
            try:
                geometry = Geometry(("y", "x"), (8 * tiles, 8 * tiles), np.dtype("uint16"))
                with RunWriter.create(Path(name) / "run", geometry, frames_per_block=1) as writer:
                    job = forebay.submit(
                        forebay.open_run(Path(name) / "run"),
                        algorithm,
                        ledger=ledger,
                        lane="realtime",
                        live=True,
                    )
                    pixels = np.ones(geometry.shape, "uint16")
                    total = blocks * tiles**2
                    for number in range(blocks):
                        # Not far ahead of the processing, as it is live.
                        while number * tiles**2 > published + 2000:
                            time.sleep(0.01)
                        writer.append(Frame(number, time.time_ns(), pixels))
                        if number % max(1, blocks // 20) == 0:
                            samples.append(_memory(published, time.monotonic() - began))
                            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
                record = job.wait(timeout=600)
                samples.append(_memory(published, time.monotonic() - began))
            finally:
                stop.set()
                service.join()
    if record.state != "done" or published != total:
        raise RuntimeError(f"the job is {record.state}: {published} of {total} units")
    context.obj.print("soak", samples)


def brightest(frames: xr.DataArray) -> pd.DataFrame:
    """Return the brightest value of each frame."""
    t, y, x = (frames[name].to_numpy() for name in ("t", "y", "x"))
    most = frames.max(("y", "x")).to_numpy()
    return pd.DataFrame({"t": t, "y": y[0], "x": x[0], "most": most})


def _memory(units: int, seconds: float) -> Row:
    """Return the memory of this process, which holds client, service and scheduler, and workers."""
    own = psutil.Process()
    workers = [each.memory_info().rss for each in own.children(recursive=True)]
    return {
        "units": units,
        "seconds": round(seconds),
        "service and scheduler MB": own.memory_info().rss / 1e6,
        "largest worker MB": max(workers, default=0) / 1e6,
        "descriptors": own.num_fds(),
        "threads": own.num_threads(),
    }


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
        library.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as own,
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
            rows.append({"queue": "forebay", **_queue(opened, units=jobs, batch=batch, waiting=0)})
        with server.database("bare") as url:
            rows.append({"queue": "bare statements", "claimed and finished/s": _bare(
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


def job_named(name: str) -> Job:
    """Return an algorithm over a run that is nowhere."""
    return Job(name, name, "nothing", "1.0.0", forebay.Blockwise(), {})


def unit_of(job: Job, number: int) -> Unit:
    """Return a unit of such a run."""
    pixels = forebay.Extent(0, 8)
    core = Region(forebay.Extent(number, number + 1), pixels, pixels)
    return Unit(job, core, core, (f"{number}",), 0)


if __name__ == "__main__":
    sys.exit(app())
