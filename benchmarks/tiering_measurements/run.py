"""The run that is moved and read, and the catalogue that knows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.engine.queue.database import Database
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import MoveState, RunRecord
from forebay.tiering.moving.mover import Mover
from forebay.tiering.moving.pace import Pace
from forebay.tiering.moving.taking_in import take_in
from forebay.tiering.specification import TieringSettings, TierSpecification
from forebay.tiering.storage.tiers import Tiers

FRAME_BYTES = 2 * 2**20
_SIDE = 1024


def record(path: Path, megabytes: int) -> int:
    """Record a run of noise, in blocks of 16 MiB; return the bytes of its frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = Geometry(("y", "x"), (_SIDE, _SIDE), np.dtype("uint16"))
    generator = np.random.default_rng(1)
    frames = max(1, megabytes * 10**6 // FRAME_BYTES)
    with RunWriter.create(path, geometry, frames_per_block=8) as writer:
        for counter in range(frames):
            pixels = generator.integers(0, 2**16, (_SIDE, _SIDE), dtype="uint16")
            writer.append(Frame(counter, counter, pixels))
    return frames * FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Lab:
    """A hot tier, a cold one, and their catalogue."""

    database: Database
    """Where the catalogue is kept."""
    tiers: Tiers
    """Both tiers."""
    pace: Pace
    """How fast moves go."""

    def take_in(self, run: Path) -> RunRecord:
        """Take a run into the catalogue."""
        return take_in(Catalogue(self.database), self.tiers, run)

    def move(self, run: Path, tier: str, *, keep: bool = False) -> None:
        """Move a run, as ``forebay tier move`` does.

        Raises
        ------
        RuntimeError
            If it is not moved at once.
        """
        record = self.take_in(run)
        Moves(self.database).plan(record, tier=tier, keep=keep, why="a measurement")
        settings = TieringSettings(grace_seconds=0)
        while True:
            (move,) = Mover(self.database, self.tiers, settings, pace=self.pace).work()
            if move.state == MoveState.DONE:
                return
            if move.error is not None or move.state.over:
                raise RuntimeError(f"the move is {move.state}: {move.error}")


@contextmanager
def laboratory(
    runs: Path, cold: Path | str, *, ledger: Path, pace: Pace | None = None
) -> Iterator[Lab]:
    """Open a catalogue of runs in a folder, and of copies in another place."""
    tiers = Tiers({"hot": TierSpecification(url=runs), "cold": TierSpecification(url=cold)})
    with Database(ledger) as database:
        Catalogue(database)
        yield Lab(database, tiers, pace or Pace())
