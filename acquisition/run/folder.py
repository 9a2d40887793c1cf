"""The folder of a run: made whole or not at all, and tidied after a writer that died."""

import json
import logging
from pathlib import Path


from forebay.acquisition import durable
from forebay.acquisition.errors import RunExistsError, RunNotFoundError
from forebay.acquisition.format import layout
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout, parse_document
from forebay.acquisition.run.lock import WriterLock

_log = logging.getLogger("forebay.acquisition")


def read_layout(path: Path) -> RunLayout:
    """Read the layout of the run in a folder.

    Raises
    ------
    RunNotFoundError
        If there is no run.
    """
    document = path / layout.METADATA
    if not (path / layout.LOG).is_dir() or not document.is_file():
        raise RunNotFoundError(f"{path} is not a run: it has no {layout.LOG}")
    content = parse_document(document.read_bytes(), where=str(path))
    return RunLayout.from_document(content, where=str(path))


def make_folder(path: Path, run: RunLayout) -> WriterLock:
    """Make the folder of a run aside and give it its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{run.run_id}"
    documents = {
        layout.METADATA: run.group_document(0),
        **{
            f"{name}/{layout.METADATA}": document
            for name, document in run.array_documents(0).items()
        },
    }
    folders = [layout.LOG, layout.TEMPORARY, *COORDINATES, FRAMES]
    for folder in folders:
        (aside / folder).mkdir(parents=True)
    for key, document in documents.items():
        durable.write_aside(aside / key, [json.dumps(document).encode()])
    for folder in folders:
        durable.flush_folder(aside / folder)
    durable.flush_folder(aside)
    lock = WriterLock(aside / layout.LOCK, run=path)
    try:
        aside.rename(path)
    except OSError as error:
        lock.release()
        raise RunExistsError(f"{path} exists already: give the run another name") from error
    durable.flush_folder(path.parent)
    return lock


def quarantine(path: Path, run: RunLayout, *, blocks: int, epoch: int) -> None:
    """Move the objects that a dead writer wrote and did not commit out of the way."""
    for temporary in (path / layout.TEMPORARY).iterdir():
        temporary.unlink()
    following = run.object_keys(blocks)
    for key in following:
        if (path / key).exists():
            folder = path / layout.QUARANTINE / f"{epoch:08d}"
            folder.mkdir(parents=True, exist_ok=True)
            (path / key).rename(folder / key.replace("/", "."))
            durable.flush_folder(folder)
            durable.flush_folder((path / key).parent)
            _log.warning("uncommitted object put aside", extra={"run": run.name, "object": key})
