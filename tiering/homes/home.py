"""A home: the place that a run was recorded in, or a result was made in."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from forebay.acquisition import Run
from forebay.tiering.catalogue.records import RunRecord, ShelfRecord
from forebay.tiering.homes.bucket import BucketHome
from forebay.tiering.homes.folder import FolderHome
from forebay.tiering.reading.signpost import HOME_LOCK, Signpost
from forebay.tiering.storage.tiers import Tiers


class Home(Protocol):
    """What a folder and a prefix of a bucket have in common where runs are recorded in them.

    Its name stays, whatever lies there, where other copies lie on shelves that are used once.  So
    a mover that was overtaken must not change it: a folder has a lock of the kernel; in a bucket,
    which has none, nothing is put that was deleted there, and signposts replace each other under
    conditions.
    """

    @property
    def location(self) -> str:
        """Its path or URL."""

    @property
    def comes_back(self) -> bool:
        """Whether a run that is moved into its tier comes back here, or onto a shelf beside."""

    @property
    def keeps_uncommitted(self) -> bool:
        """Whether blocks that a writer has stored and not committed stay beside the others."""

    def is_there(self) -> bool:
        """Tell whether anything is there."""

    def open(self) -> Run:
        """Open the run as it lies here, and nowhere else."""

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""

    def stored(self) -> dict[str, int]:
        """Return the length of everything that lies here, by its key."""

    def lengths(self, keys: Collection[str]) -> dict[str, int]:
        """Return the lengths of those objects that are here."""

    def read_at(self) -> int:
        """Return when the run was last opened, in nanoseconds since 1970; 0 if nobody knows."""

    def unread(self) -> AbstractContextManager[None]:
        """Have what is read within the block not count as a reading of the run."""

    def check_own(self) -> None:
        """Refuse a place that another run was recorded into since this one left.

        Raises
        ------
        RunNotTieredError
            If there is another run.
        """

    def held(self) -> AbstractContextManager[None]:
        """Keep other movers from changing anything here for the time of the block."""

    def put_back(self, contents: Mapping[str, bytes]) -> None:
        """Put objects here that were lost."""

    def is_signposted(self, key: str) -> bool:
        """Tell whether a signpost of that key says that objects lie elsewhere."""

    def put_signpost(self, key: str, current: Callable[[], Signpost | None]) -> None:
        """Put the signpost that is current, or have none, when nobody else puts another one.

        Parameters
        ----------
        key
            Its key.
        current
            Returns it, as of the time at which it is called; None if there is to be none.
        """


def home_of(tiers: Tiers, run: RunRecord) -> Home:
    """Return the home of a run, or of a volume.

    Raises
    ------
    RunNotTieredError
        If it is in a bucket, and lies in no tier.
    PlaceUnavailableError
        If it cannot be used as the environment says.
    """
    return home_at(tiers, run.home, lock=run.lock, run_id=run.recorded_as)


def goes_home(tiers: Tiers, run: RunRecord, shelves: Iterable[ShelfRecord], tier: str) -> bool:
    """Tell whether a run that is moved into a tier comes back to its home there.

    Parameters
    ----------
    tiers
        The tiers.
    run
        The run, or the volume.
    shelves
        Its copies, and its home.
    tier
        Name of the tier.

    Raises
    ------
    RunNotTieredError, PlaceUnavailableError
        As of `home_of`.
    """
    there = any(each.home and each.tier == tier for each in shelves)
    return there and home_of(tiers, run).comes_back


def home_at(
    tiers: Tiers, location: Path | str, *, lock: str = HOME_LOCK, run_id: str | None = None
) -> Home:
    """Return the home at a path or a URL; see `home_of`."""
    if isinstance(location, str) and "://" in location:
        tier, path = tiers.holding(location)
        return BucketHome(tier.shelf(path), run_id)
    return FolderHome(Path(location).absolute(), lock, run_id)
