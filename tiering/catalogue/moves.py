"""Moves in the catalogue: asked for, looked at, called off."""

from typing import Any

import sqlalchemy as sa

from forebay.tiering.catalogue.catalogue import (
    forget_packs,
    in_force,
    protecting,
    run_of,
    shelf_of,
)
from forebay.tiering.catalogue.migrating import Database
from forebay.tiering.catalogue.records import (
    READABLE,
    MoveRecord,
    MoveState,
    RunRecord,
    ShelfRecord,
    ShelfState,
)
from forebay.tiering.catalogue.schema import MOVES, PROGRESS, RUNS, SHELVES
from forebay.tiering.errors import MoveRefusedError

BEFORE_PUBLICATION = (
    MoveState.PLANNED,
    MoveState.COPYING,
    MoveState.COPIED,
    MoveState.VERIFIED,
)


class Moves:
    """Moves of runs between tiers.

    Parameters
    ----------
    database
        Where the catalogue is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(
        self, run: RunRecord, *, tier: str, keep: bool, why: str, source: str | None = None
    ) -> MoveRecord:
        """Ask for a run to be moved into a tier; return the move that does it.

        Asking again gives the same move.

        Parameters
        ----------
        run
            The run.
        tier
            Where it is to lie.
        keep
            Whether the copy that it is made from stays.
        why
            Who asks for it, or the policy.
        source
            The tier that it is moved from; that of its folder if not given, or another one that
            has a copy.

        Raises
        ------
        MoveRefusedError
            If the run lies there already, is protected, or is on its way elsewhere.
        """
        with self._database.write() as connection:
            under_way = (
                connection.execute(
                    sa.select(MOVES).where(MOVES.c.run_id == run.run_id, MOVES.c.ended_at.is_(None))
                )
                .mappings()
                .first()
            )
            if under_way is not None:
                found = move_of(under_way)
                if found.tier == tier and found.keep == keep:
                    return found
                raise MoveRefusedError(
                    f"{run.name} is on its way to {found.tier!r} already (move {found.move}, "
                    f"{found.state}): wait for that, or cancel it ('forebay tier cancel')"
                )
            shelves = shelves_in(connection, run.run_id)
            readable = [each for each in shelves if each.state in READABLE]
            there = [each for each in readable if each.tier == tier]
            elsewhere = [each for each in readable if each.tier != tier]
            if there and (keep or not elsewhere):
                raise MoveRefusedError(f"{run.name} lies in {tier!r} already")
            if not readable:
                raise MoveRefusedError(
                    f"the catalogue knows no whole copy of {run.name}: 'forebay tier scan --repair' "
                    "looks for one"
                )
            fitting = [each for each in elsewhere or readable if source in {None, each.tier}]
            if not fitting:
                raise MoveRefusedError(f"{run.name} has no copy in {source!r} to move from there")
            chosen = min(fitting, key=lambda each: not each.home)
            now = self._database.now(connection)
            protections = in_force(connection, now, run.run_id)
            if not keep and (kept := protecting(protections, chosen.tier)):
                raise MoveRefusedError(
                    f"{run.name} stays in {chosen.tier!r}: {kept.owner} has put a {kept.kind} on "
                    f"it ({kept.reason}); copy it with --keep, or end the {kept.kind} first"
                )
            values: dict[str, Any] = {
                "run_id": run.run_id,
                "source": chosen.shelf,
                "tier": tier,
                "target": there[0].shelf if there else None,
                "keep": keep,
                # A copy that is there already is read back before anything relies on it.
                "state": MoveState.COPIED if there else MoveState.PLANNED,
                "why": why,
                "epoch": 0,
                "attempts": 0,
                "created_at": now,
            }
            connection.execute(sa.insert(MOVES), values)
            made = (
                connection.execute(
                    sa.select(MOVES).where(MOVES.c.run_id == run.run_id, MOVES.c.ended_at.is_(None))
                )
                .mappings()
                .one()
            )
            return move_of(made)

    def find(self, *, run_id: str | None = None, over: bool = False) -> list[MoveRecord]:
        """Return moves that are not over, or all of them, the oldest first."""
        wanted = sa.select(MOVES).order_by(MOVES.c.move)
        if not over:
            wanted = wanted.where(MOVES.c.ended_at.is_(None))
        if run_id is not None:
            wanted = wanted.where(MOVES.c.run_id == run_id)
        with self._database.read() as connection:
            return [move_of(row) for row in connection.execute(wanted).mappings()]

    def asked_since(self, time: int) -> list[tuple[str, RunRecord]]:
        """Return why runs were to be moved, and which, of all moves that were asked for since."""
        query = (
            sa.select(MOVES.c.why, RUNS)
            .join(RUNS, RUNS.c.run_id == MOVES.c.run_id)
            .where(MOVES.c.created_at >= time)
        )
        with self._database.read() as connection:
            rows = list(connection.execute(query).mappings())
        return [(str(row["why"]), run_of(row)) for row in rows]

    def leaving(self) -> dict[str, int]:
        """Return the bytes that are to go from each tier and are not in another one yet."""
        query = (
            sa.select(SHELVES.c.tier, sa.func.sum(RUNS.c.bytes))
            .join(MOVES, MOVES.c.source == SHELVES.c.shelf)
            .join(RUNS, RUNS.c.run_id == MOVES.c.run_id)
            .where(MOVES.c.state.in_(BEFORE_PUBLICATION), sa.not_(MOVES.c.keep))
            .group_by(SHELVES.c.tier)
        )
        with self._database.read() as connection:
            return {str(tier): int(total) for tier, total in connection.execute(query)}

    def get(self, number: int) -> MoveRecord:
        """Return a move.

        Raises
        ------
        MoveRefusedError
            If there is none of that number.
        """
        with self._database.read() as connection:
            wanted = sa.select(MOVES).where(MOVES.c.move == number)
            row = connection.execute(wanted).mappings().first()
        if row is None:
            raise MoveRefusedError(f"there is no move {number}; 'forebay tier status' lists them")
        return move_of(row)

    def cancel(self, number: int) -> None:
        """Call a move off; what it has put in its tier is deleted by the next scan.

        Raises
        ------
        MoveRefusedError
            If it is over, or readers are sent to the new copy already.
        """
        move = self.get(number)
        with self._database.write() as connection:
            changed = connection.execute(
                sa.update(MOVES)
                .where(MOVES.c.move == number, MOVES.c.state.in_(BEFORE_PUBLICATION))
                .values(
                    state=MoveState.CANCELLED,
                    ended_at=self._database.now(connection),
                    epoch=MOVES.c.epoch + 1,
                    holder=None,
                )
            ).rowcount
            if not changed:
                raise MoveRefusedError(
                    f"move {number} is {move.state}: only a move whose copy is not published can "
                    "be cancelled; move the run back instead"
                )
            give_up_target(connection, number)

    def retry(self, number: int) -> None:
        """Let a move go on at once that waits for its next attempt."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(MOVES)
                .where(MOVES.c.move == number, MOVES.c.ended_at.is_(None), MOVES.c.attempts > 0)
                .values(not_before=None, attempts=0)
            )

    def give_up_remains(self, shelf: str, *, min_copies: int) -> bool:
        """Have what is left of a home deleted that a lost catalogue had begun to delete.

        Parameters
        ----------
        shelf
            The copy, which a scan has found lacking objects.
        min_copies
            Other copies that must have been read back.

        Returns
        -------
        bool
            Whether it goes; not as long as it is protected, a move concerns it, or other copies
            are not verified.
        """
        with self._database.write() as connection:
            wanted = sa.select(SHELVES).where(
                SHELVES.c.shelf == shelf, SHELVES.c.home, SHELVES.c.state == ShelfState.STAGING
            )
            row = connection.execute(wanted).mappings().first()
            concerned = sa.select(MOVES.c.move).where(
                MOVES.c.ended_at.is_(None), sa.or_(MOVES.c.target == shelf, MOVES.c.source == shelf)
            )
            if row is None or connection.execute(concerned).first() is not None:
                return False
            found = shelf_of(row)
            now = self._database.now(connection)
            verified = [
                each
                for each in shelves_in(connection, found.run_id)
                if each.state is ShelfState.AVAILABLE and each.verified_at is not None
            ]
            if len(verified) < max(1, min_copies) or protecting(
                in_force(connection, now, found.run_id), found.tier
            ):
                return False
            connection.execute(
                sa.update(SHELVES).where(SHELVES.c.shelf == shelf).values(state=ShelfState.DELETING)
            )
            return True

    def gave_up(self, shelf: str) -> None:
        """Write down that nothing is left of a copy that was given up."""
        with self._database.write() as connection:
            gone = connection.execute(
                sa.update(SHELVES)
                .where(SHELVES.c.shelf == shelf, SHELVES.c.state == ShelfState.DELETING)
                .values(state=ShelfState.DELETED, verified_at=None)
            ).rowcount
            if gone:
                forget_packs(connection, shelf)


def shelves_in(connection: sa.Connection, run_id: str) -> list[ShelfRecord]:
    """Return every copy that a run has or had."""
    rows = connection.execute(
        sa.select(SHELVES).where(SHELVES.c.run_id == run_id).order_by(SHELVES.c.shelf)
    )
    return [shelf_of(row) for row in rows.mappings()]


def give_up_target(connection: sa.Connection, number: int) -> None:
    """Have the copy that a move has begun deleted, if it was not published before."""
    target = connection.execute(sa.select(MOVES.c.target).where(MOVES.c.move == number)).scalar()
    connection.execute(sa.delete(PROGRESS).where(PROGRESS.c.shelf == target))
    connection.execute(
        sa.update(SHELVES)
        .where(SHELVES.c.shelf == target, SHELVES.c.state == ShelfState.STAGING)
        .values(state=ShelfState.DELETING)
    )


def move_of(row: sa.RowMapping) -> MoveRecord:
    """Return the record of a row of the table of moves."""
    values = {name: row[name] for name in MoveRecord.__dataclass_fields__}
    return MoveRecord(**{**values, "state": MoveState(values["state"])})
