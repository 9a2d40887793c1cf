"""What a kept cluster costs beside a bare one, and TLS beside none: measured in one run each.

    python -m benchmarks.cluster [--json] COMMAND

``slurm`` starts a Slurm on loopback (as root, with Debian's ``slurm-wlm`` and ``munge``) and
measures, by turns, forebay's cluster and a bare ``dask_jobqueue.SLURMCluster`` with the same job:
from the wish for workers to the first result and to the last worker, and from the end of the work to
the end of the last job.  ``first`` measures there, by turns, how long a job of the engine waits for
its first unit to run, and a task that reads a block for a bare ``SLURMCluster``: on a cluster without
a worker and on one that has one.  ``tls`` measures a round trip and
the rate between two workers of this machine, over tcp, over tls, and over ucx where that runs.
"""

import importlib
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import xarray as xr
from benchmarks.recording_measurements.report import conditions, table
from rich.console import Console
from tests.slurm import Slurm, running, until

from forebay.acquisition import Frame, Geometry, RunWriter, open_run
from forebay.cluster import SlurmClusterSpecification, connect
from forebay.cluster.client import known_workers
from forebay.cluster.keeping.place import passing_place
from forebay.cluster.keeping.talk import scale
from forebay.cluster.slurm.script import options_of
from forebay.engine import Algorithm, process

# Neither of them has types.
distributed: Any = importlib.import_module("distributed")
dask_jobqueue: Any = importlib.import_module("dask_jobqueue")

app = typer.Typer(help=__doc__, no_args_is_help=True)
_AS_JSON = False
_LOOK_SECONDS = 0.2
_TRANSFERS = 5
"""Arrays that are sent one after the other; of their times the median counts."""


