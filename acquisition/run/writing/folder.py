"""The folder of a run: made whole or not at all, shown to readers, tidied after a dead writer."""

import errno
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.errors import RunExistsError
from forebay.acquisition.format import layout
from forebay.acquisition.format.layout import COORDINATES, FRAMES, METADATA, RunLayout
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.run.lock import WriterLock
from forebay.acquisition.storage import folder as storage

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def check_free(path: Path) -> None:
    """Refuse a path at which no run can be made.

    Raises
    ------
    RunExistsError
        If there is something, or the path leads into another run.
    """
    if path.exists() or path.is_symlink():
        raise RunExistsError(
            f"{path} exists already: give the run another name, or remove what is there"
        )
    for above in path.parents:
        if (above / layout.LOG).is_dir():
            raise RunExistsError(f"{path} would lie inside the run {above}: choose another folder")


def make_folder(path: Path, run: RunLayout, first_lines: bytes) -> WriterLock:
    """Make the folder of a run aside, lock it, and give it its name when it is whole."""
    durable.make_folders(path.parent)
    aside = path.parent / f".{path.name}.{run.run_id}"
    lock = None
    try:
        _fill(aside, run, first_lines)
        lock = WriterLock(aside / layout.LOCK, run=path)
        durable.flush_folder(aside / layout.CONTROL)
        _give_name(aside, path)
    except BaseException:
        if lock:
            lock.release()
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return lock


def _give_name(aside: Path, path: Path) -> None:
    try:
        aside.rename(path)
    except OSError as error:
        if error.errno in _TAKEN:
            raise RunExistsError(f"{path} exists already: give the run another name") from error
        raise
    durable.flush_folder(path.parent)


def _fill(folder: Path, run: RunLayout, first_lines: bytes) -> None:
    below = [layout.CONTROL, layout.LOG, layout.ASIDE, *COORDINATES, FRAMES]
    folder.mkdir()
    for name in below:
        (folder / name).mkdir()
    for key, document in documents(run, 0).items():
        durable.write_aside(folder / key, [document])
    # By a link, as every object later: where that cannot be, no run is made.
    durable.write_aside(folder / layout.ASIDE / "log", [first_lines])
    durable.publish(folder / layout.ASIDE / "log", folder / log_key(1))
    for name in below:
        durable.flush_folder(folder / name)
    durable.flush_folder(folder)


def show(path: Path, run: RunLayout, frames: int) -> None:
    """Show the committed frames to readers that know nothing of the log."""
    storage.show(path, documents(run, frames))


def quarantine(path: Path, run: RunLayout, *, blocks: Sequence[int], epoch: int) -> None:
    """Move the objects that a dead writer wrote and did not commit out of the way."""
    durable.make_folders(path / layout.ASIDE)
    for left in (path / layout.ASIDE).iterdir():
        left.unlink()
    for number in blocks:
        storage.put_aside(path, run.object_keys(number), epoch=epoch)


def documents(run: RunLayout, frames: int) -> dict[str, bytes]:
    """Return every ``zarr.json`` of a run in the order in which they are to be written.

    The group comes last: where it says that frames are there, all arrays have them.
    """
    arrays = run.array_documents(frames)
    content = {f"{name}/{METADATA}": document for name, document in arrays.items()}
    content[METADATA] = run.group_document(frames)
    return {key: json.dumps(document).encode() for key, document in content.items()}
