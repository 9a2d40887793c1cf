"""A move in the hands of one mover: every change is fenced by the epoch of its claim."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from forebay.tiering.catalogue.catalogue import (
    add_packs,
    forget_packs,
    in_force,
    new_shelf_name,
    note_pack,
    protecting,
    used_bytes,
)
from forebay.tiering.catalogue.migrating import Database
from forebay.tiering.catalogue.moves import (
    BEFORE_PUBLICATION,
    give_up_target,
    move_of,
    shelves_in,
)
from forebay.tiering.catalogue.records import MoveRecord, MoveState, ShelfRecord, ShelfState
from forebay.tiering.catalogue.schema import MOVES, PROGRESS, SHELVES
from forebay.tiering.errors import MoveRefusedError, MoveTakenOverError, TierFullError
from forebay.tiering.packing.pack import Pack

SHELVES_FOLDER = ".forebay"
"""Where copies lie in a tier, beside the folders in which runs are recorded."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A move in the hands of one mover."""

    move: MoveRecord
    """How it stands."""
    holder: str
    """The mover."""


class HeldMoves:
    """The steps of moves, as they are written down by who holds them.

    Parameters
    ----------
    database
        Where the catalogue is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, holder: str, *, lease_seconds: float, avoiding: Collection[str] = ()
    ) -> Claim | None:
        """Take the oldest move that is due; None where there is none.

        A move whose mover has been silent for longer than its lease is taken from it: what that
        one writes from then on changes nothing.

        Parameters
        ----------
        holder
            The mover.
        lease_seconds
            Silence after which another one may take it.
        avoiding
            Tiers whose moves are left alone.
        """
        avoided = sa.select(SHELVES.c.shelf).where(SHELVES.c.tier.in_(avoiding))
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = (
                connection.execute(
                    sa.select(MOVES)
                    .where(
                        MOVES.c.ended_at.is_(None),
                        MOVES.c.tier.not_in(avoiding),
                        MOVES.c.source.not_in(avoided),
                        sa.or_(MOVES.c.not_before.is_(None), MOVES.c.not_before <= now),
                        sa.or_(
                            MOVES.c.holder.is_(None),
                            MOVES.c.holder == holder,
                            MOVES.c.lease_until <= now,
                        ),
                    )
                    .order_by(MOVES.c.move)
                    .limit(1)
                )
                .mappings()
                .first()
            )
            if row is None:
                return None
            connection.execute(
                sa.update(MOVES)
                .where(MOVES.c.move == row["move"])
                .values(
                    holder=holder,
                    epoch=MOVES.c.epoch + 1,
                    lease_until=now + int(lease_seconds * 1e9),
                )
            )
            mine = sa.select(MOVES).where(MOVES.c.move == row["move"])
            return Claim(move_of(connection.execute(mine).mappings().one()), holder)

    def holders(self) -> list[str]:
        """Return who is at moves that are not over."""
        query = sa.select(MOVES.c.holder).where(MOVES.c.ended_at.is_(None)).distinct()
        with self._database.read() as connection:
            return [str(each) for each in connection.execute(query).scalars() if each is not None]

    def give_back(self, holder: str) -> None:
        """Let others go on at once with what somebody was at who is gone."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(MOVES)
                .where(MOVES.c.holder == holder, MOVES.c.ended_at.is_(None))
                .values(holder=None, lease_until=None, epoch=MOVES.c.epoch + 1)
            )

    def renew(self, claim: Claim, *, lease_seconds: float) -> None:
        """Tell that the mover is still at it.

        Raises
        ------
        MoveTakenOverError
            If another one is.
        """
        with self._fenced(claim) as connection:
            until = self._database.now(connection) + int(lease_seconds * 1e9)
            self._set(connection, claim, lease_until=until)

    def begin(
        self,
        claim: Claim,
        *,
        size: int,
        capacity: int | None,
        home: bool,
        path: str,
        packs: Sequence[Pack] = (),
    ) -> MoveRecord:
        """Reserve room, and a shelf for the new copy.

        Parameters
        ----------
        claim
            The move.
        size
            Bytes of the run.
        capacity
            What the tier may hold.
        home
            Whether the run goes back into the folder that it was recorded in.
        path
            That folder, within its tier.
        packs
            The packs that objects are to lie in.

        Raises
        ------
        TierFullError
            If the tier has no room for it.
        """
        move = claim.move
        with self._fenced(claim) as connection:
            used = used_bytes(connection).get(move.tier, 0)
            if capacity is not None and used + size > capacity:
                raise TierFullError(
                    f"{move.tier!r} holds or expects {used} of its {capacity} bytes, and the run "
                    f"has {size}: free some, or raise its capacity"
                )
            back = [each for each in shelves_in(connection, move.run_id) if each.home]
            if home and back:
                name = back[0].shelf
                connection.execute(
                    sa.update(SHELVES)
                    .where(SHELVES.c.shelf == name)
                    .values(state=ShelfState.STAGING, bytes=size, verified_at=None)
                )
                connection.execute(sa.delete(PROGRESS).where(PROGRESS.c.shelf == name))
            else:
                name = new_shelf_name()
                made = ShelfRecord(
                    shelf=name,
                    run_id=move.run_id,
                    tier=move.tier,
                    path=path if home else f"{SHELVES_FOLDER}/{move.run_id}/{name}",
                    home=home,
                    state=ShelfState.STAGING,
                    bytes=size,
                    verified_at=None,
                    drain_until=None,
                )
                values = {each: getattr(made, each) for each in SHELVES.c.keys()}  # noqa: SIM118
                connection.execute(sa.insert(SHELVES), values)
                add_packs(connection, name, packs)
            return self._set(connection, claim, state=MoveState.COPYING, target=name, error=None)

    def note(
        self, claim: Claim, keys: Sequence[str], state: str, *, pack: Pack | None = None
    ) -> None:
        """Write down that objects are copied, or verified, and what the pack of them is."""
        with self._fenced(claim) as connection:
            shelf = claim.move.target
            if pack is not None and shelf is not None:
                note_pack(connection, shelf, pack)
            connection.execute(
                sa.delete(PROGRESS).where(PROGRESS.c.shelf == shelf, PROGRESS.c.key.in_(keys))
            )
            rows = [{"shelf": shelf, "key": key, "state": state} for key in keys]
            connection.execute(sa.insert(PROGRESS), rows)

    def again(self, claim: Claim, key: str, state: str) -> MoveRecord:
        """Have an object copied once more."""
        self.note(claim, [key], state)
        with self._fenced(claim) as connection:
            return self._set(connection, claim, state=MoveState.COPYING)

    def advance(self, claim: Claim, state: MoveState) -> MoveRecord:
        """Write down that the next step is done."""
        with self._fenced(claim) as connection:
            return self._set(connection, claim, state=state, attempts=0, error=None)

    def publish(self, claim: Claim, *, grace_seconds: float) -> MoveRecord:
        """Make the new copy one to read from, and let the old one drain, in one step."""
        move = claim.move
        with self._fenced(claim) as connection:
            now = self._database.now(connection)
            connection.execute(
                sa.update(SHELVES)
                .where(SHELVES.c.shelf == move.target)
                .values(state=ShelfState.AVAILABLE, verified_at=now, drain_until=None)
            )
            connection.execute(sa.delete(PROGRESS).where(PROGRESS.c.shelf == move.target))
            until = now + int(grace_seconds * 1e9)
            if not move.keep:
                connection.execute(
                    sa.update(SHELVES)
                    .where(SHELVES.c.shelf == move.source, SHELVES.c.state == ShelfState.AVAILABLE)
                    .values(state=ShelfState.DRAINING, drain_until=until)
                )
            return self._set(connection, claim, state=MoveState.PUBLISHED, attempts=0, error=None)

    def wait_for_readers(self, claim: Claim) -> MoveRecord:
        """Let the grace begin, now that readers are sent to the new copy; or end, if both stay."""
        with self._fenced(claim) as connection:
            if claim.move.keep:
                return self._end(connection, claim, MoveState.DONE)
            until = connection.execute(
                sa.select(SHELVES.c.drain_until).where(SHELVES.c.shelf == claim.move.source)
            ).scalar()
            return self._set(connection, claim, state=MoveState.GRACE, not_before=until)

    def begin_deletion(self, claim: Claim, *, min_copies: int) -> MoveRecord:
        """Give the old copy up for good, if nothing needs it.

        Raises
        ------
        MoveRefusedError
            If it is protected, if another move is made from it, or if there are not enough other
            copies that were read back and are whole.
        """
        move = claim.move
        with self._fenced(claim) as connection:
            now = self._database.now(connection)
            shelves = shelves_in(connection, move.run_id)
            (source,) = [each for each in shelves if each.shelf == move.source]
            kept = protecting(in_force(connection, now, move.run_id), source.tier)
            if kept is not None:
                raise MoveRefusedError(
                    f"its copy in {source.tier!r} stays: {kept.owner} has put a {kept.kind} on it "
                    f"({kept.reason})"
                )
            others = [
                each
                for each in shelves
                if each.shelf != source.shelf
                and each.state is ShelfState.AVAILABLE
                and each.verified_at is not None
            ]
            if len(others) < max(1, min_copies):
                raise MoveRefusedError(
                    f"its copy in {source.tier!r} stays: there are {len(others)} other verified "
                    f"copies, and {min_copies} must be"
                )
            if source.drain_until is not None and source.drain_until > now:
                raise MoveRefusedError(f"its grace in {source.tier!r} is not over")
            connection.execute(
                sa.update(SHELVES)
                .where(SHELVES.c.shelf == source.shelf)
                .values(state=ShelfState.DELETING)
            )
            return self._set(connection, claim, state=MoveState.DELETING, attempts=0, error=None)

    def finish(self, claim: Claim) -> MoveRecord:
        """Write down that nothing is left of the old copy."""
        with self._fenced(claim) as connection:
            connection.execute(
                sa.update(SHELVES)
                .where(SHELVES.c.shelf == claim.move.source)
                .values(state=ShelfState.DELETED, verified_at=None, drain_until=None)
            )
            forget_packs(connection, claim.move.source)
            return self._end(connection, claim, MoveState.DONE)

    def pause(
        self, claim: Claim, *, seconds: float, error: str | None, counts: bool = True
    ) -> MoveRecord:
        """Let go of a move until its next attempt."""
        with self._fenced(claim) as connection:
            not_before = self._database.now(connection) + int(seconds * 1e9)
            return self._set(
                connection,
                claim,
                holder=None,
                lease_until=None,
                not_before=not_before,
                error=error,
                attempts=claim.move.attempts + counts,
            )

    def release(self, claim: Claim) -> None:
        """Let go of a move that waits for a time that is written down already."""
        with self._fenced(claim) as connection:
            self._set(connection, claim, holder=None, lease_until=None)

    def fail(self, claim: Claim, error: str) -> MoveRecord:
        """Give a move up; a copy that is not published is given up with it."""
        with self._fenced(claim) as connection:
            ended = self._end(connection, claim, MoveState.FAILED, error=error)
            if claim.move.state in BEFORE_PUBLICATION:
                give_up_target(connection, claim.move.move)
            else:
                # Both copies are whole: the old one goes on as it was.
                connection.execute(
                    sa.update(SHELVES)
                    .where(
                        SHELVES.c.shelf == claim.move.source,
                        SHELVES.c.state == ShelfState.DRAINING,
                    )
                    .values(state=ShelfState.AVAILABLE, drain_until=None)
                )
            return ended

    def from_other(self, claim: Claim, source: str) -> MoveRecord:
        """Go on from another copy than the one that the move began with, which is kept."""
        with self._fenced(claim) as connection:
            return self._set(
                connection, claim, source=source, keep=True, holder=None, lease_until=None
            )

    @contextmanager
    def _fenced(self, claim: Claim) -> Iterator[sa.Connection]:
        """Give a connection whose changes count only if the claim still holds."""
        with self._database.write() as connection:
            mine = sa.select(MOVES.c.move).where(
                MOVES.c.move == claim.move.move,
                MOVES.c.epoch == claim.move.epoch,
                MOVES.c.holder == claim.holder,
                MOVES.c.ended_at.is_(None),
            )
            if connection.execute(mine).first() is None:
                raise MoveTakenOverError(
                    f"move {claim.move.move} is in other hands, or was called off: this mover "
                    "leaves it alone"
                )
            yield connection

    def _set(self, connection: sa.Connection, claim: Claim, **values: Any) -> MoveRecord:
        chosen = MOVES.c.move == claim.move.move
        connection.execute(sa.update(MOVES).where(chosen).values(**values))
        return move_of(connection.execute(sa.select(MOVES).where(chosen)).mappings().one())

    def _end(
        self, connection: sa.Connection, claim: Claim, state: MoveState, *, error: str | None = None
    ) -> MoveRecord:
        return self._set(
            connection,
            claim,
            state=state,
            error=error,
            holder=None,
            lease_until=None,
            not_before=None,
            ended_at=self._database.now(connection),
        )