@app.callback()
def _common(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    global _AS_JSON
    # Whatever ends it, the Slurm and its jobs end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _AS_JSON = as_json


@app.command()
def slurm(
    workers: Annotated[int, typer.Option(min=1, help="Workers to scale to.")] = 2,
    times: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 3,
) -> None:
    """Measure scaling on a real Slurm against bare dask-jobqueue."""
    rows: list[dict[str, Any]] = []
    with running() as cluster, tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            for label, measured in (("forebay", _kept), ("dask-jobqueue", _bare)):
                cluster.tidy()
                rows.append({"cluster": label, **measured(cluster, Path(folder), workers)})
    _report(f"{workers} workers on Slurm, seconds", _medians(rows, "cluster"))


@app.command()
def first(
    times: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 3,
) -> None:
    """Measure the time from a job's submission to its first unit's running."""
    rows: list[dict[str, Any]] = []
    with running() as cluster, tempfile.TemporaryDirectory() as folder:
        writer = RunWriter.create(
            Path(folder, "run"),
            Geometry(("y", "x"), (4, 4), np.dtype("uint16")),
            frames_per_block=1,
        )
        for counter in range(2):
            writer.append(Frame(counter, time.time_ns(), np.zeros((4, 4), np.uint16)))
        writer.close()
        for number in range(times):
            cluster.tidy()
            one = _specification(Path(folder), 1).model_copy(update={"idle_seconds": 60.0})
            with connect(one, name=f"bench-{number}") as client:
                for label in ("none yet", "there"):
                    seconds = _until_first_unit(Path(folder), f"{number} {label}", client)
                    rows.append({"workers": f"forebay, {label}", "seconds": seconds})
            cluster.tidy()
            with _bare_cluster(Path(folder), 1) as (bare, client):
                for label in ("none yet", "there"):
                    began = time.time()
                    bare.scale(1)
                    task = client.submit(_begun, str(Path(folder, "run")), pure=False)
                    seconds = float(task.result(timeout=120)) - began
                    rows.append({"workers": f"dask-jobqueue, {label}", "seconds": seconds})
    _report("from submitting a job to its first unit, on Slurm", _medians(rows, "workers"))


def _begun(run: str) -> float:
    """Read a block, as a unit does before its algorithm begins; return when that was."""
    import xarray

    xarray.open_zarr(Path(run), consolidated=False)["frames"][:1].load()
    return time.time()


def _until_first_unit(folder: Path, name: str, client: Any) -> float:
    log = folder / f"{name}.log"

    def noted(frames: xr.DataArray, *, log: str) -> pd.DataFrame:
        with Path(log).open("a") as file:
            file.write(f"{time.time()}\n")
        return pd.DataFrame({"t": frames.t})

    began = time.time()
    process(
        open_run(folder / "run"),
        Algorithm("noted", "1.0.0", noted),
        client=client,
        results=folder / name,
        log=str(log),
    )
    return min(map(float, log.read_text().split())) - began


@app.command()
def tls(
    mebibytes: Annotated[int, typer.Option(min=1, help="Size of what is sent.")] = 64,
    times: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
) -> None:
    """Measure what TLS costs between two workers of this machine, and what UCX brings."""
    rows: list[dict[str, Any]] = []
    protocols = ("tcp", "tls", *(("ucx",) if find_spec("distributed_ucxx") else ()))
    with ExitStack() as stack:
        # To start and end them takes many times as long as what is measured.
        clients = {each: stack.enter_context(_two_workers(each)) for each in protocols}
        for _ in range(times):
            for protocol, client in clients.items():
                rows.append({"protocol": protocol, **_sent(client, mebibytes)})
    _report(f"{mebibytes} MiB between two workers", _medians(rows, "protocol"))


def _specification(folder: Path, workers: int) -> SlurmClusterSpecification:
    return SlurmClusterSpecification(
        maximum_workers=workers,
        memory_limit=500 << 20,  # type: ignore[arg-type]  # pydantic makes a ByteSize of it
        interface="lo",
        protocol="tcp",
        folder=folder,
        look_seconds=_LOOK_SECONDS,
        idle_seconds=_LOOK_SECONDS,
        work_seconds=1.0,
    )


def _kept(cluster: Slurm, folder: Path, workers: int) -> dict[str, float]:
    with connect(_specification(folder, workers), name="bench") as client:
        return _timed(cluster, client, workers, partial(scale, client))


def _bare(cluster: Slurm, folder: Path, workers: int) -> dict[str, float]:
    with _bare_cluster(folder, workers) as (bare, client):
        return _timed(cluster, client, workers, bare.scale)


@contextmanager
def _bare_cluster(folder: Path, workers: int) -> Iterator[tuple[Any, Any]]:
    """Give a cluster of dask-jobqueue's with the same jobs, and a client."""
    place = passing_place(folder, "bare")
    specification = _specification(folder, workers)
    options = options_of(specification, job_name="bare", tag="bare", folder=place.path)
    place.logs.mkdir(parents=True)
    with (
        dask_jobqueue.SLURMCluster(
            scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"}, **options
        ) as bare,
        distributed.Client(bare, set_as_default=False) as client,
    ):
        yield bare, client


def _timed(
    cluster: Slurm, client: Any, workers: int, want: Callable[[int], object]
) -> dict[str, float]:
    began = time.monotonic()
    first = client.submit(sum, [1, 2])
    want(workers)
    first.result(timeout=120)
    figures = {"first result": time.monotonic() - began}
    client.wait_for_workers(workers, timeout=120)
    figures["all workers"] = time.monotonic() - began
    first.release()
    ended = time.monotonic()
    want(0)
    until(lambda: not cluster.jobs(), "the end of all jobs")
    figures["no job left"] = time.monotonic() - ended
    return figures


@contextmanager
def _two_workers(protocol: str) -> Iterator[Any]:
    security = distributed.Security.temporary() if protocol == "tls" else None
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol=f"{protocol}://",
            security=security,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _sent(client: Any, mebibytes: int) -> dict[str, float]:
    one, other = known_workers(client)
    client.submit(sum, [1], workers=[one]).result()
    began = time.monotonic()
    for number in range(20):
        client.submit(sum, [number], workers=[one], pure=False).result()
    trip = (time.monotonic() - began) / 20
    taken = [_transfer(client, one, other, mebibytes) - trip for _ in range(_TRANSFERS + 1)]
    # The first one has made the connection, and memory that those behind it use again.
    seconds = statistics.median(taken[1:])
    return {"round trip, ms": 1000 * trip, "MiB/s": mebibytes / seconds}


def _transfer(client: Any, one: str, other: str, mebibytes: int) -> float:
    """Return the seconds in which a worker has the array of another one, and says so."""
    array = client.submit(np.ones, mebibytes << 17, workers=[one], pure=False)
    with client.as_current():
        distributed.wait(array)
    began = time.monotonic()
    client.submit(np.shape, array, workers=[other], allow_other_workers=False).result()
    return time.monotonic() - began


def _medians(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Return the median of each figure, and the least and the most, of those that were measured."""
    found = []
    for label in dict.fromkeys(row[by] for row in rows):
        some = [row for row in rows if row[by] == label]
        figures = {}
        for name in (each for each in some[0] if each != by):
            values = [row[name] for row in some]
            median = statistics.median(values)
            figures[name] = f"{median:.3g} ({min(values):.3g} to {max(values):.3g})"
        found.append({by: label, **figures})
    return found


def _report(title: str, rows: list[dict[str, Any]]) -> None:
    if _AS_JSON:
        print(json.dumps({title: rows}))
        return
    console = Console()
    console.print(table("conditions", [conditions({})]))
    console.print(table(title, rows))


if __name__ == "__main__":
    app()
