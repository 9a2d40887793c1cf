"""Comparing the catalogue with what lies in the tiers, and building it anew from there."""

import logging
from collections.abc import Collection, Container
from dataclasses import dataclass, field, replace
from pathlib import Path

from forebay.acquisition.errors import StorageError
from forebay.acquisition.format.layout import METADATA
from forebay.errors import ForebayError
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.held import SHELVES_FOLDER
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord, ShelfRecord, ShelfState
from forebay.tiering.errors import (
    ArchivedError,
    CopyDamagedError,
    PlaceUnavailableError,
    RunNotTieredError,
    TieringError,
    UnknownRunError,
)
from forebay.tiering.homes.finding import homes_in
from forebay.tiering.homes.home import Home, home_at, home_of
from forebay.tiering.homes.mending import lost_at_home, put_back_at_home
from forebay.tiering.moving.manifest import Manifest, read_manifest
from forebay.tiering.moving.signposting import put_signpost
from forebay.tiering.moving.taking_in import check_not_left, home_shelf, known_at, take_in
from forebay.tiering.packing.packed_shelf import lengths_in, manifest_in_pack
from forebay.tiering.reading.block_volumes import blocks_of_volume
from forebay.tiering.reading.signpost import SIGNPOST
from forebay.tiering.storage.inventory import MANIFEST, stays_at_home
from forebay.tiering.storage.tiers import Tier, Tiers

_log = logging.getLogger("forebay.tiering")


@dataclass(slots=True)
class Findings:
    """What a scan has found."""

    taken_in: list[str] = field(default_factory=list)
    """Runs and copies that the catalogue did not know."""
    not_whole: list[str] = field(default_factory=list)
    """Copies that lack objects, or that are not there."""
    left_over: list[str] = field(default_factory=list)
    """What lies in a tier and belongs to no copy."""
    passed_over: list[str] = field(default_factory=list)
    """Runs that cannot be moved, and why."""

    @property
    def agrees(self) -> bool:
        """Whether the catalogue says what the tiers hold."""
        return not (self.taken_in or self.not_whole or self.left_over)


def scan(catalogue: Catalogue, tiers: Tiers, *, repair: bool) -> Findings:
    """Look through all tiers; with `repair`, make the catalogue say what is there.

    Copies that the catalogue learns of in this way count as verified only when they have been
    read through: until then nothing is deleted for their sake.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    repair
        Whether to take in what is found, delete what belongs to no copy, and put signposts.

    Raises
    ------
    PlaceUnavailableError
        If a tier cannot be read: then nothing has changed.
    """
    found = Findings()
    # All are read before anything is changed: a tier that does not answer is not an empty one.
    contents = {tier.name: _copies_in(tier) for tier in tiers}
    homes = [home for tier in tiers for home in homes_in(tier)]
    for tier in tiers:
        _scan_copies(catalogue, tiers, tier, contents[tier.name], found, repair=repair)
    for home in homes:
        _scan_home(catalogue, tiers, home, found, repair=repair)
    _check_known(catalogue, tiers, contents, found)
    # What a volume's home lacks, that of its run may have put back there.
    for run in sorted(catalogue.runs(), key=lambda each: each.kind is Kind.BLOCKS):
        _check_home(catalogue, tiers, run, found, repair=repair)
    return found


def take_in_runs(
    catalogue: Catalogue,
    tiers: Tiers,
    *,
    open_runs: Container[Path | str] = (),
    avoided: Collection[str] = (),
) -> list[str]:
    """Take in the closed runs that were recorded into tiers; return which cannot be, and why.

    What has come to tiers in other ways is not looked at.

    Parameters
    ----------
    catalogue
        The catalogue.
    tiers
        The tiers.
    open_runs
        Folders and URLs of runs that are still open, which are passed over.
    avoided
        Names of tiers that are left alone.
    """
    found = Findings()
    known: dict[str, list[RunRecord]] = {}
    closed = set()
    left = {x.run_id for x in catalogue.shelves() if x.home and x.state is ShelfState.DELETED}
    for run in catalogue.runs():
        known.setdefault(run.home, []).append(run)
        if run.kind is Kind.RAW:
            closed.add(run.home)
    for tier in tiers:
        if tier.name in avoided:
            continue
        try:
            homes = list(homes_in(tier, known=known))
        except PlaceUnavailableError as error:
            if tier.folder is not None:
                raise
            # A bucket that does not answer must not keep others from being freed.
            found.passed_over.append(str(error))
            continue
        for home in homes:
            if str(home) not in closed:
                if home not in open_runs:
                    _scan_home(catalogue, tiers, home, found, repair=True)
                continue
            if isinstance(home, Path):
                if (home / METADATA).exists() and not left.isdisjoint(
                    x.run_id for x in known[str(home)] if x.kind is Kind.RAW
                ):
                    # The folder of a run that was moved shows no frames; one may be there anew.
                    _scan_home(catalogue, tiers, home, found, repair=False)
                    continue
                if any(run.kind is Kind.BLOCKS for run in known[str(home)]):
                    # Of those, some may have come home.
                    take_in(catalogue, tiers, home)
                seen = home_at(tiers, home).read_at()
                for run in known[str(home)]:
                    if seen > run.read_at:
                        catalogue.saw(run.run_id, read_at=seen)
    return found.passed_over


