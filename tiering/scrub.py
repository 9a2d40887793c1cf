"""Reading copies through, so that silent damage is found while there is another copy."""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forebay.acquisition.format.layout import METADATA
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord, ShelfRecord
from forebay.tiering.errors import ArchivedError, CopyDamagedError, TieringError
from forebay.tiering.homes.home import home_of
from forebay.tiering.moving.archives import Archives
from forebay.tiering.moving.manifest import manifest, read_manifest
from forebay.tiering.moving.throttle import Throttle
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import MANIFEST
from forebay.tiering.storage.shelf import Shelf, unhindered
from forebay.tiering.storage.tiers import Tiers

_log = logging.getLogger("forebay.tiering")
_BLOCK = re.compile(r"[a-z_]+/c\.(\d+)")


@dataclass(slots=True)
class Scrubbed:
    """What reading copies through has found."""

    copies: int = 0
    """Copies that were read."""
    bytes: int = 0
    """Bytes that were read."""
    put_right: list[str] = field(default_factory=list)
    """Objects that were damaged and are whole again."""
    lost: list[str] = field(default_factory=list)
    """Objects that no copy has whole, with the frames that they hold."""
    put_away: list[str] = field(default_factory=list)
    """Copies in archives, of which only the lengths of objects were compared."""
    unreachable: list[str] = field(default_factory=list)
    """Copies that could not be read, and why."""

    def was_put_right(self, what: str) -> None:
        """Note it, and log it at once: to read all of a laboratory may take weeks."""
        self.put_right.append(what)
        _log.warning("damaged object put right", extra={"object": what})

    def is_lost(self, what: str) -> None:
        """Note it, and log it at once."""
        self.lost.append(what)
        _log.error("damaged object that no copy has whole", extra={"object": what})


def scrub(
    catalogue: Catalogue,
    tiers: Tiers,
    runs: Sequence[RunRecord],
    *,
    bytes_per_second: float | None = None,
    on_copy: Callable[[RunRecord, ShelfRecord], None] = lambda _run, _shelf: None,
) -> Scrubbed:
    """Read every copy of some runs, and put right what is damaged from another copy.

    A copy that is whole counts as verified from then on, one that is not no more.  Those that were
    verified longest ago are read first: so one that was killed goes on with what it has not read.
    What movers give up meanwhile is passed over.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    runs
        The runs.
    bytes_per_second
        Most bytes that are read in a second; as many as can be if not given.
    on_copy
        Called before each copy.
    """
    found = Scrubbed()
    throttle = Throttle(bytes_per_second)

    def passing(count: int) -> None:
        found.bytes += count
        throttle(count)

    copies = [(run, shelf) for run in runs for shelf in catalogue.shelves(run.run_id)]
    for run, shelf in sorted(copies, key=lambda each: each[1].verified_at or 0):
        if not catalogue.is_read(shelf.shelf):
            continue
        on_copy(run, shelf)
        try:
            if tiers[shelf.tier].specification.recall is not None:
                _compare_lengths(catalogue, tiers, run, shelf, found)
                continue
            whole = _scrub_copy(catalogue, tiers, run, shelf, passing, found)
        except _GivenUpError:
            continue
        except TieringError as error:
            found.unreachable.append(" ".join(str(error).split()))
            continue
        found.copies += 1
        (catalogue.verified if whole else catalogue.doubted)(shelf.shelf)
    return found


class _GivenUpError(Exception):
    """A mover deletes the copy: what it lacks is not missing."""


def _check_read(catalogue: Catalogue, shelf: ShelfRecord) -> None:
    if not catalogue.is_read(shelf.shelf):
        raise _GivenUpError


def _compare_lengths(
    catalogue: Catalogue, tiers: Tiers, run: RunRecord, shelf: ShelfRecord, found: Scrubbed
) -> None:
    """Look whether a copy in an archive has all its objects, as far as can be told from outside."""
    there = shelf_of_copy(catalogue, tiers, shelf)
    sizes = there.sizes()
    whole = True
    for key, known in catalogue.objects(run.run_id).items():
        if sizes.get(key) == known.bytes:
            continue
        if _put_right(catalogue, tiers, run, shelf, key, known):
            sizes = shelf_of_copy(catalogue, tiers, shelf).sizes()
            found.was_put_right(f"{there.where}/{key}")
        else:
            whole = False
            found.is_lost(f"{there.where}/{key}{_frames(catalogue, run, key)}")
    with contextlib.suppress(ArchivedError):
        _put_manifest_right(catalogue, tiers, shelf, there, found)
    if whole:
        found.put_away.append(there.where)
    else:
        catalogue.doubted(shelf.shelf)


