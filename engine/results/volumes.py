"""Volumes: parts of a result that are moved between tiers together."""

import contextlib
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3
from zarr.storage import LocalStore

from forebay.acquisition import durable
from forebay.acquisition import open_run as open_in_folder
from forebay.engine.errors import ResultFormError, ResultNotFoundError
from forebay.engine.queue.database import Database
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.published import ResultRecord, enter, published
from forebay.engine.queue.reading import Row, job_to_read
from forebay.engine.queue.resting import Resting, resting, worked_on
from forebay.engine.results.files import PartFiles
from forebay.engine.results.folder import DESCRIPTION, PARTS, ResultFolder
from forebay.errors import ForebayError
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord
from forebay.tiering.catalogue.volumes import Volumes
from forebay.tiering.errors import MoveRefusedError, RunNotTieredError
from forebay.tiering.keys import check_key
from forebay.tiering.moving.home_lock import home_lock
from forebay.tiering.moving.taking_in import home_shelf
from forebay.tiering.reading.block_volumes import blocks_of_volume
from forebay.tiering.reading.signpost import RESULT_LOCK, VOLUMES, KnownObject, of_volume
from forebay.tiering.storage.tiers import Tiers

RECORD = "volume.json"
"""What the ledger knows of the parts of a volume; it goes along with them, and stays at home."""
_NAMESPACE = uuid.UUID("5d2b7c0e-9a41-4a3e-8a55-2f6f0f5c9a7b")


