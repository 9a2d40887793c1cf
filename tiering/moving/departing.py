"""The old copy of a move: kept until its grace is over and others are whole, then deleted."""

import logging
from itertools import batched

from forebay.tiering.catalogue.held import Claim
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.records import Kind, MoveRecord, ShelfRecord, ShelfState
from forebay.tiering.errors import CopyDamagedError, MoveRefusedError
from forebay.tiering.moving.context import MoveContext
from forebay.tiering.storage.inventory import MANIFEST, STAYING_AT_HOME
from forebay.tiering.storage.shelf import unhindered

SHORT_PAUSE = 60.0
"""Pause before it is looked again whether a copy may go."""

_MARKED_AT_ONCE = 64
"""Objects that are deleted out of an open run before their folders are flushed."""

_log = logging.getLogger("forebay.tiering")


class Departing:
    """Ends graces and deletes copies.

    Parameters
    ----------
    context
        What the steps of moves have in common.
    """

    def __init__(self, context: MoveContext) -> None:
        self._context = context

    def end_grace(self, claim: Claim) -> MoveRecord:
        """Give the old copy up for good, once those that are relied on are all there."""
        run_id, source = claim.move.run_id, claim.move.source
        kept = [
            each
            for each in self._context.catalogue.shelves(run_id)
            if each.shelf != source and each.state is ShelfState.AVAILABLE and each.verified_at
        ]
        for each in kept:
            self._put_back(claim, each)
        self._context.reached("others there")
        try:
            return self._context.held.begin_deletion(
                claim, min_copies=self._context.settings.min_copies
            )
        except MoveRefusedError as error:
            return self._context.held.pause(
                claim, seconds=SHORT_PAUSE, error=str(error), counts=False
            )

    def _put_back(self, claim: Claim, shelf: ShelfRecord) -> None:
        """Look whether a copy that is relied on has all its objects, and put back what it lost."""
        there = self._context.shelf(shelf)
        sizes = there.sizes()
        back: set[str] = set()
        for key, known in self._context.catalogue.objects(shelf.run_id).items():
            if sizes.get(key) == known.bytes or key in back:
                continue
            told = {"place": there.where, "object": key}
            _log.warning("object was lost there and is put back", extra=told)
            came = there.copy(key, known, self._context.shelf(self._context.source(claim)))
            back.update(came.keys)
            if came.pack is not None:
                self._context.catalogue.packed(shelf.shelf, came.pack)
                there = self._context.shelf(shelf)
            found = there.look_along(key)[key]
            self._context.archives.put_away(shelf, [key], unhindered)
            if found != known:
                self._context.catalogue.doubted(shelf.shelf)
                raise CopyDamagedError(
                    f"{there.where}/{key} was put there twice and is not there: nothing is deleted "
                    "elsewhere; look after that tier"
                )

    def delete(self, claim: Claim) -> MoveRecord:
        """Delete what is left of the old copy."""
        (source,) = [
            each
            for each in self._context.catalogue.shelves(claim.move.run_id)
            if each.shelf == claim.move.source
        ]
        # Nobody is sent to a copy that is going.
        self._context.put_signpost(claim)
        self._context.reached("signpost without it")
        with self._context.at(source):
            self._context.held.renew(claim, lease_seconds=self._context.settings.lease_seconds)
            self._delete_objects(source)
        self._context.reached("objects deleted")
        return self._context.held.finish(claim)

    def _delete_objects(self, source: ShelfRecord) -> None:
        shelf = self._context.shelf(source)
        # Documents go first: no reader that knows only Zarr shall see frames vanish one by one.
        keys = list(self._context.catalogue.objects(source.run_id))[::-1]
        gone = [key for key in keys if not (source.home and key.startswith(STAYING_AT_HOME))]
        if not source.home:
            gone = [MANIFEST, *gone]
        kind = self._context.catalogue.run(source.run_id).kind
        if source.home and kind is Kind.BLOCKS:
            # The run goes on being shown, and who knows only Zarr must not take them for zeros.
            for several in batched(gone, _MARKED_AT_ONCE):
                shelf.leave_marks(several)
                self._context.reached("objects marked")
            return
        for name in dict.fromkeys(shelf.stored_as(key) for key in gone):
            shelf.delete([name])
            self._context.reached("object deleted")
        shelf.remove_leftovers()
        if not source.home:
            shelf.remove_folders()
        elif kind is Kind.RESULT:
            # The folder of a part is there as long as something of the part is.
            shelf.remove_folders_of(gone)

    def delete_given_up(self, shelf: ShelfRecord) -> None:
        """Delete what is left of a copy that was given up before it was published."""
        with self._context.at(shelf):
            now = [
                each
                for each in self._context.catalogue.shelves(shelf.run_id)
                if each.shelf == shelf.shelf and each.state is ShelfState.DELETING
            ]
            if now:
                self._delete_objects(shelf)
                Moves(self._context.catalogue.database).gave_up(shelf.shelf)
