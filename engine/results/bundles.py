"""Results in bundles: what goes along with a run, and taking it into a ledger elsewhere."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from forebay.acquisition import durable
from forebay.engine.errors import ResultDamagedError, ResultNotFoundError
from forebay.engine.queue.database import Database
from forebay.engine.queue.published import PublishedUnit, ResultRecord, enter, published
from forebay.engine.results.files import MANIFEST, PartFiles
from forebay.engine.results.folder import PARTS, ResultFolder, part_name

RECORD = "result.json"
"""What the ledger knows of the parts, in the bundle's folder of a result."""

type Files = Mapping[str, Callable[[], Iterator[bytes]]]
"""Gives the bytes of each file by its path; they are compared with their digest on the way."""


def files_of_result(folder: Path) -> Mapping[str, Callable[[], bytes]]:
    """Return what goes into a bundle of a result: its parts, and what the ledger knows of them.

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
    files: dict[str, Callable[[], bytes]] = {f"{folder.name}/{RECORD}": record.to_json}
    for unit in record.units:
        part = PartFiles(result.parts / unit.part)
        known = {MANIFEST: unit.part_blake3, **part.digests(unit.part_blake3)}
        for name, digest in known.items():
            path = f"{folder.name}/{PARTS}/{unit.part}/{name}"
            files[path] = lambda part=part, name=name, digest=digest: part.read(name, digest)  # type: ignore[misc]
    return files


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
