"""What a run in its folder consists of: the objects that are moved, and what each is."""

import contextlib
import os
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from zarr.storage import LocalStore

from forebay.acquisition import Run
from forebay.acquisition import open_run as open_in_folder
from forebay.acquisition.format import layout
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.reading.block_volumes import BLOCK_VOLUMES
from forebay.tiering.reading.signpost import HOME_LOCK, SIGNPOST, VOLUMES, KnownObject

STAYING = f"{layout.CONTROL}/"
"""What lies below it is copied with a run, and stays in its folder too when the rest goes."""
STAYING_AT_HOME = (STAYING, f"{VOLUMES}/")
"""The same, of runs and of volumes of results."""
MANIFEST = f"{layout.CONTROL}/copy.json"
"""What says of a copy in a tier that it is whole, and of what."""

HANDOFF = f"{layout.CONTROL}/handoff/"
"""What lies below it says where a run was sent to, or came from."""

_OF_THIS_PLACE = (SIGNPOST, HOME_LOCK, MANIFEST, layout.LOCK)
_ASIDE = (f"{layout.ASIDE}/", f"{layout.JOURNAL}/", f"{BLOCK_VOLUMES}/", HANDOFF)
_BESIDE = re.compile(r".*(\.mending|\.partial|#\d+)$")


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects of a closed run."""

    run: Run
    """The run."""
    objects: Mapping[str, KnownObject]
    """What each object is, by its key."""
    documents: Mapping[str, bytes]
    """Those of them that are documents."""
    missing: tuple[str, ...]
    """Objects that the log tells of and that are not in the folder, or cut off there."""

    @property
    def bytes(self) -> int:
        """Length of all of them."""
        return sum(each.bytes for each in self.objects.values())


def take_stock(folder: Path, *, apart: Container[str] = ()) -> Inventory:
    """Look through the folder of a closed run that was not moved since it was closed.

    Of the blocks, the log says what they are; they are not read here.  Documents and logs are.

    Parameters
    ----------
    folder
        The folder.
    apart
        Keys of objects that were moved by themselves, while the run was open.

    Raises
    ------
    RunNotTieredError
        If it is open, or holds something that belongs to no run.
    RunNotFoundError, RunDamagedError
        If it is no run, or its log has changed.
    """
    # Looking through a run is not reading it: the time of its last reading stays.
    log = folder / layout.LOG
    times = {each: each.stat() for each in log.iterdir()} if log.is_dir() else {}
    try:
        run = open_in_folder(LocalStore(folder, read_only=True))
        return _stock_of(run, folder, apart)
    finally:
        # Only their owner may set them; for others it counts as a reading.
        with contextlib.suppress(PermissionError):
            for path, status in times.items():
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _stock_of(run: Run, folder: Path, apart: Container[str]) -> Inventory:
    if not run.closed:
        raise RunNotTieredError(
            f"{folder} is not closed: as a whole it is moved when nothing is added to it any more; "
            "'forebay runs close' ends one whose writer is gone"
        )
    blocks = {
        stored.key: KnownObject(stored.bytes, stored.blake3)
        for block in run.blocks
        for stored in block.objects
        if stored.key not in apart
    }
    frames = run.history.frames
    documents = {layout.METADATA: run.layout.group_document(frames)}
    for name, document in run.layout.array_documents(frames).items():
        documents[f"{name}/{layout.METADATA}"] = document
    contents: dict[str, bytes] = {}
    others: dict[str, KnownObject] = {}
    there = set()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise RunNotTieredError(f"{path} is a link, which no run has: remove it")
        if not path.is_file():
            continue
        key = path.relative_to(folder).as_posix()
        if key in blocks:
            # Of an object that was moved, nothing but its name may be left.
            if path.stat().st_size == blocks[key].bytes:
                there.add(key)
            continue
        there.add(key)
        if key in apart or of_this_place(key):
            continue
        if key not in documents and not key.startswith(STAYING):
            raise RunNotTieredError(
                f"{path} belongs to no run: put it elsewhere, and move the run then"
            )
        content = path.read_bytes()
        others[key] = KnownObject(len(content), str(blake3(content).hexdigest()))
        if key in documents:
            contents[key] = content
    known = {**blocks, **others}
    missing = tuple(key for key in (*blocks, *documents) if key not in there)
    return Inventory(run, known, contents, missing)


def of_this_place(key: str) -> bool:
    """Tell whether something in a run's folder concerns that folder only, and is never copied."""
    return key in _OF_THIS_PLACE or key.startswith(_ASIDE) or _BESIDE.match(key) is not None


def read_at(folder: Path) -> int:
    """Return when a run was last opened, by the times of its first log.

    File systems write that down once a day, and some never: then it is when the log was written.
    """
    log = folder / layout.LOG / "00000001.log"
    try:
        status = log.stat()
    except OSError:
        return 0
    return max(status.st_atime_ns, status.st_mtime_ns)
