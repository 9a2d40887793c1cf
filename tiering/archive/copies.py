"""Which objects of a run have to be recalled for it to be read, from the copy in an archive."""

from collections.abc import Iterable

from forebay.acquisition import open_run as open_in_store
from forebay.acquisition.format.record import Extent
from forebay.tiering.archive.at_hand import AtHand
from forebay.tiering.archive.recall import Recall
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord, ShelfRecord
from forebay.tiering.errors import MoveRefusedError, TierError
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.storage.tiers import Tiers
from forebay.tiering.store import open_store


def recall_of(
    catalogue: Catalogue, tiers: Tiers, shelf: ShelfRecord, keys: Iterable[str]
) -> Recall | None:
    """Return the recall of some objects of a copy; None where the copy is read at once.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    shelf
        The copy.
    keys
        Keys of those that are to be read.
    """
    archive = tiers[shelf.tier].archive(shelf.path)
    if archive is None:
        return None
    there, stored = shelf_of_copy(catalogue, tiers, shelf), {}
    for name in dict.fromkeys(there.stored_as(key) for key in keys):
        stored[name] = 0
    # A pack comes as a whole, whichever of its objects are wanted.
    for key, known in catalogue.objects(shelf.run_id).items():
        if (name := there.stored_as(key)) in stored:
            stored[name] += known.bytes
    return Recall(archive, stored)


def archived_copy(
    catalogue: Catalogue, tiers: Tiers, run: RunRecord, *, tier: str | None
) -> ShelfRecord:
    """Return the copy of a run that has to be recalled for the run to be read.

    Raises
    ------
    TierError
        If the tier is no archive.
    MoveRefusedError
        If the run has no copy there, or one that is read at once.
    """
    if tier is not None and tiers[tier].specification.recall is None:
        raise TierError(f"the tier {tier!r} is no archive: what lies there is read at once")
    copies = [each for each in catalogue.shelves(run.run_id) if each.state in READABLE]
    away = [each for each in copies if tiers[each.tier].specification.recall is not None]
    if tier is None and (near := [each for each in copies if each not in away]):
        raise MoveRefusedError(
            f"{run.name} is read from {near[0].tier!r} at once: nothing has to be recalled"
        )
    found = [each for each in away if tier in {None, each.tier}]
    if not found:
        raise MoveRefusedError(f"{run.name} has no copy in an archive that could be recalled")
    return min(found, key=lambda each: tiers.rank(each.tier))


def keys_of(catalogue: Catalogue, tiers: Tiers, run: RunRecord, frames: Extent | None) -> list[str]:
    """Return the keys of the objects that hold some frames of a run, or all of it.

    What is at hand wherever the run lies is not among them.

    Raises
    ------
    MoveRefusedError
        If the run has no such frames.
    """
    objects = catalogue.objects(run.run_id)
    if frames is None:
        return AtHand.of(catalogue, tiers, run).without(objects)
    if run.kind is Kind.RESULT:
        raise MoveRefusedError(f"{run.name} is a result: it is recalled as a whole, without frames")
    opened = open_in_store(open_store(run.home))
    count = opened.history.frames
    if not 0 <= frames.start < frames.stop <= count:
        raise MoveRefusedError(
            f"{run.name} has no frames {frames.start} to {frames.stop}: it has {count}"
        )
    return [
        each.key
        for block in opened.blocks
        if block.extent.start < frames.stop and frames.start < block.extent.stop
        for each in block.objects
        # Others may lie in another volume.
        if each.key in objects
    ]
