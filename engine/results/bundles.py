"""Results that are handed over: what goes along with a run, and taking it into a ledger elsewhere."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from blake3 import blake3

from forebay.acquisition import durable
from forebay.engine.errors import ResultDamagedError, ResultNotFoundError
from forebay.engine.queue.database import Database
from forebay.engine.queue.published import PublishedUnit, ResultRecord, enter, published
from forebay.engine.results.files import MANIFEST, PartFiles
from forebay.engine.results.folder import PARTS, ResultFolder, part_name
from forebay.tiering.handoff.results import ResultContents
from forebay.tiering.reading.signpost import KnownObject

RECORD = "result.json"
"""What the ledger knows of the parts, in the bundle's folder of a result."""

type Files = Mapping[str, Callable[[], Iterator[bytes]]]
"""Gives the bytes of each file by its path; they are compared with their digest on the way."""


def contents_of_result(folder: Path) -> ResultContents:
    """Return what is handed over of a result: its parts, and what the ledger knows of them.

    Parameters
    ----------
    folder
        The folder of the result; its parts are read from whichever tier they lie in.

    Raises
    ------
    ResultNotFoundError
        If there is no result, or nothing of it is published.
    ResultDamagedError
        If a part is missing or has changed; or, as it is read, one of its files.
    """
    result = ResultFolder(folder)
    identity = result.job_identity()
    if identity is None:
        raise ResultNotFoundError(f"{folder} is not a result: it has no result.json")
    with Database(result.ledger, create=False) as database:
        record = published(database, identity)
    if record is None or not record.units:
        raise ResultNotFoundError(f"of {folder} nothing is published that could be handed over")
    told = record.to_json()
    objects = {RECORD: KnownObject(len(told), str(blake3(told).hexdigest()))}
    for unit in record.units:
        files = PartFiles(result.parts / unit.part).objects(unit.part_blake3)
        objects |= {f"{PARTS}/{unit.part}/{name}": known for name, known in files.items()}

    def bytes_of(key: str) -> bytes:
        if key == RECORD:
            return told
        part, _, name = key.removeprefix(f"{PARTS}/").partition("/")
        return PartFiles(result.parts / part).read(name, objects[key].blake3)

    return ResultContents(folder.name, record.job.run_id, objects, bytes_of)


def files_of(contents: ResultContents) -> Mapping[str, Callable[[], bytes]]:
    """Return what gives the bytes of each file of a result, by ``RESULT/PATH``."""
    return {f"{contents.name}/{key}": partial(contents.read, key) for key in contents.objects}


@dataclass(frozen=True, slots=True)
class LedgerElsewhere:
    """The ledger of the place that results are sent to, and the folder of its results."""

    ledger: Path | str
    """The ledger: a path, or the URL of a database."""
    results: Path
    """The folder of all results there."""
    run_id: str
    """The run that came with them."""
    run: str
    """Where that lies there."""

    def has(self, result: ResultContents) -> bool:
        """Tell whether everything of a result is entered."""
        record = ResultRecord.from_json(result.read(RECORD), where=result.name)
        if isinstance(self.ledger, Path) and not self.ledger.exists():
            return False
        with Database(self.ledger) as database:
            known = {each.unit for each in _known(database, record.job.identity)}
        return known >= {each.unit for each in record.units}

    def enter(self, files: Files) -> None:
        """Take a result in; what is there already stays."""
        with Database(self.ledger) as database:
            take_in_bundled(
                files,
                where=self.run,
                run_id=self.run_id,
                run=self.run,
                results=self.results,
                ledger=database,
            )


def take_in_bundled(
    files: Files,
    *,
    where: str,
    run_id: str,
    run: str,
    results: Path,
    ledger: Database,
) -> list[Path]:
    """Put the results of a bundle among others and enter them in a ledger; return their folders.

    Whatever of them is there already stays as it is, so that this may be done twice, also after it
    was interrupted at any point.

    Parameters
    ----------
    files
        The files, by ``RESULT/PATH``.
    where
        The bundle, for messages.
    run_id
        The run that came with them.
    run
        Where that lies now.
    results
        The folder of all results.
    ledger
        The ledger.

    Raises
    ------
    ResultDamagedError
        If they are not as they were published, or those of another run.
    ResultLedgerError
        If a result is entered in another ledger already.
    """
    taken = []
    for name in sorted({path.partition("/")[0] for path in files}):
        told = f"{where}: {name}/{RECORD}"
        if f"{name}/{RECORD}" not in files:
            raise ResultDamagedError(f"{told} is missing, which says what the parts are")
        record = ResultRecord.from_json(_content(files, f"{name}/{RECORD}"), where=told)
        if record.job.run_id != run_id:
            raise ResultDamagedError(f"{told} is of the run {record.job.run_id}, not of {run_id}")
        job, record = record.job, replace(record, location=run)
        folder = ResultFolder.of(results, job)
        folder.check(job, ledger=ledger.name)
        with folder.session() as staging:
            folder.describe(job, staging, ledger=ledger.name)
            here = {each.unit for each in _known(ledger, job.identity)}
            units = [
                _staged(files, f"{name}/{PARTS}/{each.part}", each, staging, where=where)
                for each in record.units
                if each.unit not in here
            ]
            folder.take_in(staging, [each.part for each in units])
            named = enter(ledger, replace(record, units=tuple(units)), folder=folder.path)
            for each in units:
                if each.part not in named:
                    folder.discard(each.part)
        taken.append(folder.path)
    return taken


def _known(ledger: Database, result: str) -> list[PublishedUnit]:
    record = published(ledger, result)
    return [] if record is None else list(record.units)


def _staged(
    files: Files, below: str, unit: PublishedUnit, staging: Path, *, where: str
) -> PublishedUnit:
    """Put a part where parts are made, under a name that no other one has; return its unit."""
    manifest = _content(files, f"{below}/{MANIFEST}") if f"{below}/{MANIFEST}" in files else b""
    name = part_name(unit.label, unit.unit, staging)
    target = staging / name
    target.mkdir()
    folders = {target}
    _, digest = durable.write_aside(target / MANIFEST, [manifest])
    if digest != unit.part_blake3:
        raise ResultDamagedError(f"{where}: {below}/{MANIFEST} is missing, or of another part")
    for file, known in json.loads(manifest)["files"].items():
        path = target / PurePosixPath(file)
        if f"{below}/{file}" not in files or target not in path.parents:
            raise ResultDamagedError(f"{where}: {below}/{file} is missing")
        path.parent.mkdir(parents=True, exist_ok=True)
        _, digest = durable.write_aside(path, files[f"{below}/{file}"]())
        if digest != known["blake3"]:
            raise ResultDamagedError(f"{where}: {below}/{file} has changed since it was published")
        folders.update(path.parents[: len(PurePosixPath(file).parents)])
    for each in folders:
        durable.flush_folder(each)
    return replace(unit, part=name)


def _content(files: Files, path: str) -> bytes:
    return b"".join(files[path]())
