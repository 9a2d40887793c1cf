"""The copy of a run, as the catalogue says that its objects lie there."""

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import ShelfRecord
from forebay.tiering.moving.manifest import manifest
from forebay.tiering.packing.packed_shelf import PackedShelf
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.storage.tiers import Tiers


def shelf_of_copy(catalogue: Catalogue, tiers: Tiers, record: ShelfRecord) -> Shelf:
    """Return the shelf of a copy, whose objects are found by their keys.

    Raises
    ------
    TierError
        If there is no such tier.
    PlaceUnavailableError
        If it cannot be used as the environment says.
    """
    shelf = tiers[record.tier].shelf(record.path)
    packs = catalogue.packs(record.shelf)
    if not packs:
        return shelf
    return PackedShelf(
        shelf.bucket,
        shelf.path,
        where=shelf.where,
        folder=shelf.folder,
        attributes=shelf.attributes,
        versioned=shelf.versioned,
        lock=shelf.lock,
        packs=packs,
        objects=catalogue.objects(record.run_id),
        manifest=lambda: manifest(catalogue, record),
    )