def _scrub_copy(
    catalogue: Catalogue,
    tiers: Tiers,
    run: RunRecord,
    shelf: ShelfRecord,
    passing: Callable[[int], None],
    found: Scrubbed,
) -> bool:
    there = shelf_of_copy(catalogue, tiers, shelf)
    whole = True
    looked: dict[str, KnownObject | None] = {}
    for key, known in catalogue.objects(run.run_id).items():
        if key not in looked:
            looked |= there.look_along(key, passing=passing)
        if looked.pop(key) == known:
            continue
        if _put_right(catalogue, tiers, run, shelf, key, known):
            there = shelf_of_copy(catalogue, tiers, shelf)
            looked |= there.look_along(key)
            found.was_put_right(f"{there.where}/{key}")
        else:
            whole = False
            found.is_lost(f"{there.where}/{key}{_frames(catalogue, run, key)}")
    _put_manifest_right(catalogue, tiers, shelf, there, found)
    return whole


def _put_manifest_right(
    catalogue: Catalogue, tiers: Tiers, shelf: ShelfRecord, there: Shelf, found: Scrubbed
) -> None:
    """Put the manifest of a copy anew where it says anything else than the catalogue.

    Nobody reads it as long as there is a catalogue, and one that is lost is built from it.
    """
    if shelf.home:
        return
    content = manifest(catalogue, shelf)
    where = f"{there.where}/{MANIFEST}"
    with contextlib.suppress(CopyDamagedError):
        if read_manifest(there.read(MANIFEST) or b"", where=where) == read_manifest(
            content, where=where
        ):
            return
    _check_read(catalogue, shelf)
    there.put(MANIFEST, content)
    Archives(catalogue, tiers, reached=lambda _: None).put_away(shelf, (), unhindered)
    found.was_put_right(where)


def _put_right(
    catalogue: Catalogue,
    tiers: Tiers,
    run: RunRecord,
    shelf: ShelfRecord,
    key: str,
    known: KnownObject,
) -> bool:
    """Put an object of a copy right from another copy; tell whether one had it whole.

    Raises
    ------
    _GivenUpError
        If it is no copy any more.
    """
    _check_read(catalogue, shelf)
    there = shelf_of_copy(catalogue, tiers, shelf)
    for other in catalogue.shelves(run.run_id):
        if other.shelf == shelf.shelf or other.state not in READABLE:
            continue
        source = shelf_of_copy(catalogue, tiers, other)
        # One that does not answer, or is damaged as well, is passed over for the next one.
        with contextlib.suppress(TieringError):
            if source.look(key) == known:
                with home_of(tiers, run).held() if shelf.home else contextlib.nullcontext():
                    # Reading the source took long, and nothing may come back that was deleted.
                    _check_read(catalogue, shelf)
                    came = there.copy(key, known, source)
                if came.pack is not None:
                    catalogue.packed(shelf.shelf, came.pack)
                    there = shelf_of_copy(catalogue, tiers, shelf)
                right = there.look_along(key)[key] == known
                if right:
                    archives = Archives(catalogue, tiers, reached=lambda _: None)
                    archives.put_away(shelf, [key], unhindered)
                return right
    return False


def _document(catalogue: Catalogue, run: RunRecord) -> bytes | None:
    """Return what says how long blocks are, which stays with the run, wherever a volume is."""
    for each in (run, *catalogue.at(run.home)):
        if (known := catalogue.documents(each.run_id).get(METADATA)) is not None:
            return known
    path = Path(run.home, METADATA)
    return path.read_bytes() if run.kind is Kind.BLOCKS and path.is_file() else None


def _frames(catalogue: Catalogue, run: RunRecord, key: str) -> str:
    """Return which frames an object holds, for a message."""
    block = _BLOCK.match(key)
    document = _document(catalogue, run)
    if block is None or document is None:
        return ""
    length = int(json.loads(document)["attributes"]["forebay"]["frames_per_block"])
    first = int(block[1]) * length
    return f" (frames {first} to {first + length - 1} at the most)"
