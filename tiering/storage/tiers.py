"""The tiers that are configured, from the best to read from to the last."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.acquisition.plain_path import plain_path
from forebay.tiering.archive.archive import Archive
from forebay.tiering.catalogue.records import ShelfRecord
from forebay.tiering.connect import NO_SETTINGS, connect
from forebay.tiering.errors import RunNotTieredError, TierError
from forebay.tiering.keys import check_key
from forebay.tiering.packing.pack import Pack
from forebay.tiering.reading.signpost import Place
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.object_lock import ObjectLock
from forebay.tiering.storage.s3 import S3Place
from forebay.tiering.storage.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier, by its name."""

    name: str
    """What it is called."""
    specification: TierSpecification
    """What is configured of it."""

    @property
    def folder(self) -> Path | None:
        """Its folder, where it lies in a file system."""
        url = self.specification.url
        return plain_path(url) if isinstance(url, Path) else None

    def where(self, path: str) -> str:
        """Return the path or URL of something within it."""
        base = self.specification.url if self.folder is None else self.folder
        return f"{base}/{path}" if path else str(base)

    def path_of(self, location: Path | str) -> str | None:
        """Return the path within it of a folder, or of a URL; None if that lies elsewhere."""
        if isinstance(location, Path):
            above = None if self.folder is None else _folder_above(self.folder, location)
            return None if above is None else str(plain_path(location).relative_to(above))
        where = location.rstrip("/")
        key = where.removeprefix(f"{self.where('')}/")
        return None if self.folder is not None or key == where else check_key(key)

    def shelf(self, path: str) -> Shelf:
        """Return a place within it, for copies of objects.

        Raises
        ------
        PlaceUnavailableError
            If its folder is not there, or it cannot be used as the environment says.
        """
        stored = self.specification.storage_class
        # What is put into an archive is read back first, and put away then.
        plain = stored is None or self.folder is not None or self.specification.recall is not None
        attributes = {} if plain else {"Storage-Class": str(stored)}
        root = self.where("") if self.folder is None else self.folder
        encryption = self.specification.encrypted
        return Shelf(
            connect(root, NO_SETTINGS if encryption is None else encryption.for_puts()),
            path,
            where=self.where(path),
            folder=None if self.folder is None else self.folder / path,
            attributes=attributes,
            versioned=self.specification.versioned,
            lock=self.lock(path),
        )

    def archive(self, path: str) -> Archive | None:
        """Return the archive in which copies within it lie; None where they are read at once."""
        terms = self.specification.recall
        encryption = self.specification.encrypted
        return None if terms is None else Archive(self.where(path), terms, encryption=encryption)

    def lock(self, path: str) -> ObjectLock | None:
        """Return what locks copies within it; None where nothing does."""
        days = self.specification.lock_days
        if days is None:
            return None
        return ObjectLock(S3Place(self.where(path)), days, self.specification.lock_mode)


class Tiers:
    """All tiers, in the order in which they are read from.

    Parameters
    ----------
    specifications
        What is configured, by name.
    """

    def __init__(self, specifications: Mapping[str, TierSpecification]) -> None:
        self._tiers = {name: Tier(name, each) for name, each in specifications.items()}

    def __iter__(self) -> Iterator[Tier]:
        """Iterate over them, the best first."""
        return iter(self._tiers.values())

    def __getitem__(self, name: str) -> Tier:
        """Return a tier.

        Raises
        ------
        TierError
            If there is none of that name.
        """
        if name not in self._tiers:
            known = ", ".join(self._tiers) or "none"
            raise TierError(
                f"there is no tier {name!r}; the configuration has {known}: they are the tables "
                "[tiers.NAME] of forebay.toml"
            )
        return self._tiers[name]

    def rank(self, name: str) -> int:
        """Return the place of a tier in the order; behind all others where it is unknown."""
        names = list(self._tiers)
        return names.index(name) if name in self._tiers else len(names)

    def holding(self, location: Path | str) -> tuple[Tier, str]:
        """Return the tier that a run's folder, or its URL, lies in, and its path within.

        Raises
        ------
        RunNotTieredError
            If it lies in none.

        Examples
        --------
        >>> tiers = Tiers({"lab": TierSpecification(url="s3://instrument-7/lab")})
        >>> tier, path = tiers.holding("s3://instrument-7/lab/runs/water")
        >>> tier.name, path
        ('lab', 'runs/water')
        """
        for tier in self:
            within = tier.path_of(location)
            if within is not None:
                return tier, within
        known = ", ".join(f"{each.name} ({each.where('')})" for each in self) or "none"
        raise RunNotTieredError(
            f"{location} lies in no tier; there are {known}: configure one whose url is the folder, "
            "or the prefix of a bucket, that the runs lie in"
        )

    def home(self, location: Path | str) -> Path | str:
        """Return a place by the one name that it has here, whichever way leads to it.

        Examples
        --------
        >>> tiers = Tiers({"hot": TierSpecification(url="/data/runs")})
        >>> tiers.home(Path("/data/lab/../runs/water"))
        PosixPath('/data/runs/water')
        """
        if isinstance(location, str):
            return location.rstrip("/")
        for tier in self:
            within = tier.path_of(location)
            if within is not None:
                return Path(tier.where(within))
        return plain_path(location)

    def place(self, shelf: ShelfRecord, packs: Sequence[Pack]) -> Place:
        """Return where a copy lies, for readers."""
        tier = self[shelf.tier]
        starts = {pack.name: pack.starts for pack in packs}
        return Place(shelf.tier, tier.where(shelf.path), tier.specification.recall, starts)


def _folder_above(folder: Path, location: Path) -> Path | None:
    """Return that part of a path which leads to a folder, by links or not; None if none does."""
    parents = plain_path(location).parents
    if folder in parents:
        return folder
    there = folder.resolve()
    return next((each for each in parents if each.resolve() == there), None)