type Contents = dict[tuple[str, str], dict[str, int]]
"""The lengths of objects by their keys, for each copy: its run and its identity."""


def _copies_in(tier: Tier) -> Contents:
    copies: Contents = {}
    if tier.folder is not None and not tier.folder.is_dir():
        raise PlaceUnavailableError(f"tier {tier.name!r}: there is no folder {tier.folder}")
    for path, size in tier.shelf(SHELVES_FOLDER).sizes().items():
        run_id, _, rest = path.partition("/")
        shelf, _, key = rest.partition("/")
        copies.setdefault((run_id, shelf), {})[key] = size
    return copies


def _scan_copies(
    catalogue: Catalogue,
    tiers: Tiers,
    tier: Tier,
    contents: Contents,
    found: Findings,
    *,
    repair: bool,
) -> None:
    known = {each.shelf: each for each in catalogue.shelves()}
    for (run_id, name), sizes in contents.items():
        where = tier.where(f"{SHELVES_FOLDER}/{run_id}/{name}")
        if name in known:
            continue
        shelf = tier.shelf(f"{SHELVES_FOLDER}/{run_id}/{name}")
        try:
            content = shelf.read(MANIFEST) if MANIFEST in sizes else manifest_in_pack(shelf, sizes)
            manifest = None if content is None else read_manifest(content, where=where)
        except (CopyDamagedError, ArchivedError) as error:
            found.not_whole.append(str(error))
            continue
        if manifest is None or (manifest.run.run_id, manifest.shelf) != (run_id, name):
            # A file that lies where copies have their folders is none of a mover's.
            sizes = sizes if "" in sizes else shelf.sizes()
            if not sizes:
                # A mover has deleted it since the tier was listed.
                continue
            found.left_over.append(f"{where}: {len(sizes)} objects of no copy")
            if repair and _was_a_copy(catalogue, run_id, name):
                shelf.delete(list(sizes))
                shelf.remove_folders()
            continue
        if (other := _holding_the_same(catalogue, manifest)) is not None:
            found.left_over.append(f"{where}: blocks that {other.shown} holds as well")
            continue
        if lacking := _lacking(manifest, sizes):
            found.not_whole.append(f"{where}/{lacking[0]}: missing, or of another length")
            continue
        found.taken_in.append(where)
        if repair:
            if MANIFEST not in sizes and content is not None:
                shelf.put(MANIFEST, content)
            _take_in_copy(catalogue, tiers, tier, manifest, sizes)


def _holding_the_same(catalogue: Catalogue, manifest: Manifest) -> RunRecord | None:
    """Return what has blocks in common with a volume that is found, and is not that volume.

    That comes from a catalogue that was lost, and begun anew without looking into the tiers.
    """
    run = manifest.run
    if run.kind is not Kind.BLOCKS:
        return None
    blocks = blocks_of_volume(run.run_id)
    for each in catalogue.at(run.home):
        if each.kind is Kind.BLOCKS and each.run_id != run.run_id:
            known = blocks_of_volume(each.run_id)
            if known.start < blocks.stop and blocks.start < known.stop:
                return each
        if each.kind is Kind.RAW and not manifest.objects.keys().isdisjoint(
            catalogue.objects(each.run_id)
        ):
            return each
    return None


def _was_a_copy(catalogue: Catalogue, run_id: str, name: str) -> bool:
    """Tell whether a mover has put it there: nothing is deleted that somebody else has put."""
    try:
        catalogue.run(run_id)
    except UnknownRunError:
        return False
    return len(name) == 32 and name.isalnum()


def _lacking(manifest: Manifest, sizes: dict[str, int]) -> list[str]:
    there = lengths_in(manifest.packs, manifest.objects, sizes)
    return [key for key, each in manifest.objects.items() if there.get(key) != each.bytes]


def _take_in_copy(
    catalogue: Catalogue, tiers: Tiers, tier: Tier, manifest: Manifest, sizes: dict[str, int]
) -> None:
    run = manifest.run
    packs = [replace(pack, bytes=sizes[pack.name]) for pack in manifest.packs]
    shelves = [
        ShelfRecord(
            shelf=manifest.shelf,
            run_id=run.run_id,
            tier=tier.name,
            path=f"{SHELVES_FOLDER}/{run.run_id}/{manifest.shelf}",
            home=False,
            state=ShelfState.AVAILABLE,
            bytes=run.bytes,
            verified_at=None,
            drain_until=None,
        )
    ]
    known_home = any(each.home for each in catalogue.shelves(run.run_id))
    in_tier = any(each.path_of(run.location) is not None for each in tiers)
    home = home_of(tiers, run) if in_tier else None
    if home is not None and _is_of_another(home):
        home = None
    # Where it is gone, and can be made anew, nothing but its name is missing yet.
    if home is not None and not known_home and (run.kind is not Kind.BLOCKS or home.is_there()):
        home_tier, path = tiers.holding(run.location)
        moving = {key: each for key, each in manifest.objects.items() if not stays_at_home(key)}
        lengths = home.lengths(moving)
        there = [key for key, each in moving.items() if lengths.get(key) == each.bytes]
        # What a mover has left of it goes when another copy was read back.
        remains = home_shelf(run, home_tier.name, path, ShelfState.STAGING)
        at_home = replace(remains, bytes=sum(lengths.values()))
        if len(there) == len(moving):
            at_home = home_shelf(run, home_tier.name, path)
        elif not there:
            at_home = replace(remains, state=ShelfState.DELETED)
        shelves.append(at_home)
    catalogue.add(run, manifest.objects, manifest.documents, shelves, {manifest.shelf: packs})
    if home is not None:
        catalogue.saw(run.run_id, read_at=home.read_at())


