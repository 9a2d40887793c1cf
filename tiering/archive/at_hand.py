"""What of a run is read at once though all else lies in an archive: its documents, and its log."""

from collections.abc import Buffer, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from blake3 import blake3

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import RunRecord
from forebay.tiering.homes.home import Home, home_of
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import stays_at_home
from forebay.tiering.storage.shelf import Source
from forebay.tiering.storage.tiers import Tiers

_READS_AT_ONCE = 16
"""Small objects that are read at a time: the log of a run in a bucket has one for each commit."""


@dataclass(frozen=True, slots=True)
class AtHand:
    """The objects of a run that never go with its frames; each is compared when it is read."""

    home: Home
    """Where the run was recorded, and its log stays."""
    documents: Mapping[str, bytes] = field(repr=False)
    """Its documents, as the catalogue has them."""
    objects: Mapping[str, KnownObject] = field(repr=False)
    """What each object is."""

    @classmethod
    def of(cls, catalogue: Catalogue, tiers: Tiers, run: RunRecord) -> Self:
        """Return what is at hand of a run, or of a volume.

        Raises
        ------
        RunNotTieredError
            If its home is in a bucket, and lies in no tier.
        PlaceUnavailableError
            If that cannot be used as the environment says.
        """
        documents = catalogue.documents(run.run_id)
        return cls(home_of(tiers, run), documents, catalogue.objects(run.run_id))

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes; None if it is not at hand, or not what it was."""
        content = self.documents.get(key)
        if content is None and stays_at_home(key):
            content = self.home.read(key)
        if content is None:
            return None
        found = KnownObject(len(content), blake3(content).hexdigest())
        return content if found == self.objects[key] else None

    def without(self, keys: Iterable[str]) -> list[str]:
        """Return those of some keys whose objects are not at hand, in their order."""
        wanted = list(keys)
        with ThreadPoolExecutor(_READS_AT_ONCE) as several:
            found = several.map(lambda key: self.read(key) is not None, wanted)
        return [key for key, near in zip(wanted, found, strict=True) if not near]


@dataclass(frozen=True, slots=True)
class BesideAtHand:
    """A copy in an archive, of which nothing is read that is at hand."""

    copy: Source
    """The copy."""
    at_hand: AtHand
    """What is at hand."""

    @property
    def where(self) -> str:
        """The path or URL of the copy."""
        return self.copy.where

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        content = self.at_hand.read(key)
        return self.copy.read(key) if content is None else content

    def parts(self, key: str) -> Iterator[Buffer]:
        """Yield an object's bytes, part by part; as of `Shelf.parts`."""
        content = self.at_hand.read(key)
        if content is None:
            yield from self.copy.parts(key)
        else:
            yield content
