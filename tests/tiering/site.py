"""A small laboratory: runs, three tiers, a catalogue, and a clock that is set by hand."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa
from blake3 import blake3
from pydantic import ByteSize

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.engine.queue.database import Database
from forebay.engine.results.volumes import ResultVolumes
from forebay.opening import open_run
from forebay.tiering import open_bucket
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.held import HeldMoves
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import MoveRecord, MoveState, RunRecord
from forebay.tiering.catalogue.schema import METADATA, VERSION_TABLE
from forebay.tiering.moving.mover import Mover
from forebay.tiering.moving.taking_in import take_in
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.specification import TieringSettings, TierSpecification
from forebay.tiering.storage.tiers import Tiers

on_each_database = pytest.mark.parametrize(
    "ledger",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
    indirect=True,
)
"""Has a test keep its catalogue in each kind of database."""

NOON = 1_800_000_000 * 10**9
GRACE = 100.0
SHAPE = (4, 6)
GEOMETRY = Geometry(("y", "x"), SHAPE, np.dtype("uint16"))


class Killed(BaseException):
    """The mover is gone, from one instruction to the next."""


def pixels(counter: int) -> npt.NDArray[Any]:
    """Return the frame of a counter."""
    return np.full(SHAPE, counter, "uint16")


@functools.cache
def new_ledger() -> bytes:
    """Return an SQLite file with the tables of a ledger and of a catalogue; to make them takes long."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        with Database(path) as database:
            Catalogue(database)
        return path.read_bytes()


def forget_tiers(url: str) -> None:
    """Empty the catalogue in a database of PostgreSQL."""
    with Database(url) as database:
        Catalogue(database)
        with database.write() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(sa.delete(table))


