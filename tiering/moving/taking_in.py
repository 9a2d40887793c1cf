"""Taking a run into the catalogue as it lies in its folder."""

from pathlib import Path

from zarr.storage import LocalStore

from forebay.acquisition import open_run as open_in_folder
from forebay.tiering.catalogue.catalogue import Catalogue, new_shelf_name
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord, ShelfRecord, ShelfState
from forebay.tiering.catalogue.volumes import Volumes
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.storage.inventory import read_at, take_stock
from forebay.tiering.storage.tiers import Tiers


def known_at(catalogue: Catalogue, folder: Path) -> RunRecord | None:
    """Return the run that the catalogue knows in a folder, if there is one."""
    return next((run for run in catalogue.at(folder.absolute()) if run.kind is Kind.RAW), None)


def take_in(catalogue: Catalogue, tiers: Tiers, folder: Path) -> RunRecord:
    """Return the run in a folder, as the catalogue knows it now.

    What was moved while it was open is no part of that, as long as it lies elsewhere: those are
    volumes of their own.

    Raises
    ------
    RunNotTieredError
        If the run is open, lies in no tier, lacks objects, or holds what belongs to no run.
    MoveRefusedError
        If another process takes in something of it at this time.
    RunNotFoundError, RunDamagedError
        If it is no run, or its log has changed.
    """
    folder = folder.absolute()
    found = known_at(catalogue, folder)
    if found is not None:
        catalogue.saw(found.run_id, read_at=read_at(folder))
        volumes = Volumes(catalogue, Kind.BLOCKS)
        for each in volumes.of(folder):
            volumes.join(each.run_id, found.run_id)
        return catalogue.run(found.run_id)
    tier, path = tiers.of_folder(folder)
    apart, beside = _moved_while_open(catalogue, folder)
    stock = take_stock(folder, apart=apart)
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
    shelf = home_shelf(record, tier.name, path)
    catalogue.add(record, stock.objects, stock.documents, [shelf], beside=beside)
    return catalogue.run(record.run_id)


def _moved_while_open(catalogue: Catalogue, folder: Path) -> tuple[set[str], list[str]]:
    """Return the objects of a closed run's volumes, and all that is known of its folder.

    A volume that lies nowhere else is given up: its blocks are the run's.
    """
    volumes = Volumes(catalogue, Kind.BLOCKS)
    apart: set[str] = set()
    if known := volumes.of(folder):
        if not open_in_folder(LocalStore(folder, read_only=True)).closed:
            # It is said in the same words of a run that has no volumes.
            return apart, []
        for volume in known:
            copies = [x for x in catalogue.shelves(volume.run_id) if x.state in READABLE]
            if not (all(each.home for each in copies) and volumes.give_up(volume.run_id)):
                apart.update(catalogue.objects(volume.run_id))
        volumes.forget_empty()
    return apart, [each.run_id for each in catalogue.at(folder)]


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
