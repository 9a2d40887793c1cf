"""The catalogue of runs and their copies."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import batched
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from forebay.tiering.catalogue.migrating import Database, bring_up_to_date
from forebay.tiering.catalogue.records import (
    READABLE,
    TAKING_ROOM,
    Kind,
    Protection,
    RunRecord,
    ShelfRecord,
    ShelfState,
)
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
from forebay.tiering.errors import MoveRefusedError, UnknownRunError
from forebay.tiering.packing.pack import Pack
from forebay.tiering.reading.signpost import KnownObject

_ROWS_AT_ONCE = 1000


class Catalogue:
    """What is known of runs, of their copies in tiers, and of what keeps them there.

    Parameters
    ----------
    database
        Where it is kept: the queue's database, or another one.

    Raises
    ------
    CatalogueError
        If its tables were made by a newer forebay.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        bring_up_to_date(database)

    def add(
        self,
        run: RunRecord,
        objects: Mapping[str, KnownObject],
        documents: Mapping[str, bytes],
        shelves: Iterable[ShelfRecord],
        packs: Mapping[str, Sequence[Pack]] = MappingProxyType({}),
        *,
        beside: Collection[str] | None = None,
    ) -> None:
        """Take in a run that is not known yet, or more copies of one that is.

        Parameters
        ----------
        run
            The run.
        objects
            What its objects are.
        documents
            Those of them that are documents.
        shelves
            Its copies.
        packs
            The packs of those that have some, by the identity of the copy.
        beside
            Identities of all that the catalogue knows of the same folder, as the caller has seen
            it: no two shall hold the same block.  What keeps one of those keeps this one, too.

        Raises
        ------
        MoveRefusedError
            If it knows something else of that folder by now.
        """
        rows = [
            {
                "run_id": run.run_id,
                "key": key,
                "bytes": known.bytes,
                "blake3": known.blake3,
                "content": documents.get(key),
            }
            for key, known in objects.items()
        ]
        with self.database.write() as connection:
            there = sa.select(RUNS.c.run_id).where(RUNS.c.run_id == run.run_id)
            if connection.execute(there).scalar() is None:
                if beside is not None:
                    _check_beside(connection, run, beside)
                values = {name: getattr(run, name) for name in RUNS.c.keys()}  # noqa: SIM118
                connection.execute(sa.insert(RUNS), values)
                if beside:
                    _keep_likewise(connection, self.database.now(connection), run.run_id, beside)
                for first in range(0, len(rows), _ROWS_AT_ONCE):
                    connection.execute(sa.insert(OBJECTS), rows[first : first + _ROWS_AT_ONCE])
            for shelf in shelves:
                known_shelf = sa.select(SHELVES.c.shelf).where(SHELVES.c.shelf == shelf.shelf)
                if shelf.home:
                    # Several may take a run in at once, and there is one folder that it lies in.
                    known_shelf = sa.select(SHELVES.c.shelf).where(
                        SHELVES.c.run_id == run.run_id, SHELVES.c.home
                    )
                if connection.execute(known_shelf).scalar() is None:
                    connection.execute(sa.insert(SHELVES), _values(shelf))
                    add_packs(connection, shelf.shelf, packs.get(shelf.shelf, ()))

    def follow(self, run: RunRecord, shelf: ShelfRecord, *, left: str) -> bool:
        """Write down that a run lies in another folder now, unless it is more than that folder.

        Parameters
        ----------
        run
            The run, as it lies now.
        shelf
            Its copy there.
        left
            The folder by which it was known.

        Returns
        -------
        bool
            Whether it was written down: not of a run that has other copies, is to be moved, or has
            the same place in its tier.
        """
        of_run = SHELVES.c.run_id == run.run_id
        with self.database.write() as connection:
            copies = connection.execute(
                sa.select(SHELVES.c.home, SHELVES.c.tier, SHELVES.c.path).where(
                    of_run, SHELVES.c.state != ShelfState.DELETED
                )
            ).all()
            moving = connection.execute(
                sa.select(MOVES.c.move).where(
                    MOVES.c.run_id == run.run_id, MOVES.c.ended_at.is_(None)
                )
            ).first()
            if moving is not None or [each.home for each in copies] != [True]:
                return False
            if (copies[0].tier, copies[0].path) == (shelf.tier, shelf.path):
                # Another machine has the tier by another path, and nothing was renamed.
                return False
            followed = connection.execute(
                sa.update(RUNS)
                .where(RUNS.c.run_id == run.run_id, RUNS.c.home == left)
                .values(name=run.name, home=run.home)
            ).rowcount
            if followed:
                connection.execute(
                    sa.update(SHELVES)
                    .where(of_run, SHELVES.c.home)
                    .values(tier=shelf.tier, path=shelf.path, verified_at=None)
                )
            return bool(followed)

    def runs(self, kind: Kind | None = None) -> list[RunRecord]:
        """Return every run and volume, or those of a kind, by name."""
        wanted = sa.select(RUNS).order_by(RUNS.c.name, RUNS.c.run_id)
        if kind is not None:
            wanted = wanted.where(RUNS.c.kind == kind)
        with self.database.read() as connection:
            return [run_of(row) for row in connection.execute(wanted).mappings()]

    def at(self, home: Path | str) -> list[RunRecord]:
        """Return what was made at a place: a run, and volumes of it or of a result, in order."""
        wanted = sa.select(RUNS).where(RUNS.c.home == str(home)).order_by(RUNS.c.run_id)
        with self.database.read() as connection:
            return [run_of(row) for row in connection.execute(wanted).mappings()]

    def run(self, run_id: str) -> RunRecord:
        """Return a run.

        Raises
        ------
        UnknownRunError
            If it is not in the catalogue.
        """
        with self.database.read() as connection:
            wanted = sa.select(RUNS).where(RUNS.c.run_id == run_id)
            row = connection.execute(wanted).mappings().first()
        if row is None:
            raise UnknownRunError(
                f"the catalogue knows no run {run_id}: 'forebay tier scan --repair' takes it in"
            )
        return run_of(row)

    def objects(self, run_id: str) -> dict[str, KnownObject]:
        """Return what the objects of a run are, by their keys, documents last."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(OBJECTS.c.key, OBJECTS.c.bytes, OBJECTS.c.blake3)
                .where(OBJECTS.c.run_id == run_id)
                .order_by(OBJECTS.c.content.is_not(None), OBJECTS.c.key)
            )
            return {key: KnownObject(size, digest) for key, size, digest in rows}

    def documents(self, run_id: str) -> dict[str, bytes]:
        """Return the documents of a run."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(OBJECTS.c.key, OBJECTS.c.content).where(
                    OBJECTS.c.run_id == run_id, OBJECTS.c.content.is_not(None)
                )
            )
            return {key: bytes(content) for key, content in rows}

    def packs(self, shelf: str) -> tuple[Pack, ...]:
        """Return the packs of a copy, in order; none where each object lies by itself."""
        with self.database.read() as connection:
            packs = connection.execute(
                sa.select(PACKS.c.pack, PACKS.c.bytes, PACKS.c.blake3)
                .where(PACKS.c.shelf == shelf)
                .order_by(PACKS.c.pack)
            ).all()
            starts: dict[str, dict[str, int]] = {pack: {} for pack, _, _ in packs}
            if packs:
                for pack, key, start in connection.execute(
                    sa.select(PACKED.c.pack, PACKED.c.key, PACKED.c.start)
                    .where(PACKED.c.shelf == shelf)
                    .order_by(PACKED.c.pack, PACKED.c.start)
                ):
                    starts[pack][key] = start
        return tuple(Pack(pack, starts[pack], size, digest) for pack, size, digest in packs)

    def packed(self, shelf: str, pack: Pack) -> None:
        """Write down what a pack is, now that it was put there."""
        with self.database.write() as connection:
            note_pack(connection, shelf, pack)

    def shelves(self, run_id: str | None = None) -> list[ShelfRecord]:
        """Return the copies of a run, or of all runs, that are not deleted, and every home."""
        wanted = sa.select(SHELVES).where(
            sa.or_(SHELVES.c.state != ShelfState.DELETED, SHELVES.c.home)
        )
        if run_id is not None:
            wanted = wanted.where(SHELVES.c.run_id == run_id)
        with self.database.read() as connection:
            rows = connection.execute(wanted.order_by(SHELVES.c.run_id, SHELVES.c.shelf))
            return [shelf_of(row) for row in rows.mappings()]

    def is_read(self, shelf: str) -> bool:
        """Tell whether readers are sent to a copy now."""
        wanted = sa.select(SHELVES.c.shelf).where(
            SHELVES.c.shelf == shelf, SHELVES.c.state.in_(READABLE)
        )
        with self.database.read() as connection:
            return connection.execute(wanted).first() is not None

    def used(self) -> dict[str, int]:
        """Return the bytes that copies take in each tier, or have reserved."""
        with self.database.read() as connection:
            return used_bytes(connection)

    def arriving(self) -> dict[str, int]:
        """Return the bytes of that which copies that are being made have reserved in each tier."""
        with self.database.read() as connection:
            return used_bytes(connection, states=(ShelfState.STAGING,))

    def saw(self, run_id: str, *, read_at: int) -> None:
        """Write down when a run was last opened."""
        with self.database.write() as connection:
            connection.execute(
                sa.update(RUNS)
                .where(RUNS.c.run_id == run_id, RUNS.c.read_at < read_at)
                .values(read_at=read_at)
            )

    def verified(self, shelf: str) -> None:
        """Write down that all of a copy was read back just now, and is as it was committed."""
        with self.database.write() as connection:
            connection.execute(
                sa.update(SHELVES)
                .where(SHELVES.c.shelf == shelf, SHELVES.c.state.in_(READABLE))
                .values(verified_at=self.database.now(connection))
            )

    def doubted(self, shelf: str) -> None:
        """Write down that a copy is not whole: it counts no more as one until it is verified."""
        with self.database.write() as connection:
            connection.execute(
                sa.update(SHELVES).where(SHELVES.c.shelf == shelf).values(verified_at=None)
            )

    def protect(
        self,
        run_id: str,
        *,
        kind: str,
        tier: str | None,
        owner: str,
        reason: str,
        seconds: float | None,
    ) -> int:
        """Keep a run: a pin keeps its copy in a tier, a hold every copy.

        Raises
        ------
        MoveRefusedError
            If the tier has no copy to keep.
        """
        with self.database.write() as connection:
            now = self.database.now(connection)
            if (
                tier is not None
                and not connection.execute(
                    sa.select(SHELVES.c.shelf).where(
                        SHELVES.c.run_id == run_id,
                        SHELVES.c.tier == tier,
                        SHELVES.c.state.in_(READABLE),
                    )
                ).first()
            ):
                raise MoveRefusedError(
                    f"the run has no copy in the tier {tier!r} that could be kept there: move it "
                    "there first"
                )
            values: dict[str, Any] = {
                "run_id": run_id,
                "kind": kind,
                "tier": tier,
                "owner": owner,
                "reason": reason,
                "until": None if seconds is None else now + int(seconds * 1e9),
                "created_at": now,
            }
            key = connection.execute(sa.insert(PROTECTION), values).inserted_primary_key
            return int(key[0]) if key is not None else 0

    def unprotect(self, run_id: str, *, kind: str) -> int:
        """End all pins or all holds of a run; return how many there were."""
        with self.database.write() as connection:
            return connection.execute(
                sa.delete(PROTECTION).where(
                    PROTECTION.c.run_id == run_id, PROTECTION.c.kind == kind
                )
            ).rowcount

    def protections(self, run_id: str | None = None) -> list[Protection]:
        """Return the pins and holds that are in force, of a run or of all."""
        with self.database.read() as connection:
            return in_force(connection, self.database.now(connection), run_id)

    def progress(self, shelf: str) -> dict[str, str]:
        """Return which objects are on a shelf that is being filled, and whether verified."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(PROGRESS.c.key, PROGRESS.c.state).where(PROGRESS.c.shelf == shelf)
            )
            return {str(key): str(state) for key, state in rows}


def new_shelf_name() -> str:
    """Return a name for a copy that no other one has or will have."""
    return uuid.uuid4().hex


def add_packs(connection: sa.Connection, shelf: str, packs: Sequence[Pack]) -> None:
    """Write down which objects of a copy lie, or will lie, in packs."""
    for pack in packs:
        values = {"shelf": shelf, "pack": pack.name, "bytes": pack.bytes, "blake3": pack.blake3}
        connection.execute(sa.insert(PACKS), values)
        rows = [
            {"shelf": shelf, "key": key, "pack": pack.name, "start": start}
            for key, start in pack.starts.items()
        ]
        for several in batched(rows, _ROWS_AT_ONCE):
            connection.execute(sa.insert(PACKED), several)


def note_pack(connection: sa.Connection, shelf: str, pack: Pack) -> None:
    """Write down what a pack is, now that it was put there."""
    connection.execute(
        sa.update(PACKS)
        .where(PACKS.c.shelf == shelf, PACKS.c.pack == pack.name)
        .values(bytes=pack.bytes, blake3=pack.blake3)
    )


def forget_packs(connection: sa.Connection, shelf: str) -> None:
    """Drop what is known of the packs of a copy that is gone."""
    for table in (PACKED, PACKS):
        connection.execute(sa.delete(table).where(table.c.shelf == shelf))


def used_bytes(
    connection: sa.Connection, *, states: Collection[ShelfState] = TAKING_ROOM
) -> dict[str, int]:
    """Return the bytes that copies take in each tier, or have reserved."""
    rows = connection.execute(
        sa.select(SHELVES.c.tier, sa.func.sum(SHELVES.c.bytes))
        .where(SHELVES.c.state.in_(states))
        .group_by(SHELVES.c.tier)
    )
    return {str(tier): int(total) for tier, total in rows}


def in_force(connection: sa.Connection, now: int, run_id: str | None) -> list[Protection]:
    """Return the pins and holds that have not ended."""
    wanted = sa.select(PROTECTION).where(
        sa.or_(PROTECTION.c.until.is_(None), PROTECTION.c.until > now)
    )
    if run_id is not None:
        wanted = wanted.where(PROTECTION.c.run_id == run_id)
    columns = ("protection", "run_id", "kind", "tier", "owner", "reason", "until")
    return [
        Protection(**{name: row[name] for name in columns})
        for row in connection.execute(wanted.order_by(PROTECTION.c.protection)).mappings()
    ]


def protecting(protections: Sequence[Protection], tier: str) -> Protection | None:
    """Return what keeps a copy in a tier, if anything does."""
    for each in protections:
        if each.kind == "hold" or each.tier == tier:
            return each
    return None


def shelf_of(row: sa.RowMapping) -> ShelfRecord:
    """Return the record of a row of the table of shelves."""
    return ShelfRecord(**{**row, "state": ShelfState(row["state"])})


def _check_beside(connection: sa.Connection, run: RunRecord, beside: Collection[str]) -> None:
    there = sa.select(RUNS.c.run_id).where(RUNS.c.home == run.home)
    if set(connection.execute(there).scalars()) != set(beside):
        raise MoveRefusedError(
            f"something else of {run.home} was taken into the catalogue meanwhile: try again"
        )


def _keep_likewise(
    connection: sa.Connection, now: int, run_id: str, beside: Collection[str]
) -> None:
    """Put what keeps the others on a run, too."""
    kept = {
        (each.kind, each.tier, each.owner, each.reason, each.until)
        for other in beside
        for each in in_force(connection, now, other)
    }
    names = ("kind", "tier", "owner", "reason", "until")
    for each in kept:
        values = dict(zip(names, each, strict=True))
        connection.execute(sa.insert(PROTECTION), {**values, "run_id": run_id, "created_at": now})


def run_of(row: sa.RowMapping) -> RunRecord:
    """Return the record of a row of the table of runs, or of one that is joined to it."""
    values = {name: row[name] for name in RunRecord.__dataclass_fields__}
    return RunRecord(**{**values, "kind": Kind(values["kind"])})


def _values(shelf: ShelfRecord) -> dict[str, Any]:
    return {name: getattr(shelf, name) for name in SHELVES.c.keys()}  # noqa: SIM118