class Site:
    """Runs in a folder, tiers beside it, and a catalogue.

    Parameters
    ----------
    folder
        Where all of it lies.
    cold
        The place of the cold tier, if it is not a folder.
    ledger
        Where the catalogue is kept, if not in the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cold: str | None = None,
        ledger: Path | str | None = None,
        **options: Any,
    ) -> None:
        self.folder = folder
        self.ledger = ledger or folder / "ledger.sqlite"
        self.runs = folder / "runs"
        self.runs.mkdir(exist_ok=True)
        self.in_buckets: dict[str, str] = {}
        self.time = NOON
        self.specifications = {
            "hot": TierSpecification(url=self.runs, capacity=ByteSize(10**9)),
            "warm": TierSpecification(url=folder / "warm"),
            "cold": TierSpecification(url=cold or folder / "cold"),
            "packed": TierSpecification(url=folder / "packed", pack_bytes=ByteSize(700)),
        }
        (folder / "warm").mkdir(exist_ok=True)
        (folder / "cold").mkdir(exist_ok=True)
        (folder / "packed").mkdir(exist_ok=True)
        self.settings = TieringSettings(
            grace_seconds=GRACE, lease_seconds=30.0, first_pause_seconds=10.0, most_attempts=4
        ).model_copy(update=options)
        self.open()

    def open(self) -> None:
        """Open the catalogue."""
        self.tiers = Tiers(self.specifications)
        if isinstance(self.ledger, Path) and not self.ledger.exists():
            self.ledger.write_bytes(new_ledger())
        self.database = Database(self.ledger, now=lambda: self.time)
        self.catalogue = Catalogue(self.database)
        self.moves = Moves(self.database)
        self.held = HeldMoves(self.database)

    def forget_everything(self) -> None:
        """Lose the catalogue, and the ledger beside it where that is a file."""
        if isinstance(self.ledger, Path):
            self.database.close()
            for path in self.ledger.parent.glob(f"{self.ledger.name}*"):
                path.unlink()
        else:
            with self.database.write() as connection:
                METADATA.drop_all(connection)
                connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
            self.database.close()
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def record(self, name: str, *, frames: int = 5, close: bool = True) -> Path:
        """Record a run of two frames in a block."""
        path = self.runs / name
        _record(RunWriter.create(path, GEOMETRY, frames_per_block=2), frames, close=close)
        return path

    def record_in(
        self, tier: str, name: str = "water", *, frames: int = 5, close: bool = True
    ) -> str:
        """Record the same into a tier that is a bucket; the name means that run from then on."""
        url = self.tiers[tier].where(f"runs/{name}")
        self.in_buckets[name] = url
        writer = RunWriter.create_in(open_bucket(url), name, GEOMETRY, frames_per_block=2)
        _record(writer, frames, close=close)
        return url

    def home(self, name: str = "water") -> Path | str:
        """Return where a run was recorded."""
        return self.in_buckets.get(name, self.runs / name)

    def take_in(self, name: str = "water") -> RunRecord:
        """Take a run into the catalogue."""
        return take_in(self.catalogue, self.tiers, self.home(name))

    def plan(self, tier: str, *, name: str = "water", keep: bool = False) -> MoveRecord:
        """Ask for a run to be moved."""
        return self.moves.plan(self.take_in(name), tier=tier, keep=keep, why="a test")

    def mover(self, reached: Callable[[str], None] = lambda _: None) -> Mover:
        """Return a mover of its own."""
        return Mover(self.database, self.tiers, self.settings, reached=reached)

    def work(self) -> list[MoveRecord]:
        """Let a mover do what is due now."""
        return self.mover().work()

    def move(self, tier: str, *, name: str = "water", keep: bool = False) -> MoveRecord:
        """Move a run, and let its grace pass."""
        planned = self.plan(tier, name=name, keep=keep)
        self.work()
        self.pass_by(GRACE + 1)
        self.work()
        return self.moves.get(planned.move)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.time += int(seconds * 1e9)

    def settle(self) -> None:
        """Let movers work until nothing waits any more."""
        for _ in range(60):
            self.work()
            if not self.moves.find():
                break
            self.pass_by(4000)
        self.mover().sweep()

    def volumes(self) -> ResultVolumes:
        """Return what takes results into the catalogue."""
        return ResultVolumes(self.catalogue, self.database, self.tiers)

    def lies_in(self, name: str = "water") -> set[str]:
        """Return the tiers in which every object of a run lies, byte by byte."""
        return self.lies_in_tiers(self.take_in(name))

    def lies_in_tiers(self, run: RunRecord) -> set[str]:
        """Return the tiers in which every object of a run, or a volume, lies."""
        objects = self.catalogue.objects(run.run_id)
        found = set()
        for shelf in self.catalogue.shelves(run.run_id):
            place = shelf_of_copy(self.catalogue, self.tiers, shelf)
            if all(is_there(place.read(key), known) for key, known in objects.items()):
                found.add(shelf.tier)
        return found

    def check_readable(self, name: str = "water", *, frames: int = 5) -> None:
        """Read a run as anybody does, and compare all of it."""
        run = open_run(self.home(name))
        expected = np.stack([pixels(counter) for counter in range(frames)])
        np.testing.assert_array_equal(run.frames.to_numpy(), expected)
        assert run.verify().problems == ()

    def files(self, tier: str) -> set[str]:
        """Return what lies in a tier that is a folder."""
        folder = self.tiers[tier].folder
        assert folder is not None
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    def copy_in(self, tier: str, name: str = "water") -> Path:
        """Return the folder of a run's copy in a tier."""
        run = self.take_in(name)
        (shelf,) = [each for each in self.catalogue.shelves(run.run_id) if each.tier == tier]
        return Path(self.tiers[tier].where(shelf.path))


def _record(writer: RunWriter, frames: int, *, close: bool) -> None:
    for counter in range(frames):
        writer.append(Frame(counter, counter * 10**9, pixels(counter)))
    if close:
        writer.close()
    else:
        writer.abandon()


def is_there(content: bytes | None, known: KnownObject) -> bool:
    """Tell whether an object is what it is known as."""
    return content is not None and (KnownObject(len(content), blake3(content).hexdigest()) == known)


def points_of(site: Site, subject: RunRecord, tier: str) -> list[str]:
    """Return every point that a mover passes while it moves something, and ends its grace."""
    passed: list[str] = []
    site.moves.plan(subject, tier=tier, keep=False, why="a test")
    site.mover(passed.append).work()
    site.pass_by(GRACE + 1)
    site.mover(passed.append).work()
    return passed


def killed_at(number: int) -> Callable[[str], None]:
    """Return what ends a mover at the point of that number."""
    points = itertools.count()

    def reached(_: str) -> None:
        if next(points) == number:
            raise Killed

    return reached


def killed_at_first(name: str) -> Callable[[str], None]:
    """Return what ends a mover at the first point of a name."""

    def reached(point: str) -> None:
        if point == name:
            raise Killed

    return reached


OVER = (MoveState.DONE, MoveState.FAILED, MoveState.CANCELLED)