@dataclass(frozen=True, slots=True)
class ResultVolumes:
    """Takes into the catalogue what is published of results, and gives up what was replaced.

    What moves is a volume: the parts that were published and in no volume yet when nobody worked
    on the result.  A part never changes, so neither does a volume.  Parts that come later get into
    another one.
    """

    catalogue: Catalogue
    """The catalogue, in the database of the ledger."""
    ledger: Database
    """The ledger."""
    tiers: Tiers
    """The tiers."""

    def take_in(self) -> list[str]:
        """Take in all results that nobody works on; return which cannot be, and why."""
        passed_over = []
        by_home = Volumes(self.catalogue).by_home()
        for each in self._resting():
            known = by_home.get(each.folder, [])
            if len(known) == 1 and known[0].closed_at == each.published_at:
                self.catalogue.saw(known[0].run_id, read_at=_read_at(each.folder))
                continue
            try:
                self._take_in(each)
            except (ForebayError, OSError) as error:
                passed_over.append(" ".join(str(error).split()))
        self._forget()
        return passed_over

    def unknown(self) -> list[str]:
        """Return the folders of results of which the catalogue does not know all parts."""
        by_home = Volumes(self.catalogue).by_home()
        found = []
        for each in self._resting():
            inside = {part for known in by_home.get(each.folder, []) for part in self._parts(known)}
            with contextlib.suppress(RunNotTieredError):
                self.tiers.holding(each.folder)
                if not Ledger(self.ledger).parts(each.result) <= inside:
                    found.append(str(each.folder))
        return found

    def of_folder(self, folder: Path) -> list[RunRecord]:
        """Return the volumes of the result in a folder, as it is now where nobody works on it.

        Raises
        ------
        ResultNotFoundError
            If there is no result.
        MoveRefusedError
            If nothing of it can be moved yet, since somebody works on it.
        RunNotTieredError
            If it lies in no tier, or lacks files.
        """
        folder = Path(self.tiers.home(folder))
        identity = ResultFolder(folder).job_identity()
        if identity is None:
            raise ResultNotFoundError(f"{folder} is not a result: it has no {DESCRIPTION}")
        for each in self._resting():
            if each.result == identity and each.folder == folder:
                self._take_in(each)
        self._forget()
        found = [
            each
            for each in Volumes(self.catalogue).of(folder)
            if any(copy.state in READABLE for copy in self.catalogue.shelves(each.run_id))
        ]
        if not found:
            why = worked_on(self.ledger, identity) or f"{self.ledger.name} knows no part of it"
            raise MoveRefusedError(f"of {folder} nothing can be moved yet: {why}")
        return found

    def waits(self, run: RunRecord) -> str | None:
        """Say why a volume is not to be moved yet; None if it may be, and of every run."""
        if run.kind is not Kind.RESULT:
            return None
        identity = ResultFolder(Path(run.home)).job_identity()
        return None if identity is None else worked_on(self.ledger, identity)

    def needed(self, run: RunRecord) -> str | None:
        """Say why blocks must stay where they are read at once; None if no job has yet to read them.

        Of a result nothing is moved while a job publishes into it.
        """
        if run.kind is Kind.RESULT:
            return None
        row: Row | None = None
        run_id = run.run_id
        if run.kind is Kind.BLOCKS:
            opened = open_in_folder(LocalStore(Path(run.home), read_only=True))
            row = Row(blocks_of_volume(run.run_id), opened.layout.frames_per_block)
            run_id = opened.run_id
        job = job_to_read(self.ledger, run_id, row)
        if job is None:
            return None
        return (
            f"job {job} has yet to read it, and what lies in an archive has to be recalled first: "
            "the copy goes when that is done, or cancelled ('forebay jobs cancel')"
        )

    def enter_found(self) -> tuple[list[str], list[str]]:
        """Enter into the ledger what volumes tell of results that it has lost.

        What it knows stays as it is.  Return the folders of the results, and why others cannot be
        entered.
        """
        entered, passed_over = [], []
        for home, known in Volumes(self.catalogue).by_home().items():
            records = [each for volume in known if (each := _record(home, volume)) is not None]
            if not records:
                continue
            # Of a unit that was computed anew, the part counts that was published last.
            latest = {
                unit.unit: unit
                for unit in sorted(
                    (unit for record in records for unit in record.units),
                    key=lambda unit: unit.published_at,
                )
            }
            there = {each.unit for each in Ledger(self.ledger).units(records[0].job.identity)}
            lost = tuple(unit for name, unit in latest.items() if name not in there)
            if not lost:
                continue
            # Where all was computed anew, the form may be another one than before.
            newest = max(records, key=lambda each: max(x.published_at for x in each.units))
            folder = ResultFolder(home)
            try:
                with folder.session() as staging:
                    folder.describe(newest.job, staging, ledger=self.ledger.name)
                    enter(self.ledger, replace(newest, units=lost), folder=home)
            except ResultFormError as error:
                passed_over.append(str(error))
            else:
                entered.append(str(home))
        return entered, passed_over

    def _resting(self) -> list[Resting]:
        """Return the results that nobody works on, by the names that their folders have here."""
        found = resting(self.ledger)
        return [replace(each, folder=Path(self.tiers.home(each.folder))) for each in found]

    def _forget(self) -> None:
        """Drop volumes of which nothing is left."""
        for gone in Volumes(self.catalogue).forget_empty():
            shutil.rmtree(Path(gone.home) / VOLUMES / gone.run_id, ignore_errors=True)

    def _take_in(self, result: Resting) -> None:
        """Give up volumes whose parts were replaced, and make one of what is in none."""
        tier, path = self.tiers.holding(result.folder)
        record = published(self.ledger, result.result)
        if record is None:
            return
        name = "/".join(result.folder.parts[-2 - record.job.run_name.count("/") :])
        with home_lock(result.folder / RESULT_LOCK):
            inside: set[str] = set()
            known = Volumes(self.catalogue).of(result.folder)
            for volume in known:
                inside |= self._settled(volume, record)
            _remove_unfinished(result.folder, {each.run_id for each in known})
            new = replace(record, units=tuple(x for x in record.units if x.part not in inside))
            if not new.units:
                return
            volume, objects = self._stock(new, result.folder, name)
            self.catalogue.add(volume, objects, {}, [home_shelf(volume, tier.name, path)])

    def _settled(self, volume: RunRecord, record: ResultRecord) -> set[str]:
        """Return the parts that a volume answers for, given what the ledger says is published."""
        parts = self._parts(volume)
        named = {each.part for each in record.units}
        if parts <= named:
            return parts
        shelves = self.catalogue.shelves(volume.run_id)
        at_home_only = all(each.home for each in shelves)
        if at_home_only or (parts.isdisjoint(named) and _replaced(volume, record)):
            # Nobody needs what was replaced; of what lies at home only, the rest gets a new volume.
            given_up = Volumes(self.catalogue).give_up(volume.run_id)
            return set() if given_up else parts
        Volumes(self.catalogue).left_home(volume.run_id)
        return parts

    def _parts(self, volume: RunRecord) -> set[str]:
        """Return the parts that a volume holds."""
        keys = self.catalogue.objects(volume.run_id)
        return {key.split("/")[1] for key in keys if key.startswith(f"{PARTS}/")}

    def _stock(
        self, record: ResultRecord, folder: Path, name: str
    ) -> tuple[RunRecord, Mapping[str, KnownObject]]:
        """Look through the parts of a new volume, and write down beside them what they are."""
        identity = "".join([record.job.identity, *(each.part for each in record.units)])
        volume = str(uuid.uuid5(_NAMESPACE, identity))
        objects: dict[str, KnownObject] = {}
        for unit in record.units:
            below = f"{PARTS}/{unit.part}"
            files = PartFiles(folder / below).objects(unit.part_blake3)
            objects |= {check_key(f"{below}/{file}"): known for file, known in files.items()}
        for key, known in objects.items():
            if not _has(folder / key, known.bytes):
                raise RunNotTieredError(
                    f"{folder / key} is missing or cut off: compute the result again with --force; "
                    "if it was moved, 'forebay tier scan --repair' finds it"
                )
        content = record.to_json()
        key = f"{VOLUMES}/{volume}/{RECORD}"
        path = folder / key
        with durable.storage_errors(str(path)):
            durable.make_folders(path.parent)
            durable.replace(path.with_name(f"{RECORD}.partial"), path, content)
        objects[key] = KnownObject(len(content), str(blake3(content).hexdigest()))
        found = RunRecord(
            run_id=volume,
            name=name,
            home=str(folder),
            bytes=sum(each.bytes for each in objects.values()),
            objects=len(objects),
            closed_at=max(each.published_at for each in record.units),
            read_at=_read_at(folder),
            kind=Kind.RESULT,
        )
        return found, objects


