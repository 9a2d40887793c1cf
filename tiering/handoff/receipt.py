"""What is said of a transfer: the manifest that it begins with, and the receipt that it ends with."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from blake3 import blake3

from forebay.tiering.errors import CopyDamagedError
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import HANDOFF

MANIFEST = f"{HANDOFF}manifest.json"
"""Where the manifest lies at the target, in the run."""
RECEIPT = f"{HANDOFF}received.json"
"""Where the receipt lies at the target, in the run."""

_FORMAT = 1


def manifest(run_id: str, objects: Mapping[str, KnownObject]) -> bytes:
    """Return the manifest of a run: the same bytes for the same run, wherever it lies.

    Examples
    --------
    >>> manifest("6f1d", {"zarr.json": KnownObject(2, "ab")})
    b'{"format":1,"run_id":"6f1d","objects":{"zarr.json":[2,"ab"]}}'
    """
    content = {
        "format": _FORMAT,
        "run_id": run_id,
        "objects": {key: [objects[key].bytes, objects[key].blake3] for key in sorted(objects)},
    }
    return json.dumps(content, separators=(",", ":")).encode()


def manifest_objects(content: bytes, *, where: str) -> tuple[str, dict[str, KnownObject]]:
    """Return which run a manifest is of, and its objects.

    Raises
    ------
    CopyDamagedError
        If it is no manifest, or one of a newer format.
    """
    try:
        document: dict[str, Any] = json.loads(content)
        if document["format"] != _FORMAT:
            raise CopyDamagedError(
                f"{where} has the format {document['format']!r}; this forebay reads {_FORMAT}"
            )
        objects = {
            str(key): KnownObject(int(size), str(digest))
            for key, (size, digest) in document["objects"].items()
        }
        return str(document["run_id"]), objects
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CopyDamagedError(f"{where} is no manifest of a run ({error!r})") from error


def digest_of(content: bytes) -> str:
    """Return the BLAKE3 digest of a manifest, in hexadecimal."""
    return str(blake3(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Receipt:
    """What says that a run has come whole."""

    run_id: str
    """The run."""
    manifest: str
    """BLAKE3 digest of its manifest."""
    objects: int
    """Number of its objects."""
    total_bytes: int
    """Their length."""
    source: str
    """Where it came from."""
    target: str
    """Where it went to."""
    by: str
    """Who sent it."""
    begun: str
    """When the last attempt began, ISO 8601 in UTC."""
    done: str
    """When all of it had been read back at the target."""

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, *, where: str) -> "Receipt":
        """Read it back.

        Raises
        ------
        CopyDamagedError
            If it is no receipt, or one of a newer format.
        """
        try:
            document: dict[str, Any] = json.loads(content)
            if document["format"] != _FORMAT:
                raise CopyDamagedError(
                    f"{where} has the format {document['format']!r}; this forebay reads {_FORMAT}"
                )
            return cls(**{each.name: document[each.name] for each in fields(cls)})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CopyDamagedError(f"{where} is no receipt of a run ({error!r})") from error


def sent_key(target: str) -> str:
    """Return where the receipt lies at the source: one for each target."""
    return f"{HANDOFF}sent-{blake3(target.encode()).hexdigest()[:16]}.json"
