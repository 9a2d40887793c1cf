"""How fast tiers fill: by what recorders have committed to open runs, as their logs have it."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

from zarr.abc.store import Store
from zarr.storage import LocalStore

from forebay.acquisition.errors import AcquisitionError
from forebay.acquisition.format.history import History, replay
from forebay.acquisition.format.objects import Objects
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import Kind
from forebay.tiering.catalogue.volumes import Volumes
from forebay.tiering.connect import connect
from forebay.tiering.errors import PlaceUnavailableError
from forebay.tiering.homes.finding import homes_in
from forebay.tiering.reading.block_volumes import blocks_of_volume
from forebay.tiering.storage.tiers import Tiers

_WINDOW_SECONDS = 60.0
"""Blocks of so long are what the rate is made of."""
_LEAST_BLOCKS = 8
"""And so many of them at the least, where there are."""
_SILENCES = 4
"""Times the usual distance of two blocks after which a recorder counts as silent."""
_LEAST_SILENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Committed:
    """A block as it was stored."""

    at: float
    """When its file was written, in seconds since 1970-01-01 UTC."""
    bytes: int
    """Its length, with what belongs to it."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What recorders do to a tier."""

    bytes_per_second: float = 0.0
    """Rate at which they commit to it."""
    open_bytes: int = 0
    """Bytes of open runs that the catalogue does not know yet."""

    def __add__(self, other: "Filling") -> "Filling":
        """Return what two of them do together."""
        return Filling(
            self.bytes_per_second + other.bytes_per_second, self.open_bytes + other.open_bytes
        )


def committed_rate(blocks: Sequence[Committed], *, now: float) -> float:
    """Return the rate at which a recorder commits at the moment, in bytes per second.

    It is the bytes of the blocks that were stored within the last minute, of eight blocks at the
    least, over the time from the block before them until now.  So it falls as soon as blocks come
    late.  After four times their usual distance, and ten seconds at the least, the recorder counts
    as silent.  Of one block, or none, no rate is known.

    Parameters
    ----------
    blocks
        The blocks, the oldest first.
    now
        The time, in seconds since 1970-01-01 UTC.

    Returns
    -------
    float
        Bytes per second; 0 for a recorder that is silent or has just begun.

    Examples
    --------
    >>> blocks = [Committed(at=100.0 + second, bytes=50) for second in range(11)]
    >>> committed_rate(blocks, now=110.0), committed_rate(blocks, now=200.0)
    (50.0, 0.0)
    """
    if len(blocks) < 2:
        return 0.0
    recent = sum(1 for block in blocks if block.at > now - _WINDOW_SECONDS)
    # The first of the row says when the others began, and does not count itself.
    row = blocks[-(max(recent, _LEAST_BLOCKS) + 1) :]
    # Clocks of file servers differ from ours.
    now = max(now, row[-1].at)
    usual = (row[-1].at - row[0].at) / (len(row) - 1)
    if now - row[-1].at > max(_LEAST_SILENCE_SECONDS, _SILENCES * usual):
        return 0.0
    taken = now - row[0].at
    return sum(block.bytes for block in row[1:]) / taken if taken > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _OpenRun:
    """An open run as it was last looked at."""

    tier: str
    """Name of the tier that its folder lies in."""
    history: History
    """What its log said."""
    lengths: list[int]
    """Bytes of all blocks before each one, and at the end those of all of them."""

    def grown(self, history: History) -> "_OpenRun":
        """Return it as its log says now; blocks that were there before are the same."""
        for size in history.blocks.sizes(len(self.lengths) - 1):
            self.lengths.append(self.lengths[-1] + size)
        return _OpenRun(self.tier, history, self.lengths)

    def bytes_of(self, blocks: range) -> int:
        """Return the bytes of some blocks, as far as they are there."""
        last = len(self.lengths) - 1
        return self.lengths[min(blocks.stop, last)] - self.lengths[min(blocks.start, last)]


