"""Making the home of a run, or of a result, anew from a copy: what never leaves it, that is."""

from collections.abc import Mapping, Sequence

from forebay.acquisition.format.layout import LOG
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import Kind, RunRecord, ShelfRecord
from forebay.tiering.errors import RunNotTieredError, TieringError
from forebay.tiering.homes.home import home_of
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import stays_at_home
from forebay.tiering.storage.shelf import compare
from forebay.tiering.storage.tiers import Tiers


def lost_at_home(tiers: Tiers, run: RunRecord, objects: Mapping[str, KnownObject]) -> list[str]:
    """Return the keys of what never leaves the home of a run, and is not there.

    Of a volume of a run, whose log is no part of it, that is the log.

    Raises
    ------
    RunNotTieredError
        If the home is in a bucket, and lies in no tier.
    PlaceUnavailableError
        If it cannot be read.
    """
    home = home_of(tiers, run)
    if run.kind is Kind.BLOCKS:
        return [] if home.lengths([LOG]) else [LOG]
    staying = [key for key in objects if stays_at_home(key)]
    there = home.lengths(staying)
    return [key for key in staying if key not in there]


def put_back_at_home(
    catalogue: Catalogue,
    tiers: Tiers,
    run: RunRecord,
    lost: Sequence[str],
    copies: Sequence[ShelfRecord],
) -> None:
    """Put what was lost of the home back there, every byte compared, as far as a copy has it.

    All of it is read before anything is written.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    run
        The run, or the volume.
    lost
        Keys of what was lost.
    copies
        Copies elsewhere.

    Raises
    ------
    ArchivedError
        If that has to be recalled first.
    CopyDamagedError, PlaceUnavailableError
        If no copy has it, or none that can be read.
    StorageError
        If it cannot be written.
    RunNotTieredError
        If the home lies in no tier, or was that of a run whose log is in no copy.
    """
    if run.kind is Kind.BLOCKS:
        raise RunNotTieredError(
            f"{run.home} is gone, and its log with it, which the moved blocks {run.shown} do not "
            "have: restore it from a copy"
        )
    tiers.holding(run.location)
    objects = catalogue.objects(run.run_id)
    contents = {key: _read(catalogue, tiers, key, objects[key], copies) for key in lost}
    home_of(tiers, run).put_back(contents)


def _read(
    catalogue: Catalogue,
    tiers: Tiers,
    key: str,
    known: KnownObject,
    copies: Sequence[ShelfRecord],
) -> bytes:
    problem: TieringError | None = None
    for each in copies:
        there = shelf_of_copy(catalogue, tiers, each)
        try:
            content = there.read(key)
            compare(there, key, known, content)
        except TieringError as error:
            problem = problem or error
        else:
            return content or b""
    raise problem or RunNotTieredError(f"{key} has no copy that can be read")
