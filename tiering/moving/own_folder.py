"""Making the folder of a run, or of a result, anew from a copy: what never leaves it, that is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.format.layout import LOG
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import Kind, RunRecord, ShelfRecord
from forebay.tiering.errors import RunNotTieredError, TieringError
from forebay.tiering.moving.home_lock import home_lock
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import STAYING_AT_HOME
from forebay.tiering.storage.shelf import compare
from forebay.tiering.storage.tiers import Tiers


def lost_at_home(run: RunRecord, objects: Mapping[str, KnownObject]) -> list[str]:
    """Return the keys of what never leaves the folder of a run, and is not there.

    Of a volume of a run, whose log is no part of it, that is the log.
    """
    if run.kind is Kind.BLOCKS:
        return [] if Path(run.home, LOG).is_dir() else [LOG]
    staying = [key for key in objects if key.startswith(STAYING_AT_HOME)]
    return [key for key in staying if not Path(run.home, key).exists()]


def put_back_at_home(
    catalogue: Catalogue,
    tiers: Tiers,
    run: RunRecord,
    lost: Sequence[str],
    copies: Sequence[ShelfRecord],
) -> None:
    """Put what was lost of the folder back there, every byte compared, as far as a copy has it.

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
        If the folder lies in no tier, or was that of a run whose log is in no copy.
    """
    if run.kind is Kind.BLOCKS:
        raise RunNotTieredError(
            f"{run.home} is gone, and its log with it, which the moved blocks {run.shown} do not "
            "have: restore it from a copy"
        )
    tiers.of_folder(Path(run.home))
    objects = catalogue.objects(run.run_id)
    contents = {key: _read(catalogue, tiers, key, objects[key], copies) for key in lost}
    with durable.storage_errors(run.home):
        durable.make_folders(run.lock.parent)
    with home_lock(run.lock), durable.storage_errors(run.home):
        for key, content in contents.items():
            path = Path(run.home, key)
            durable.make_folders(path.parent)
            durable.replace(path.with_name(f"{path.name}.partial"), path, content)


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