class FillingWatch:
    """Looks after the open runs in tiers.

    Logs are read on from where they were read before, and the bytes of no block are counted twice.
    Those in buckets are read when runs are searched for only, and no rate of them is known.

    Parameters
    ----------
    tiers
        The tiers.
    catalogue
        The catalogue: runs that it knows are closed, and blocks of volumes that it knows lie where
        it says.
    now
        Source of times in nanoseconds, of the clock that files get theirs from.
    """

    def __init__(
        self, tiers: Tiers, catalogue: Catalogue, *, now: Callable[[], int] = time_ns
    ) -> None:
        self._tiers = tiers
        self._catalogue = catalogue
        self._now = now
        self._open: dict[Path | str, _OpenRun] = {}
        self._ended: dict[Path | str, str] = {}

    @property
    def unknown(self) -> Mapping[str, int]:
        """Numbers of the closed runs that the catalogue did not know when they were searched for.

        By the names of the tiers that they were recorded in.
        """
        return Counter(self._ended.values())

    @property
    def open_runs(self) -> Mapping[Path | str, History]:
        """What the logs of open runs said when they were last looked at, by their homes."""
        return {home: each.history for home, each in self._open.items()}

    def search(self, *, avoided: Collection[str] = ()) -> None:
        """Look for runs that are being recorded.

        Parameters
        ----------
        avoided
            Names of tiers that are left alone.

        Raises
        ------
        PlaceUnavailableError
            If a folder cannot be read.
        """
        known = {run.home for run in self._catalogue.runs(Kind.RAW)}
        # Those in folders are dropped by the next look.
        self._open = {home: run for home, run in self._open.items() if home not in known}
        for tier in self._tiers:
            if tier.name in avoided:
                continue
            try:
                for home in homes_in(tier, known=known | {*map(str, self._ended)}):
                    if str(home) not in known and home not in self._ended:
                        self._read(tier.name, home)
            except PlaceUnavailableError:
                # A bucket that does not answer must not keep others from being looked after.
                if tier.folder is not None:
                    raise

    def look(self) -> dict[str, Filling]:
        """Return what recorders do to each tier, by its name; those that are left alone lack."""
        found: dict[str, Filling] = {}
        now = self._now() / 1e9
        volumes = Volumes(self._catalogue, Kind.BLOCKS).by_home()
        for home, before in list(self._open.items()):
            if isinstance(home, str):
                filling = Filling(open_bytes=before.lengths[-1])
                found[before.tier] = found.get(before.tier, Filling()) + filling
                continue
            self._read(before.tier, home)
            if (run := self._open.get(home)) is not None:
                apart = [blocks_of_volume(each.run_id) for each in volumes.get(home, ())]
                filling = _filling(home, run, now, apart)
                found[run.tier] = found.get(run.tier, Filling()) + filling
        return found

    def _read(self, tier: str, home: Path | str) -> None:
        before = self._open.pop(home, None)
        try:
            objects = Objects(_store_at(home))
            history = replay(objects, None if before is None else before.history)
        except PlaceUnavailableError:
            if before is not None:
                self._open[home] = before
            raise
        except (AcquisitionError, OSError):
            # It is none, or no whole one yet; who takes it in says what is wrong with it.
            return
        if history.closed is None:
            self._open[home] = (before or _OpenRun(tier, history, [0])).grown(history)
        else:
            self._ended[home] = tier


def _store_at(home: Path | str) -> Store:
    if isinstance(home, Path):
        return LocalStore(home, read_only=True)
    # obstore takes a tenth of a second to import.
    from forebay.tiering.url_store import UrlStore

    return UrlStore(connect(home), url=home)


def _filling(folder: Path, run: _OpenRun, now: float, apart: Sequence[range]) -> Filling:
    row: list[Committed] = []
    for number in reversed(range(len(run.history.blocks))):
        try:
            at = (folder / run.history.blocks[number].objects[-1].key).stat().st_mtime
        except OSError:
            break
        row.append(Committed(at, run.bytes_of(range(number, number + 1))))
        if at <= now - _WINDOW_SECONDS and len(row) > _LEAST_BLOCKS:
            break
    known = sum(run.bytes_of(blocks) for blocks in apart)
    return Filling(committed_rate(row[::-1], now=now), run.lengths[-1] - known)
