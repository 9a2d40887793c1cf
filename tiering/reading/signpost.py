"""The signpost in a run's folder: in which other places its objects lie, and what they are.

It is made from the catalogue whenever a copy can be read or is about to go, so that a reader, on
any host, needs no database.  The documents of the run are in it as well: the run is listed and
opened without a request to where its frames lie.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format import layout
from forebay.tiering.archive.terms import RecallTerms

SIGNPOST = f"{layout.CONTROL}/tiers.json"
"""Its key in the run's folder."""
HOME_LOCK = f"{layout.CONTROL}/tiers.lock"
"""What is locked by who changes something in the run's folder."""

VOLUMES = "volumes"
"""Where a result keeps what concerns its volumes: parts that are moved together."""
RESULT_LOCK = f"{VOLUMES}/lock"
"""What is locked by who changes something in a result's folder."""
_OF_VOLUME = "tiers.json"


def of_volume(volume: str) -> str:
    """Return the key of the signpost of a volume in the result's folder."""
    return f"{VOLUMES}/{volume}/{_OF_VOLUME}"


_FORMAT = 2


@dataclass(frozen=True, slots=True)
class KnownObject:
    """What an object of a run is, wherever it lies."""

    bytes: int
    """Its length."""
    blake3: str
    """The BLAKE3 digest of its bytes, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a whole copy of a run lies."""

    tier: str
    """Name of the tier."""
    url: str
    """Path or URL of the copy: the objects have the same keys below it."""
    recall: RecallTerms | None = None
    """Of an archive: on which terms its objects are read."""
    packs: Mapping[str, Mapping[str, int]] = field(default_factory=dict, repr=False)
    """Where the bytes of objects begin that lie in packs, by their keys, for each pack."""

    def stored_as(self, key: str) -> str:
        """Return the name of what holds an object here: the object's own, or that of a pack."""
        return next((name for name, starts in self.packs.items() if key in starts), key)

    def to_json(self) -> dict[str, Any]:
        """Return it for a document."""
        told: dict[str, Any] = {"tier": self.tier, "url": self.url}
        if self.recall is not None:
            told["recall"] = self.recall.to_json()
        if self.packs:
            told["packs"] = {name: dict(starts) for name, starts in self.packs.items()}
        return told

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Place":
        """Read it back."""
        terms = document.get("recall")
        recall = None if terms is None else RecallTerms.from_json(terms)
        return cls(document["tier"], document["url"], recall, document.get("packs", {}))


@dataclass(frozen=True, slots=True)
class Signpost:
    """Where the objects of a run lie beside its own folder."""

    run_id: str
    """The run."""
    places: tuple[Place, ...]
    """Whole, verified copies, the best one to read from first."""
    objects: Mapping[str, KnownObject] = field(repr=False)
    """Every object that the copies hold, by its key."""
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Objects that are kept in here themselves."""
    left: bool = False
    """Whether the run has left its own place for good, so that nobody need look there."""

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing, and stands where one was that is not needed any more."""
        return not self.objects

    def to_json(self, *, identity: str | None = None) -> bytes:
        """Return the content of the file.

        Parameters
        ----------
        identity
            What makes it another one than each that says the same.
        """
        document: dict[str, Any] = {
            # Who knows no packs would find nothing in such a place.
            "format": _FORMAT if any(each.packs for each in self.places) else 1,
            "run_id": self.run_id,
            "places": [each.to_json() for each in self.places],
            "objects": {key: [each.bytes, each.blake3] for key, each in self.objects.items()},
            "documents": {key: content.decode() for key, content in self.documents.items()},
        }
        if self.left:
            document["left"] = True
        if identity is not None:
            document["identity"] = identity
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes, *, where: str) -> "Signpost":
        """Read it back.

        Raises
        ------
        RunDamagedError
            If it is no signpost, or one of a newer format.
        """
        try:
            document: dict[str, Any] = json.loads(content)
            if document["format"] not in range(1, _FORMAT + 1):
                raise RunDamagedError(
                    f"{where} has the format {document['format']!r}; this forebay reads {_FORMAT}: "
                    "install a newer one"
                )
            return cls(
                run_id=document["run_id"],
                places=tuple(Place.from_json(each) for each in document["places"]),
                objects={
                    key: KnownObject(int(size), str(digest))
                    for key, (size, digest) in document["objects"].items()
                },
                documents={key: text.encode() for key, text in document["documents"].items()},
                left=bool(document.get("left", False)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunDamagedError(
                f"{where} does not say where the run lies ({error!r}); 'forebay tier scan --repair' "
                "makes it anew"
            ) from error
