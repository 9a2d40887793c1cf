"""Volumes in the catalogue: what is known of them, and giving them up."""

from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from forebay.tiering.catalogue.catalogue import Catalogue, in_force
from forebay.tiering.catalogue.records import READABLE, TAKING_ROOM, Kind, RunRecord, ShelfState
from forebay.tiering.catalogue.schema import (
    MOVES,
    OBJECTS,
    PACKED,
    PACKS,
    PROGRESS,
    PROTECTION,
    RUNS,
    SHELVES,
)


class Volumes:
    """Volumes of results, or of runs that were moved while they were open.

    What a volume holds never changes.  A part of a result that was computed anew has another name
    and gets into another volume; the volume that holds the old one is given up when it holds
    nothing else.  A volume of a run that was never moved is given up when the run is closed, and
    its blocks are the run's again.

    Parameters
    ----------
    catalogue
        The catalogue.
    kind
        Of what they are volumes.
    """

    def __init__(
        self, catalogue: Catalogue, kind: Literal[Kind.RESULT, Kind.BLOCKS] = Kind.RESULT
    ) -> None:
        self._catalogue = catalogue
        self._kind = kind
        self._database = catalogue.database

    def by_home(self) -> dict[Path, list[RunRecord]]:
        """Return all volumes, by the folder of what they are of."""
        found: dict[Path, list[RunRecord]] = {}
        for run in self._catalogue.runs(self._kind):
            found.setdefault(Path(run.home), []).append(run)
        return found

    def of(self, home: Path | str) -> list[RunRecord]:
        """Return the volumes of a result or a run, by its folder."""
        return [each for each in self._catalogue.at(home) if each.kind is self._kind]

    def give_up(self, volume: str) -> bool:
        """Have every copy of a volume deleted that nobody needs any more.

        Returns
        -------
        bool
            False where it is being moved, or held: then nothing has changed.
        """
        with self._database.write() as connection:
            moving = sa.select(MOVES.c.move).where(
                MOVES.c.run_id == volume, MOVES.c.ended_at.is_(None)
            )
            now = self._database.now(connection)
            if connection.execute(moving).first() or in_force(connection, now, volume):
                return False
            mine = sa.update(SHELVES).where(SHELVES.c.run_id == volume)
            at_home = mine.where(SHELVES.c.home, SHELVES.c.state.in_(READABLE))
            connection.execute(at_home.values(state=ShelfState.DELETED, verified_at=None))
            away = mine.where(sa.not_(SHELVES.c.home), SHELVES.c.state.in_(READABLE))
            connection.execute(away.values(state=ShelfState.DELETING, verified_at=None))
        return True

    def left_home(self, volume: str) -> None:
        """Write down that home has no whole copy any more, if another place has one."""
        with self._database.write() as connection:
            moving = sa.select(MOVES.c.move).where(
                MOVES.c.run_id == volume, MOVES.c.ended_at.is_(None)
            )
            elsewhere = sa.select(SHELVES.c.shelf).where(
                SHELVES.c.run_id == volume,
                sa.not_(SHELVES.c.home),
                SHELVES.c.state == ShelfState.AVAILABLE,
            )
            if connection.execute(moving).first() or not connection.execute(elsewhere).first():
                return
            connection.execute(
                sa.update(SHELVES)
                .where(SHELVES.c.run_id == volume, SHELVES.c.home)
                .values(state=ShelfState.DELETED, verified_at=None)
            )

    def forget_empty(self) -> list[RunRecord]:
        """Drop what is known of volumes of which no copy is left; return them."""
        left = sa.select(SHELVES.c.shelf).where(
            SHELVES.c.run_id == RUNS.c.run_id, SHELVES.c.state.in_(TAKING_ROOM)
        )
        moving = sa.select(MOVES.c.move).where(
            MOVES.c.run_id == RUNS.c.run_id, MOVES.c.ended_at.is_(None)
        )
        empty = sa.select(RUNS.c.run_id).where(
            RUNS.c.kind == self._kind, ~left.exists(), ~moving.exists()
        )
        with self._database.read() as connection:
            candidates = list(connection.execute(empty).scalars())
        gone = [self._catalogue.run(each) for each in candidates]
        for each in gone:
            self._forget(each.run_id)
        return gone

    def _forget(self, volume: str) -> None:
        shelves = sa.select(SHELVES.c.shelf).where(SHELVES.c.run_id == volume)
        with self._database.write() as connection:
            for of_shelf in (PROGRESS, PACKED, PACKS):
                connection.execute(sa.delete(of_shelf).where(of_shelf.c.shelf.in_(shelves)))
            for of_run in (MOVES, PROTECTION, SHELVES, OBJECTS, RUNS):
                connection.execute(sa.delete(of_run).where(of_run.c.run_id == volume))