def _is_of_another(home: Home) -> bool:
    try:
        home.check_own()
    except RunNotTieredError:
        return True
    return False


def _scan_home(
    catalogue: Catalogue, tiers: Tiers, location: Path | str, found: Findings, *, repair: bool
) -> None:
    if (known := known_at(catalogue, tiers, location)) is not None:
        try:
            home_of(tiers, known).check_own()
        except TieringError as error:
            found.passed_over.append(str(error))
            return
        if repair:
            take_in(catalogue, tiers, location)
        return
    home = home_at(tiers, location)
    try:
        # A folder that shows its frames has them, whatever copies it had beside.
        shown = isinstance(location, Path) and home.lengths([METADATA])
        if home.is_signposted(SIGNPOST) and not shown:
            # It was moved: the copies tell of it, and none of those was there.
            if repair:
                check_not_left(catalogue, home)
                found.not_whole.append(f"{location}: its frames were moved, and no tier has them")
            return
        if repair:
            take_in(catalogue, tiers, location)
        elif not home.open().closed:
            taken = "its blocks are taken in as they come"
            when = taken if isinstance(location, Path) else "it is taken in when it is closed"
            found.passed_over.append(f"{location} is still open: {when}")
            return
        found.taken_in.append(str(location))
    except ForebayError as error:
        found.passed_over.append(str(error))


def _check_home(
    catalogue: Catalogue, tiers: Tiers, run: RunRecord, found: Findings, *, repair: bool
) -> None:
    """Look whether the home of a run with copies elsewhere has what never leaves it.

    With `repair` that is put back, and so is the signpost.
    """
    away = [
        each for each in catalogue.shelves(run.run_id) if not each.home and each.state in READABLE
    ]
    if not away:
        return
    try:
        home_of(tiers, run).check_own()
        lost = lost_at_home(tiers, run, catalogue.objects(run.run_id))
    except TieringError as error:
        if str(error) not in found.passed_over:
            found.passed_over.append(str(error))
        return
    if lost:
        if not repair:
            found.not_whole.append(f"{run.home}/{lost[0]}: missing")
            return
        try:
            put_back_at_home(catalogue, tiers, run, lost, away)
        except ArchivedError as error:
            # It comes when it is recalled, which readers are told; then the next scan puts it back.
            found.passed_over.append(f"{run.home}/{lost[0]} is missing: {error}")
        except (TieringError, StorageError) as error:
            found.passed_over.append(f"{run.home}/{lost[0]} is missing: {error}")
            return
        else:
            found.taken_in.append(f"{run.home}: put back from a copy")
    if repair:
        # What was not put back, since it has to be recalled, needs a folder for its signpost.
        home_of(tiers, run).put_back({})
        put_signpost(catalogue, tiers, run.run_id)


def _check_known(
    catalogue: Catalogue, tiers: Tiers, contents: dict[str, Contents], found: Findings
) -> None:
    """Look whether the copies that the catalogue knows are there, by their lengths."""
    for shelf in catalogue.shelves():
        if shelf.state not in READABLE:
            continue
        stored = contents[shelf.tier].get((shelf.run_id, shelf.shelf), {})
        if _lacking_of(catalogue, tiers, shelf, stored):
            # Movers go on: it may have come since its tier was listed, or have been given up.
            now = {} if shelf.home else tiers[shelf.tier].shelf(shelf.path).sizes()
            lacking = _lacking_of(catalogue, tiers, shelf, now)
            if not lacking or not catalogue.is_read(shelf.shelf):
                continue
            catalogue.doubted(shelf.shelf)
            found.not_whole.append(
                f"{tiers[shelf.tier].where(shelf.path)}/{lacking[0]}: missing, or of another length"
                + (f" (and {len(lacking) - 1} more)" if lacking[1:] else "")
            )


def _lacking_of(
    catalogue: Catalogue, tiers: Tiers, shelf: ShelfRecord, stored: dict[str, int]
) -> list[str]:
    """Return the keys that a copy lacks: at home as of now, elsewhere by what was stored there."""
    objects = catalogue.objects(shelf.run_id)
    if shelf.home:
        sizes = home_at(tiers, tiers[shelf.tier].where(shelf.path)).lengths(objects)
    else:
        sizes = lengths_in(catalogue.packs(shelf.shelf), objects, stored)
    return [key for key, each in objects.items() if sizes.get(key) != each.bytes]
