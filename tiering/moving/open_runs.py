"""Taking blocks of runs into the catalogue that are still being written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from zarr.storage import LocalStore

from forebay.acquisition import open_run as open_in_folder
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.history import History
from forebay.acquisition.format.record import Block
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import READABLE, Kind, RunRecord
from forebay.tiering.catalogue.volumes import Volumes
from forebay.tiering.errors import RunNotTieredError, TieringError
from forebay.tiering.moving.taking_in import home_shelf, take_in
from forebay.tiering.reading.block_volumes import (
    BLOCK_VOLUMES,
    blocks_of_signpost,
    blocks_of_volume,
    volume_of,
)
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.specification import TieringSettings
from forebay.tiering.storage.tiers import Tier, Tiers

_PARTS = 4
"""Volumes that freeing a tier takes at the least, so that no more goes than has to."""


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """Makes volumes of the blocks of open runs, all but the newest.

    A block that is committed never changes, so neither does a volume: in the catalogue it is what
    a run is.  The recorder knows nothing of it.  It appends to its log, and needs none of the
    blocks that it has committed.
    """

    catalogue: Catalogue
    """The catalogue."""
    tiers: Tiers
    """The tiers."""
    settings: TieringSettings
    """How many blocks stay, and how large volumes are."""

    def take_in(self, folder: Path, history: History) -> list[RunRecord]:
        """Take in the volumes that are full; return those that are new.

        Parameters
        ----------
        folder
            The run's folder.
        history
            What its log says.

        Raises
        ------
        RunNotTieredError
            If it lies in no tier, or a block is not there.
        MoveRefusedError
            If another process takes in something of it at this time.
        """
        return self._take_in(folder, history, whole=True)

    def take_in_all(self, open_runs: Mapping[Path | str, History]) -> list[str]:
        """Take in the full volumes of some runs; return of which that cannot be, and why.

        Runs in buckets stay whole: no mark can be left there for a block that was moved, without
        a moment at which Zarr would take it for zeros.
        """
        passed_over = []
        for home, history in open_runs.items():
            if isinstance(home, str):
                continue
            try:
                self.take_in(home, history)
            except TieringError as error:
                passed_over.append(" ".join(str(error).split()))
        return passed_over

    def pieces(self, home: Path | str) -> list[RunRecord]:
        """Return what the catalogue knows of a run by now: the run when it is closed, and volumes.

        Raises
        ------
        RunNotTieredError
            If nothing of it can be moved; see `take_in` also.
        RunNotFoundError, RunDamagedError
            If it is no run, or its log has changed.
        """
        return self._pieces(home, whole=True)

    def pieces_to_move(self, home: Path | str) -> list[RunRecord]:
        """Return the same, with all blocks in it but the newest, however few they are."""
        return self._pieces(home, whole=False)

    def _pieces(self, home: Path | str, *, whole: bool) -> list[RunRecord]:
        if isinstance(home, str):
            return [take_in(self.catalogue, self.tiers, home)]
        folder = Path(self.tiers.home(home))
        known = self.catalogue.at(folder)
        closed = any(each.kind is Kind.RAW for each in known)
        try:
            opened = None if closed else open_in_folder(LocalStore(folder, read_only=True))
        except RunDamagedError:
            # What is known of it can be moved back, so that the log can be repaired.
            if volumes := self._volumes(folder):
                return volumes
            raise
        if opened is None or opened.closed:
            return [take_in(self.catalogue, self.tiers, folder), *self._volumes(folder)]
        history = opened.history
        self._take_in(folder, history, whole=whole)
        volumes = self._volumes(folder)
        if not volumes:
            size = self._volume_bytes(self.tiers.holding(folder)[0])
            others = f", the others until they have {size} bytes ('volume_bytes')" if whole else ""
            raise RunNotTieredError(
                f"{folder} is still open, and the newest {self.settings.newest_blocks} of its "
                f"{len(history.blocks)} blocks stay where they are ('newest_blocks'){others}: "
                "'forebay runs close' ends a run whose writer is gone"
            )
        return volumes

    def _volumes(self, folder: Path) -> list[RunRecord]:
        return [
            each
            for each in Volumes(self.catalogue, Kind.BLOCKS).of(folder)
            if any(copy.state in READABLE for copy in self.catalogue.shelves(each.run_id))
        ]

    def _take_in(self, folder: Path, history: History, *, whole: bool) -> list[RunRecord]:
        if history.layout is None or history.closed is not None:
            return []
        tier, path = self.tiers.holding(folder)
        run_id, beside = history.layout.run_id, [x.run_id for x in self.catalogue.at(folder)]
        taken = [*map(blocks_of_volume, beside), *_signposted(folder)]
        settled = max(0, len(history.blocks) - self.settings.newest_blocks)
        made = []
        for places in _rows(settled, taken):
            # A run of weeks has more than there is room for all at once.
            row = (history.blocks[place] for place in places)
            for blocks in _volumes(row, self._volume_bytes(tier), whole=whole):
                _check_there(folder, blocks)
                volume = _record(folder, run_id, path, blocks)
                objects = {
                    stored.key: KnownObject(stored.bytes, stored.blake3)
                    for block in blocks
                    for stored in block.objects
                }
                shelf = home_shelf(volume, tier.name, path)
                self.catalogue.add(volume, objects, {}, [shelf], beside=beside)
                beside.append(volume.run_id)
                made.append(volume)
        return made

    def _volume_bytes(self, tier: Tier) -> int:
        most, wanted = tier.specification, int(self.settings.volume_bytes)
        if most.capacity is None or most.high == most.low:
            return wanted
        return max(1, min(wanted, int((most.high - most.low) * most.capacity / _PARTS)))


def _signposted(folder: Path) -> list[range]:
    """Return the blocks that were moved by the word of the folder, whatever the catalogue knows."""
    signposts = folder / BLOCK_VOLUMES
    names = [each.name for each in signposts.iterdir()] if signposts.is_dir() else []
    return [blocks for name in names if (blocks := blocks_of_signpost(name)) is not None]


def _rows(blocks: int, taken: Sequence[range]) -> Iterator[range]:
    """Yield where so many blocks follow each other and are in no volume yet."""
    ends = sorted([range(0), *taken, range(blocks, blocks)], key=lambda x: x.start)
    for before, after in pairwise(ends):
        if before.stop < (stop := min(after.start, blocks)):
            yield range(before.stop, stop)


def _volumes(
    blocks: Iterable[Block], volume_bytes: int, *, whole: bool
) -> Iterator[Sequence[Block]]:
    """Yield blocks that become a volume; the rest, which fill none, only if those may be."""
    some: list[Block] = []
    size = 0
    for block in blocks:
        some.append(block)
        size += sum(stored.bytes for stored in block.objects)
        if size >= volume_bytes:
            yield some
            some, size = [], 0
    if some and not whole:
        yield some


def _check_there(folder: Path, blocks: Sequence[Block]) -> None:
    for block in blocks:
        for stored in block.objects:
            path = folder / stored.key
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                size = None
            if size != stored.bytes:
                raise RunNotTieredError(
                    f"{path} is missing or cut off: 'forebay runs verify' tells which frames that "
                    "concerns; if it was moved, 'forebay tier scan --repair' finds it"
                )


def _record(folder: Path, run_id: str, path: str, blocks: Sequence[Block]) -> RunRecord:
    sizes = [stored.bytes for block in blocks for stored in block.objects]
    # Its frames' shard is what a block is given last.
    at = (folder / blocks[-1].objects[-1].key).stat().st_mtime_ns
    return RunRecord(
        run_id=volume_of(run_id, range(blocks[0].number, blocks[-1].number + 1)),
        name=path,
        home=str(folder),
        bytes=sum(sizes),
        objects=len(sizes),
        closed_at=at,
        read_at=at,
        kind=Kind.BLOCKS,
    )
