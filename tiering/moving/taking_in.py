"""Taking a run into the catalogue as it lies at its home."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from forebay.tiering.catalogue.catalogue import Catalogue, new_shelf_name
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord, ShelfRecord, ShelfState
from forebay.tiering.catalogue.volumes import Volumes
from forebay.tiering.errors import RunNotTieredError, UnknownRunError
from forebay.tiering.homes.home import Home, home_at, home_of
from forebay.tiering.reading.signpost import SIGNPOST, KnownObject, Signpost
from forebay.tiering.storage.inventory import take_stock
from forebay.tiering.storage.tiers import Tiers


def known_at(catalogue: Catalogue, tiers: Tiers, location: Path | str) -> RunRecord | None:
    """Return the run that the catalogue knows at a path or a URL, if there is one."""
    there = catalogue.at(tiers.home(location))
    return next((run for run in there if run.kind is Kind.RAW), None)


def take_in(catalogue: Catalogue, tiers: Tiers, location: Path | str) -> RunRecord:
    """Return the run at a path or a URL, as the catalogue knows it now.

    A run that is known by a folder which is gone, and lies nowhere else, was renamed: from now on it
    is known by this one.  What was moved while it was open is no part of that, as long as it lies elsewhere: those are
    volumes of their own.

    Raises
    ------
    RunNotTieredError
        If the run is open, lies in no tier, lacks objects, or holds what belongs to no run; or if
        another one is known by its place, or it by another place.
    MoveRefusedError
        If another process takes in something of it at this time.
    RunNotFoundError, RunDamagedError
        If it is no run, or its log has changed.
    PlaceUnavailableError
        If its bucket does not answer, or not to us.
    """
    location = tiers.home(location)
    found = known_at(catalogue, tiers, location)
    if found is not None:
        home_of(tiers, found).check_own()
        if isinstance(location, Path):
            catalogue.saw(found.run_id, read_at=home_at(tiers, location).read_at())
        volumes = Volumes(catalogue, Kind.BLOCKS)
        for each in volumes.of(found.home):
            volumes.join(each.run_id, found.run_id)
        return catalogue.run(found.run_id)
    tier, path = tiers.holding(location)
    home = home_at(tiers, location)
    check_not_left(catalogue, home)
    apart, beside = _moved_while_open(catalogue, home)
    stock = take_stock(home, apart=apart)
    if stock.missing:
        more = f" and {len(stock.missing) - 1} more objects are" if stock.missing[1:] else " is"
        raise RunNotTieredError(
            f"{home.location}: {stock.missing[0]}{more} missing: 'forebay runs verify' tells which "
            "frames that concerns; if it was moved, 'forebay tier scan --repair' finds it"
        )
    closed = stock.run.history.closed
    closed_at = 0 if closed is None else closed.at
    record = RunRecord(
        run_id=stock.run.run_id,
        name=path,
        home=home.location,
        bytes=stock.bytes,
        objects=len(stock.objects),
        closed_at=closed_at,
        read_at=home.read_at() or closed_at,
    )
    shelf = home_shelf(record, tier.name, path)
    if _was_renamed(catalogue, record, shelf, stock.objects):
        return catalogue.run(record.run_id)
    catalogue.add(record, stock.objects, stock.documents, [shelf], beside=beside)
    return catalogue.run(record.run_id)


def _was_renamed(
    catalogue: Catalogue, run: RunRecord, shelf: ShelfRecord, objects: Mapping[str, KnownObject]
) -> bool:
    """Have the catalogue follow a run whose folder was renamed, if that is what happened.

    Raises
    ------
    RunNotTieredError
        If the run is known by another place, where it may still be, or where movers know it.
    """
    try:
        known = catalogue.run(run.run_id)
    except UnknownRunError:
        return False
    if known.home == run.home:
        return False
    gone = isinstance(known.location, Path) and not known.location.exists()
    if (
        gone
        and objects == catalogue.objects(run.run_id)
        and catalogue.follow(run, shelf, left=known.home)
    ):
        return True
    raise _same_run(run.home, known)


def check_not_left(catalogue: Catalogue, home: Home) -> None:
    """Refuse a place that a run has left which the catalogue knows by another one.

    Raises
    ------
    RunNotTieredError
        If it is one.
    """
    if home.is_signposted(SIGNPOST):
        where = f"{home.location}/{SIGNPOST}"
        signpost = Signpost.from_json(home.read(SIGNPOST) or b"", where=where)
        with contextlib.suppress(UnknownRunError):
            known = catalogue.run(signpost.run_id)
            if known.home != home.location:
                raise _same_run(home.location, known)


def _same_run(location: str, known: RunRecord) -> RunNotTieredError:
    return RunNotTieredError(
        f"{location} is the same run as {known.home}, by which the catalogue knows it: "
        "rename it back if it was renamed, or remove the copy"
    )


def _moved_while_open(catalogue: Catalogue, home: Home) -> tuple[set[str], list[str]]:
    """Return the objects of a closed run's volumes, and all that is known of its home.

    A volume that lies nowhere else is given up: its blocks are the run's.
    """
    volumes = Volumes(catalogue, Kind.BLOCKS)
    apart: set[str] = set()
    if known := volumes.of(home.location):
        if not home.open().closed:
            # It is said in the same words of a run that has no volumes.
            return apart, []
        for volume in known:
            copies = [x for x in catalogue.shelves(volume.run_id) if x.state in READABLE]
            if not (all(each.home for each in copies) and volumes.give_up(volume.run_id)):
                apart.update(catalogue.objects(volume.run_id))
        volumes.forget_empty()
    return apart, [each.run_id for each in catalogue.at(home.location)]


def home_shelf(
    run: RunRecord, tier: str, path: str, state: ShelfState = ShelfState.AVAILABLE
) -> ShelfRecord:
    """Return the record of the copy in the place that a run was recorded in."""
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
