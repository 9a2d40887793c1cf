"""Telling readers where the copies of a run lie."""

from collections.abc import Callable

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import READABLE, ShelfState
from forebay.tiering.homes.home import home_of
from forebay.tiering.reading.signpost import Signpost
from forebay.tiering.storage.tiers import Tiers


def _whoever() -> None:
    """Let anybody put a signpost."""


def put_signpost(
    catalogue: Catalogue, tiers: Tiers, run_id: str, *, check: Callable[[], None] = _whoever
) -> None:
    """Put the signpost at the home of a run that says where its copies lie.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    run_id
        The run.
    check
        Called before the catalogue is asked, while nobody else can put a signpost unnoticed; it
        raises an error if the caller may not put one any more.

    Raises
    ------
    PlaceUnavailableError
        If another mover holds the home, or it cannot be written.
    StorageError
        If its file cannot be written.
    RunNotTieredError
        If the home is in a bucket, and lies in no tier.
    """
    run = catalogue.run(run_id)
    home = home_of(tiers, run)

    def current() -> Signpost | None:
        check()
        shelves = [each for each in catalogue.shelves(run_id) if each.state in READABLE]
        away = sorted(
            (each for each in shelves if not each.home),
            key=lambda each: (each.state is ShelfState.DRAINING, tiers.rank(each.tier)),
        )
        at_home = any(each.home for each in shelves)
        if not away and at_home:
            return None
        return Signpost(
            run_id=run_id,
            places=tuple(tiers.place(each, catalogue.packs(each.shelf)) for each in away),
            objects=catalogue.objects(run_id),
            documents=catalogue.documents(run_id),
            left=not (at_home or home.comes_back),
        )

    home.put_signpost(run.signpost, current)
