"""Trying a tier out: whether what is put there is given back, and can be deleted again."""

import shutil
import uuid
from dataclasses import dataclass

from blake3 import blake3

from forebay.tiering.errors import TieringError
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.s3 import S3Place
from forebay.tiering.storage.tiers import Tier

_PROBES = ".forebay-probe"


@dataclass(frozen=True, slots=True)
class Probe:
    """What trying a tier has shown."""

    tier: str
    """Its name."""
    problem: str | None
    """What is wrong, if anything."""
    free_bytes: int | None
    """The room that is left, where that can be known."""


def probe(tier: Tier) -> Probe:
    """Put an object into a tier, read it back, and delete it."""
    free: int | None = None
    try:
        if tier.folder is not None:
            if not tier.folder.is_dir():
                return Probe(tier.name, f"there is no folder {tier.folder}: make it", None)
            free = shutil.disk_usage(tier.folder).free
        if (archive := tier.archive(_PROBES)) is not None:
            archive.check()
        if (lock := tier.lock(_PROBES)) is not None:
            lock.check()
        shelf = tier.shelf(_place(tier))
        # Some servers make a bucket of any name that is put to: a list is refused.
        shelf.stored()
        content = uuid.uuid4().bytes * 64
        key = uuid.uuid4().hex
        shelf.put(key, content)
        encrypted_as = _encryption_of(tier, key)
        given_back = shelf.look(key)
        listed = shelf.sizes().get(key)
        shelf.delete([key])
        left = shelf.look(key)
        shelf.remove_folders()
    except TieringError as error:
        return Probe(tier.name, " ".join(str(error).split()), free)
    put = KnownObject(len(content), str(blake3(content).hexdigest()))
    if given_back != put or listed != put.bytes:
        return Probe(tier.name, f"{tier.where('')} gives back other bytes than it was given", free)
    if left is not None:
        return Probe(tier.name, f"{tier.where('')} keeps what is deleted", free)
    if encrypted_as != (wanted := tier.specification.encryption):
        what = f"{tier.where('')} does not encrypt as it is asked to"
        return Probe(tier.name, f"{what}: an object put with {wanted} has {encrypted_as}", free)
    return Probe(tier.name, None, free)


def _place(tier: Tier) -> str:
    """Return where an object is put.

    On a disk a folder of its own: others who try the tier out remove theirs meanwhile.
    """
    return _PROBES if tier.folder is None else f"{_PROBES}-{uuid.uuid4().hex}"


def _encryption_of(tier: Tier, key: str) -> str | None:
    """Return how an object is encrypted, where that was asked for."""
    if tier.specification.encryption is None:
        return None
    return str(S3Place(tier.where(_PROBES)).head(key).get("ServerSideEncryption", "no encryption"))
