"""What moving runs between tiers costs, and reading by way of them.

Run from the root, after ``uv sync --group bench``; ``--help`` lists the options of each command::

    python -m benchmarks.tiering disk
    python -m benchmarks.tiering bucket --server seaweedfs
    python -m benchmarks.tiering bucket --server moto
    python -m benchmarks.tiering read
    python -m benchmarks.tiering beside
    python -m benchmarks.tiering policy

``disk`` moves a run to another folder, beside plain copies and rclone, ``bucket`` into an S3 server
on loopback, beside rclone and the AWS CLI, as far as these are installed.  All take turns; ratios
are those within a round, to the fastest way that reads back and compares what it has put.  ``read``
reads whole blocks by the tiered store and by Zarr's own, of a run that was never moved, of one that
has a copy elsewhere, and of one that is in the cold tier.  ``beside`` records as fast as the disk
takes it, with moves beside it and without.  ``policy`` decides on runs that have ten million
objects, as records in memory, and read from a catalogue first.
"""

import json
import resource
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import sqlalchemy as sa
import typer
from benchmarks.recording_measurements.report import conditions, table
from pydantic import ByteSize
from rich.console import Console

from forebay.engine.queue.database import Database
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import RunRecord, ShelfRecord, ShelfState
from forebay.tiering.catalogue.schema import RUNS, SHELVES
from forebay.tiering.policy import suggestions
from forebay.tiering.specification import PolicySpecification, TierSpecification

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

type Row = dict[str, Any]

_AGE = 10_000 * 86_400 * 10**9
"""Nanoseconds since the first run was read, and the last one."""

DiskOption = Annotated[
    Path | None, typer.Option(help="Folder to measure in; a temporary one if not given.")
]
MegabytesOption = Annotated[int, typer.Option(min=1, help="Size of the run.")]
TimesOption = Annotated[int, typer.Option(min=1, help="Times that each is measured.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def disk(
    megabytes: MegabytesOption = 512,
    times: TimesOption = 3,
    folder: DiskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a run to another folder, beside plain copies and rclone."""
    from benchmarks.tiering_measurements.copies import to_a_folder

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        rows = to_a_folder(Path(temporary), megabytes=megabytes, times=times)
    _show("moving a run between folders", rows, folder, as_json=as_json)


@app.command()
def bucket(
    server: Annotated[Literal["seaweedfs", "moto"], typer.Option(help="Which S3 server.")],
    megabytes: MegabytesOption = 256,
    times: TimesOption = 3,
    folder: DiskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a run into a bucket of an S3 server on loopback, beside rclone and the AWS CLI."""
    from benchmarks.tiering_measurements.copies import to_a_bucket
    from benchmarks.tiering_measurements.servers import s3_server

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        root = Path(temporary)
        with s3_server(server, root) as name:
            rows = to_a_bucket(root, name, megabytes=megabytes, times=times)
    _show(f"moving a run into a bucket of {server}", rows, folder, as_json=as_json)


@app.command()
def read(
    megabytes: MegabytesOption = 256,
    times: TimesOption = 9,
    folder: DiskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read blocks by the tiered store and by Zarr's own, in turn, from memory."""
    from benchmarks.tiering_measurements.reading import reading

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        rows = reading(Path(temporary), megabytes=megabytes, times=times)
    _show("reading whole blocks", rows, folder, as_json=as_json)


@app.command()
def beside(
    gigabytes: Annotated[float, typer.Option(min=0.001, help="To record as fast as can be.")] = 4,
    seconds: Annotated[float, typer.Option(min=0.1, help="To record at nearly that rate.")] = 10,
    megabytes: MegabytesOption = 512,
    times: TimesOption = 3,
    folder: DiskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record at the full rate, with moves beside it and without."""
    from benchmarks.tiering_measurements.beside import recording_beside_moves

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        rows = recording_beside_moves(
            Path(temporary), gigabytes=gigabytes, seconds=seconds, megabytes=megabytes, times=times
        )
    _show("recording as fast as can be", rows, folder, as_json=as_json)


@app.command()
def policy(
    runs: Annotated[int, typer.Option(min=1, help="Number of runs.")] = 10_000,
    objects: Annotated[int, typer.Option(min=1, help="Objects of each.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Decide on runs that have very many objects together."""
    tiers = {
        "hot": TierSpecification(url="/hot", capacity=ByteSize(runs * 10**9)),
        "cold": TierSpecification(url="/cold"),
    }
    known = [
        RunRecord(f"r{n}", f"r{n}", f"/hot/r{n}", 10**9, objects, 0, n * _AGE // runs)
        for n in range(runs)
    ]
    shelves = [
        ShelfRecord(f"s{n}", f"r{n}", "hot", "", True, ShelfState.AVAILABLE, 10**9, None, None)
        for n in range(runs)
    ]
    policies = [
        PolicySpecification.model_validate({"from": "hot", "to": "cold", **fields})
        for fields in (
            {"name": "age", "unread_days": 5000},
            {"name": "room", "when": "full"},
        )
    ]
    began = time.perf_counter()
    moved = sum(1 for _ in suggestions(policies, tiers, known, shelves, [], now=_AGE))
    taken = time.perf_counter() - began
    rows = [_decided("records in memory", runs, objects, moved, taken)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Database(Path(folder) / "ledger.sqlite") as database,
    ):
        catalogue = Catalogue(database)
        with database.write() as connection:
            connection.execute(sa.insert(RUNS), [asdict(each) for each in known])
            connection.execute(sa.insert(SHELVES), [asdict(each) for each in shelves])
        del known, shelves
        began = time.perf_counter()
        found = suggestions(
            policies, tiers, catalogue.runs(), catalogue.shelves(), catalogue.protections(),
            now=_AGE,
        )  # fmt: skip
        moved = sum(1 for _ in found)
        rows.append(
            _decided("from the catalogue", runs, objects, moved, time.perf_counter() - began)
        )
    _show("deciding", rows, None, as_json=as_json)


def _decided(what: str, runs: int, objects: int, moved: int, seconds: float) -> Row:
    return {
        "of": what,
        "objects": runs * objects,
        "runs": runs,
        "to_move": moved,
        "seconds": round(seconds, 3),
        "peak_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }


def _show(title: str, rows: list[Row], folder: Path | None, *, as_json: bool) -> None:
    if as_json:
        places = {"disk": folder or Path(tempfile.gettempdir())}
        typer.echo(json.dumps({"conditions": conditions(places), "rows": rows}))
        return
    Console().print(table(title, rows))


if __name__ == "__main__":
    app()
