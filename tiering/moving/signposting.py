"""Telling readers where the copies of a run lie."""

import uuid

from forebay.acquisition import durable
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import READABLE, ShelfState
from forebay.tiering.reading.signpost import Signpost
from forebay.tiering.storage.tiers import Tiers


def put_signpost(catalogue: Catalogue, tiers: Tiers, run_id: str) -> None:
    """Write where the copies of a run lie into its folder; the caller holds that folder."""
    run = catalogue.run(run_id)
    shelves = [each for each in catalogue.shelves(run_id) if each.state in READABLE]
    away = sorted(
        (each for each in shelves if not each.home),
        key=lambda each: (each.state is ShelfState.DRAINING, tiers.rank(each.tier)),
    )
    path = run.signpost
    if not away and any(each.home for each in shelves):
        if path.exists():
            path.unlink()
            durable.flush_folder(path.parent)
        return
    signpost = Signpost(
        run_id=run_id,
        places=tuple(tiers.place(each, catalogue.packs(each.shelf)) for each in away),
        objects=catalogue.objects(run_id),
        documents=catalogue.documents(run_id),
    )
    with durable.storage_errors(str(path)):
        durable.make_folders(path.parent)
        durable.replace(
            path.with_name(f"{path.name}.{uuid.uuid4().hex}#0"), path, signpost.to_json()
        )
