"""Taking a run into the catalogue as it lies in its folder."""

from pathlib import Path

from forebay.tiering.catalogue.catalogue import Catalogue, new_shelf_name
from forebay.tiering.catalogue.records import RunRecord, ShelfRecord, ShelfState
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.storage.inventory import read_at, take_stock
from forebay.tiering.storage.tiers import Tiers


def known_at(catalogue: Catalogue, folder: Path) -> RunRecord | None:
    """Return the run that the catalogue knows in a folder, if there is one."""
    home = str(folder.absolute())
    return next((run for run in catalogue.runs() if run.home == home), None)


def take_in(catalogue: Catalogue, tiers: Tiers, folder: Path) -> RunRecord:
    """Return the run in a folder, as the catalogue knows it now.

    Raises
    ------
    RunNotTieredError
        If the run is open, lies in no tier, lacks objects, or holds what belongs to no run.
    RunNotFoundError, RunDamagedError
        If it is no run, or its log has changed.
    """
    folder = folder.absolute()
    found = known_at(catalogue, folder)
    if found is not None:
        catalogue.saw(found.run_id, read_at=read_at(folder))
        return catalogue.run(found.run_id)
    tier, path = tiers.of_folder(folder)
    stock = take_stock(folder)
    if stock.missing:
        more = f" and {len(stock.missing) - 1} more objects are" if stock.missing[1:] else " is"
        raise RunNotTieredError(
            f"{folder}: {stock.missing[0]}{more} missing: 'forebay runs verify' tells which frames "
            "that concerns; if it was moved, 'forebay tier scan --repair' finds it"
        )
    closed = stock.run.history.closed
    record = RunRecord(
        run_id=stock.run.run_id,
        name=path,
        home=str(folder),
        bytes=stock.bytes,
        objects=len(stock.objects),
        closed_at=0 if closed is None else closed.at,
        read_at=read_at(folder),
    )
    catalogue.add(record, stock.objects, stock.documents, [home_shelf(record, tier.name, path)])
    return catalogue.run(record.run_id)


def home_shelf(
    run: RunRecord, tier: str, path: str, state: ShelfState = ShelfState.AVAILABLE
) -> ShelfRecord:
    """Return the record of the copy in the folder that a run was recorded in."""
    return ShelfRecord(
        shelf=new_shelf_name(),
        run_id=run.run_id,
        tier=tier,
        path=path,
        home=True,
        state=state,
        bytes=run.bytes,
        verified_at=None,
        drain_until=None,
    )
