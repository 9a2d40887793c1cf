"""The old copy of a move: kept until its grace is over and others are whole, then deleted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import batched

from forebay.tiering.catalogue.held import Claim
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import Kind, MoveRecord, ShelfRecord, ShelfState
from forebay.tiering.errors import CopyDamagedError, MoveRefusedError
from forebay.tiering.moving.context import MoveContext
from forebay.tiering.storage.inventory import MANIFEST, stays_at_home
from forebay.tiering.storage.shelf import unhindered

SHORT_PAUSE = 60.0
"""Pause before it is looked again whether a copy may go."""

_MARKED_AT_ONCE = 64
"""Objects that are deleted out of an open run before their folders are flushed."""

_log = logging.getLogger("forebay.tiering")


@dataclass(frozen=True, slots=True)
class Departing:
    """Ends graces and deletes copies."""

    context: MoveContext
    """What the steps of moves have in common."""

    def end_grace(self, claim: Claim) -> MoveRecord:
        """Give the old copy up for good, once those that are relied on are all there."""
        run_id, source = claim.move.run_id, claim.move.source
        kept = [
            each
            for each in self.context.catalogue.shelves(run_id)
            if each.shelf != source and each.state is ShelfState.AVAILABLE and each.verified_at
        ]
        if (why := self._needed_at_once(run_id, kept)) is not None:
            return self.context.held.pause(claim, seconds=SHORT_PAUSE, error=why, counts=False)
        for each in kept:
            self._put_back(claim, each)
        self.context.reached("others there")
        try:
            return self.context.held.begin_deletion(
                claim, min_copies=self.context.settings.min_copies
            )
        except MoveRefusedError as error:
            return self.context.held.pause(
                claim, seconds=SHORT_PAUSE, error=str(error), counts=False
            )

    def _needed_at_once(self, run_id: str, kept: Sequence[ShelfRecord]) -> str | None:
        """Say why the old copy stays, where those that are kept have to be recalled to be read."""
        tiers = self.context.tiers
        if any(tiers[each.tier].specification.recall is None for each in kept):
            return None
        return self.context.work.needed(self.context.catalogue.run(run_id))

    def _put_back(self, claim: Claim, shelf: ShelfRecord) -> None:
        """Look whether a copy that is relied on has all its objects, and put back what it lost."""
        there = self.context.shelf(shelf)
        sizes = there.sizes()
        back: set[str] = set()
        for key, known in self.context.catalogue.objects(shelf.run_id).items():
            if sizes.get(key) == known.bytes or key in back:
                continue
            told = {"place": there.where, "object": key}
            _log.warning("object was lost there and is put back", extra=told)
            came = there.copy(key, known, self.context.shelf(self.context.source(claim)))
            back.update(came.keys)
            if came.pack is not None:
                self.context.catalogue.packed(shelf.shelf, came.pack)
                there = self.context.shelf(shelf)
            found = there.look_along(key)[key]
            self.context.archives.put_away(shelf, [key], unhindered)
            if found != known:
                self.context.catalogue.doubted(shelf.shelf)
                raise CopyDamagedError(
                    f"{there.where}/{key} was put there twice and is not there: nothing is deleted "
                    "elsewhere; look after that tier"
                )

    def delete(self, claim: Claim) -> MoveRecord:
        """Delete what is left of the old copy."""
        (source,) = [
            each
            for each in self.context.catalogue.shelves(claim.move.run_id)
            if each.shelf == claim.move.source
        ]
        # Nobody is sent to a copy that is going.
        self.context.put_signpost(claim)
        self.context.reached("signpost without it")
        with self.context.at(source):
            self.context.held.renew(claim, lease_seconds=self.context.settings.lease_seconds)
            self._delete_objects(source)
        self.context.reached("objects deleted")
        return self.context.held.finish(claim)

    def _delete_objects(self, source: ShelfRecord) -> None:
        shelf = self.context.shelf(source)
        # Documents go first: no reader that knows only Zarr shall see frames vanish one by one.
        keys = list(self.context.catalogue.objects(source.run_id))[::-1]
        gone = [key for key in keys if not (source.home and stays_at_home(key))]
        if not source.home:
            gone = [MANIFEST, *gone]
        kind = self.context.catalogue.run(source.run_id).kind
        if source.home and kind is Kind.BLOCKS:
            # The run goes on being shown, and who knows only Zarr must not take them for zeros.
            for several in batched(gone, _MARKED_AT_ONCE):
                shelf.leave_marks(several)
                self.context.reached("objects marked")
            return
        for name in dict.fromkeys(shelf.stored_as(key) for key in gone):
            shelf.delete([name])
            self.context.reached("object deleted")
        shelf.remove_leftovers()
        if not source.home:
            shelf.remove_folders()
        elif kind is Kind.RESULT:
            # The folder of a part is there as long as something of the part is.
            shelf.remove_folders_of(gone)

    def delete_given_up(self, shelf: ShelfRecord) -> None:
        """Delete what is left of a copy that was given up before it was published."""
        with self.context.at(shelf):
            now = [
                each
                for each in self.context.catalogue.shelves(shelf.run_id)
                if each.shelf == shelf.shelf and each.state is ShelfState.DELETING
            ]
            if now:
                self._delete_objects(shelf)
                Moves(self.context.catalogue.database).gave_up(shelf.shelf)
