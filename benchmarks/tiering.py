"""What moving runs and reading moved ones costs: ratios, each measured in one run.

    python -m benchmarks.tiering [--json] COMMAND

``disk`` moves a run from one folder to another one, which copies it, reads it back and compares it,
beside a plain copy with a flush, and a plain copy that is read back and compared; beside ``rclone
copy --checksum`` too where that is installed.  ``read`` reads whole blocks of a run by the tiered
store and by Zarr's own, from the same folder.  ``policy`` decides on runs that have ten million
objects, as records in memory, and read from a catalogue first.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import sqlalchemy as sa
import typer
from benchmarks.recording_measurements.report import conditions, table
from blake3 import blake3
from pydantic import ByteSize
from rich.console import Console
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.engine.queue.database import Database
from forebay.tiering import open_store
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import MoveState, RunRecord, ShelfRecord, ShelfState
from forebay.tiering.catalogue.schema import RUNS, SHELVES
from forebay.tiering.moving.mover import Mover
from forebay.tiering.moving.taking_in import take_in
from forebay.tiering.policy import suggestions
from forebay.tiering.specification import PolicySpecification, TieringSettings, TierSpecification
from forebay.tiering.storage.tiers import Tiers

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
    """Move a run to another folder, beside plain copies."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        root = Path(temporary)
        size = _record(root / "runs" / "run", megabytes)
        ways: dict[str, Callable[[Path], None]] = {
            "plain copy, flushed": lambda target: _copy(root / "runs" / "run", target),
            "the same, read back and compared": lambda target: _copy_and_compare(
                root / "runs" / "run", target
            ),
            "forebay tier move --keep": lambda target: _move(root, target),
        }
        if shutil.which("rclone"):
            ways["rclone copy --checksum"] = lambda target: _rclone(root / "runs" / "run", target)
        for _ in range(times):
            for name, way in ways.items():
                target = root / "target"
                target.mkdir()
                os.sync()
                began = time.perf_counter()
                way(target)
                seconds.setdefault(name, []).append(time.perf_counter() - began)
                shutil.rmtree(target)
    fastest = statistics.median(seconds["the same, read back and compared"])
    rows = [
        {
            "way": name,
            "MB_per_s": round(size / 1e6 / statistics.median(taken)),
            "of_verified_copy": round(fastest / statistics.median(taken), 2),
        }
        for name, taken in seconds.items()
    ]
    _show("moving a run between folders", rows, folder, as_json=as_json)


@app.command()
def read(
    megabytes: MegabytesOption = 256,
    times: TimesOption = 9,
    folder: DiskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read blocks by the tiered store and by Zarr's own, in turn, from memory."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        root = Path(temporary)
        size = _record(root / "runs" / "run", megabytes)
        stores = {
            "zarr.storage.LocalStore": LocalStore(root / "runs" / "run", read_only=True),
            "TieredStore, never moved": open_store(root / "runs" / "run"),
        }
        keys = sorted(f"frames/{path.name}" for path in (root / "runs/run/frames").glob("c.*"))
        seconds: dict[str, list[float]] = {name: [] for name in stores}
        for _ in range(times):
            for name, store in stores.items():
                began = time.perf_counter()
                for key in keys:
                    found = sync(store.get(key, default_buffer_prototype()))
                    if found is None:
                        raise RuntimeError(f"{key} is not there")
                seconds[name].append(time.perf_counter() - began)
    bare = statistics.median(seconds["zarr.storage.LocalStore"])
    rows = [
        {
            "store": name,
            "MB_per_s": round(size / 1e6 / statistics.median(taken)),
            "longer_by_percent": round(100 * (statistics.median(taken) / bare - 1), 1),
        }
        for name, taken in seconds.items()
    ]
    _show("reading whole blocks", rows, folder, as_json=as_json)


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


def _record(path: Path, megabytes: int) -> int:
    """Record a run of noise, in blocks of 16 MiB; return the bytes of its frames."""
    path.parent.mkdir(parents=True)
    geometry = Geometry(("y", "x"), (1024, 1024), np.dtype("uint16"))
    generator = np.random.default_rng(1)
    frames = max(1, megabytes // 2)
    with RunWriter.create(path, geometry, frames_per_block=8) as writer:
        for counter in range(frames):
            pixels = generator.integers(0, 2**16, (1024, 1024), dtype="uint16")
            writer.append(Frame(counter, counter, pixels))
    return frames * 2 * 2**20


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target / "run")
    for path in (target / "run").rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _copy_and_compare(source: Path, target: Path) -> None:
    """Do what is promised in the plainest way: copy, flush, drop from memory, read, compare."""
    _copy(source, target)
    for path in (target / "run").rglob("*"):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            back = blake3(file.read()).digest()
        if back != blake3((source / path.relative_to(target / "run")).read_bytes()).digest():
            raise RuntimeError(f"{path} is not what was copied")


def _move(root: Path, target: Path) -> None:
    specifications = {
        "hot": TierSpecification(url=root / "runs"),
        "cold": TierSpecification(url=target),
    }
    tiers = Tiers(specifications)
    for path in root.glob("ledger.sqlite*"):
        path.unlink()
    with Database(root / "ledger.sqlite") as database:
        run = take_in(Catalogue(database), tiers, root / "runs" / "run")
        Moves(database).plan(run, tier="cold", keep=True, why="a measurement")
        (move,) = Mover(database, tiers, TieringSettings()).work()
    if move.state != MoveState.DONE:
        raise RuntimeError(f"the move is {move.state}: {move.error}")


def _rclone(source: Path, target: Path) -> None:
    command = ["rclone", "copy", "--checksum", str(source), str(target / "run")]
    subprocess.run(command, check=True, capture_output=True)


def _show(title: str, rows: list[Row], folder: Path | None, *, as_json: bool) -> None:
    if as_json:
        places = {"disk": folder or Path(tempfile.gettempdir())}
        typer.echo(json.dumps({"conditions": conditions(places), "rows": rows}))
        return
    Console().print(table(title, rows))


if __name__ == "__main__":
    app()
