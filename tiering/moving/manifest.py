"""The manifest of a copy: what makes it whole, and enough to know it by without a catalogue."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.records import Kind, RunRecord, ShelfRecord
from forebay.tiering.errors import CopyDamagedError
from forebay.tiering.packing.pack import Pack
from forebay.tiering.reading.signpost import KnownObject

_FORMAT = 4
_DIGEST = "blake3"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a copy says of itself."""

    run: RunRecord
    """The run."""
    shelf: str
    """Identity of the copy."""
    objects: dict[str, KnownObject]
    """What each of its objects is."""
    documents: dict[str, bytes]
    """The run's documents."""
    packs: tuple[Pack, ...] = ()
    """The packs that its objects lie in."""


def manifest(catalogue: Catalogue, shelf: ShelfRecord) -> bytes:
    """Return the manifest of a copy."""
    run = catalogue.run(shelf.run_id)
    documents = catalogue.documents(run.run_id)
    packs = {pack.name: dict(pack.starts) for pack in catalogue.packs(shelf.shelf)}
    content = {
        "format": _format(run, packs=bool(packs)),
        "run_id": run.run_id,
        "name": run.name,
        "home": run.home,
        "closed_at": run.closed_at,
        "shelf": shelf.shelf,
        "objects": {
            key: [each.bytes, each.blake3] for key, each in catalogue.objects(run.run_id).items()
        },
        "documents": {key: text.decode() for key, text in documents.items()},
        **({"packs": packs} if packs else {}),
        **({"kind": run.kind} if run.kind is not Kind.RAW else {}),
    }
    return _text({**content, _DIGEST: _digest(content)})


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _digest(content: Mapping[str, Any]) -> str:
    """Return the digest of all that a manifest says beside it."""
    said = {key: each for key, each in content.items() if key != _DIGEST}
    return str(blake3(_text(said)).hexdigest())


def _format(run: RunRecord, *, packs: bool) -> int:
    """Return the oldest format that has what is to be said: who knows no more refuses it.

    Without packs one would miss all objects; without kinds, take a volume for a run.
    """
    if run.kind is Kind.BLOCKS:
        return 4
    if run.kind is not Kind.RAW:
        return 3
    return 2 if packs else 1


def read_manifest(content: bytes, *, where: str) -> Manifest:
    """Read a manifest back.

    Raises
    ------
    CopyDamagedError
        If it is none, one of a newer format, or not what was put there.
    """
    try:
        document: dict[str, Any] = json.loads(content)
        if document["format"] not in range(1, _FORMAT + 1):
            raise CopyDamagedError(
                f"{where} has the format {document['format']!r}; this forebay reads {_FORMAT}"
            )
        # Those of an older forebay have no digest.
        if _DIGEST in document and document[_DIGEST] != _digest(document):
            raise CopyDamagedError(f"{where} has a manifest that is not what was put there")
        objects = {
            str(key): KnownObject(int(size), str(digest))
            for key, (size, digest) in document["objects"].items()
        }
        run = RunRecord(
            run_id=str(document["run_id"]),
            name=str(document["name"]),
            home=str(document["home"]),
            bytes=sum(each.bytes for each in objects.values()),
            objects=len(objects),
            closed_at=int(document["closed_at"]),
            read_at=0,
            kind=Kind(document.get("kind", Kind.RAW)),
        )
        documents = {str(key): str(text).encode() for key, text in document["documents"].items()}
        packs = tuple(
            Pack(str(name), {str(key): int(start) for key, start in starts.items()})
            for name, starts in sorted(document.get("packs", {}).items())
        )
        return Manifest(run, str(document["shelf"]), objects, documents, packs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CopyDamagedError(f"{where} is no manifest of a copy ({error!r})") from error
