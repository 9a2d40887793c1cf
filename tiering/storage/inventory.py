"""What a run at its home consists of: the objects that are moved, and what each is."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from blake3 import blake3

from forebay.acquisition import Run
from forebay.acquisition.format import layout
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.homes.home import Home
from forebay.tiering.moving.at_once import several_at_once
from forebay.tiering.reading.block_volumes import BLOCK_VOLUMES
from forebay.tiering.reading.signpost import HOME_LOCK, SIGNPOST, VOLUMES, KnownObject

STAYING = f"{layout.CONTROL}/"
"""What lies below it is copied with a run, and stays at its home too when the rest goes."""
_STAYING_AT_HOME = (STAYING, f"{VOLUMES}/")
"""The same, of runs and of volumes of results."""
MANIFEST = f"{layout.CONTROL}/copy.json"
"""What says of a copy in a tier that it is whole, and of what."""

HANDOFF = f"{layout.CONTROL}/handoff/"
"""What lies below it says where a run was sent to, or came from."""

_OF_THIS_PLACE = (SIGNPOST, HOME_LOCK, MANIFEST, layout.LOCK)
_ASIDE = (f"{layout.ASIDE}/", f"{layout.JOURNAL}/", f"{BLOCK_VOLUMES}/", HANDOFF)
_BESIDE = re.compile(r".*(\.mending|\.partial|#\d+)$")
_ARRAYS = {layout.FRAMES, *layout.COORDINATES}
_READS_AT_ONCE = 16
"""Small objects that are read at a time: the log of a run in a bucket has one for each commit."""


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
    """Objects that the log tells of and that are not at home, or cut off there."""

    @property
    def bytes(self) -> int:
        """Length of all of them."""
        return sum(each.bytes for each in self.objects.values())


def take_stock(home: Home, *, apart: Container[str] = ()) -> Inventory:
    """Look through the home of a closed run that was not moved since it was closed.

    Of the blocks, the log says what they are; they are not read here.  Documents and logs are.

    Parameters
    ----------
    home
        The home.
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
    with home.unread():
        return _stock_of(home.open(), home, apart)


def _stock_of(run: Run, home: Home, apart: Container[str]) -> Inventory:
    if not run.closed:
        raise RunNotTieredError(
            f"{home.location} is not closed: as a whole it is moved when nothing is added to it "
            "any more; 'forebay runs close' ends one whose writer is gone"
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
    there: set[str] = set()
    others: dict[str, int] = {}
    for key, size in home.stored().items():
        if key in blocks:
            # Of an object that was moved, nothing but its name may be left.
            if size == blocks[key].bytes:
                there.add(key)
            continue
        there.add(key)
        if key in apart or of_this_place(key):
            continue
        if key in documents or key.startswith(STAYING):
            others[key] = size
        elif not (home.keeps_uncommitted and key.rpartition("/")[0] in _ARRAYS):
            raise RunNotTieredError(
                f"{home.location}/{key} belongs to no run: put it elsewhere, and move the run then"
            )
    contents = _contents(home, others)
    known = {
        **blocks,
        **{key: KnownObject(len(each), blake3(each).hexdigest()) for key, each in contents.items()},
    }
    missing = tuple(key for key in (*blocks, *documents) if key not in there)
    kept = {key: contents[key] for key in documents if key in contents}
    return Inventory(run, known, kept, missing)


def _contents(home: Home, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Return the bytes of objects that are small, in the order of their keys."""
    read = several_at_once(
        sizes.items(), lambda key, _: home.read(key) or b"", streams=_READS_AT_ONCE
    )
    found = dict(read)
    return {key: found[key] for key in sorted(found)}


def stays_at_home(key: str) -> bool:
    """Tell whether an object is copied with a run, or a volume, and stays at its home too."""
    return key.startswith(_STAYING_AT_HOME)


def of_this_place(key: str) -> bool:
    """Tell whether something at a run's home concerns that place only, and is never copied."""
    return key in _OF_THIS_PLACE or key.startswith(_ASIDE) or _BESIDE.match(key) is not None
