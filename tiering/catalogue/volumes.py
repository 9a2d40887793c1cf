"""Volumes in the catalogue: what is known of them, and giving them up."""

from collections.abc import Mapping
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
    its blocks are the run's again; so are those of one that comes home later.

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

    def join(self, volume: str, run: str) -> bool:
        """Make the objects of a volume of a closed run part of the run again.

        Returns
        -------
        bool
            False where the run or the volume is moved, or lies anywhere but at home, or where
            something keeps the volume: then nothing has changed.
        """
        both = (volume, run)
        with self._database.write() as connection:
            moving = sa.select(MOVES.c.move).where(
                MOVES.c.run_id.in_(both), MOVES.c.ended_at.is_(None)
            )
            now = self._database.now(connection)
            if connection.execute(moving).first() or in_force(connection, now, volume):
                return False
            copies = connection.execute(
                sa.select(SHELVES.c.run_id).where(
                    SHELVES.c.run_id.in_(both), SHELVES.c.state.in_(TAKING_ROOM)
                )
            ).scalars()
            at_home = connection.execute(
                sa.select(SHELVES.c.run_id, SHELVES.c.shelf, SHELVES.c.verified_at).where(
                    SHELVES.c.run_id.in_(both),
                    SHELVES.c.home,
                    SHELVES.c.state == ShelfState.AVAILABLE,
                )
            ).all()
            home = {row.run_id: row.shelf for row in at_home}
            if sorted(copies) != sorted(both) or home.keys() != {*both}:
                return False
            read_back = [row.verified_at for row in at_home]
            verified_at = None if None in read_back else min(read_back)
            self._put_together(connection, volume, run, home, verified_at)
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

    def _put_together(
        self,
        connection: sa.Connection,
        volume: str,
        run: str,
        home: Mapping[str, str],
        verified_at: int | None,
    ) -> None:
        whole = sa.select(sa.func.sum(RUNS.c.bytes), sa.func.sum(RUNS.c.objects))
        size, objects = connection.execute(whole.where(RUNS.c.run_id.in_((volume, run)))).one()
        of_run = sa.update(RUNS).where(RUNS.c.run_id == run)
        connection.execute(of_run.values(bytes=int(size), objects=int(objects)))
        at_home = sa.update(SHELVES).where(SHELVES.c.shelf == home[run])
        connection.execute(at_home.values(bytes=int(size), verified_at=verified_at))
        for end in (MOVES.c.source, MOVES.c.target):
            from_home = sa.update(MOVES).where(end == home[volume])
            connection.execute(from_home.values({end: home[run]}))
        for of_shelf in (PROGRESS, PACKED, PACKS):
            connection.execute(sa.delete(of_shelf).where(of_shelf.c.shelf == home[volume]))
        connection.execute(sa.delete(SHELVES).where(SHELVES.c.shelf == home[volume]))
        # What the number of a move has meant, it goes on to mean.
        for table in (OBJECTS, MOVES, SHELVES):
            of_volume = sa.update(table).where(table.c.run_id == volume)
            connection.execute(of_volume.values(run_id=run))
        self._drop(connection, volume)

    def _forget(self, volume: str) -> None:
        with self._database.write() as connection:
            self._drop(connection, volume)

    def _drop(self, connection: sa.Connection, volume: str) -> None:
        shelves = sa.select(SHELVES.c.shelf).where(SHELVES.c.run_id == volume)
        for of_shelf in (PROGRESS, PACKED, PACKS):
            connection.execute(sa.delete(of_shelf).where(of_shelf.c.shelf.in_(shelves)))
        for of_run in (MOVES, PROTECTION, SHELVES, OBJECTS, RUNS):
            connection.execute(sa.delete(of_run).where(of_run.c.run_id == volume))