def _replaced(volume: RunRecord, record: ResultRecord) -> bool:
    """Tell whether other parts are published in the place of all that a volume holds.

    A ledger that was lost, and of which a part was computed anew, does not know of all.
    """
    told = _record(Path(volume.home), volume)
    answered = {(each.start, each.y, each.x) for each in record.units}
    return told is not None and all((x.start, x.y, x.x) in answered for x in told.units)


def _remove_unfinished(folder: Path, known: Collection[str]) -> None:
    """Remove what was written of volumes before the process was killed that made them."""
    for path in (folder / VOLUMES).iterdir():
        if (
            path.is_dir()
            and path.name not in known
            and not (folder / of_volume(path.name)).exists()
        ):
            shutil.rmtree(path, ignore_errors=True)


def _record(home: Path, volume: RunRecord) -> ResultRecord | None:
    """Return what a volume tells of itself at home, where it does."""
    path = home / VOLUMES / volume.run_id / RECORD
    try:
        return ResultRecord.from_json(path.read_bytes(), where=str(path))
    except FileNotFoundError:
        return None


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _read_at(folder: Path) -> int:
    """Return when a result was last opened, as far as the file system writes it down."""
    try:
        status = (folder / DESCRIPTION).stat()
    except OSError:
        return 0
    return max(status.st_atime_ns, status.st_mtime_ns)
