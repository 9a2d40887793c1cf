"""A bag as it was found: whether it is complete, and whether every byte is as it was bagged."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forebay.tiering.errors import BundleDamagedError, BundleError
from forebay.tiering.handoff import bagit
from forebay.tiering.handoff.unpacking import Files

_PART_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Bag:
    """A bag whose manifests and tags are sound; its payload may not be."""

    files: Files
    """Its files."""
    info: Mapping[str, str]
    """What it says of itself."""
    manifests: Mapping[str, Mapping[str, str]]
    """The digest of each file of the payload, by algorithm and path."""

    @property
    def paths(self) -> list[str]:
        """Paths of the payload, as the manifests have them."""
        return sorted({path for each in self.manifests.values() for path in each})

    def incomplete(self) -> Iterator[str]:
        """Yield, in a sentence each, what is missing and what does not belong there."""
        where, sizes = self.files.where, self.files.sizes
        for algorithm, digests in self.manifests.items():
            for path in self.paths:
                if path not in digests:
                    yield f"{where}: {path!r} is not in {bagit.manifest_name(algorithm)}"
        for path in self.paths:
            if path not in sizes:
                yield f"{where}: {path!r} is missing"
        for path in sorted(sizes):
            if path.startswith(bagit.PAYLOAD) and path not in self.paths:
                yield f"{where}: {path!r} is in no manifest"
        if (oxum := self.info.get("Payload-Oxum")) is not None:
            payload = [size for path, size in sizes.items() if path.startswith(bagit.PAYLOAD)]
            if oxum != f"{sum(payload)}.{len(payload)}":
                yield (
                    f"{where}: the payload has {sum(payload)} bytes in {len(payload)} files, and "
                    f"'Payload-Oxum: {oxum}' was said of it"
                )

    def parts(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file of the payload; fail behind the last if they have changed.

        Raises
        ------
        BundleDamagedError
            If they have.
        """
        computed = {each: hashlib.new(each, usedforsecurity=False) for each in self.manifests}
        with self.files.open(path) as file:
            while part := file.read(_PART_BYTES):
                for each in computed.values():
                    each.update(part)
                yield part
        for algorithm, digests in self.manifests.items():
            if computed[algorithm].hexdigest() != digests[path]:
                raise BundleDamagedError(
                    f"{self.files.where}: {path!r} has changed since it was bagged: its {algorithm} "
                    "digest is another one; get the bundle once more"
                )


def read_bag(files: Files) -> Bag:
    """Read the manifests and tags of a bag, and compare the tag files with their digests.

    Raises
    ------
    BundleError
        If it is no bag, or one of a kind that is not read here.
    BundleDamagedError
        If a manifest or a tag file is missing, has changed, or cannot be read.
    """
    where = files.where
    if bagit.DECLARATION not in files.sizes:
        raise BundleError(f"{where} is no bundle: it has no {bagit.DECLARATION}")
    declared = _content(files, bagit.DECLARATION)
    bagit.check_declaration(declared, where=f"{where}/{bagit.DECLARATION}")
    if bagit.FETCH in files.sizes:
        raise BundleDamagedError(
            f"{where} lacks what {bagit.FETCH} names, which lies elsewhere: get a bundle that is "
            "complete"
        )
    bagit.check_paths(files.sizes, where=where)
    payload: dict[str, Mapping[str, str]] = {}
    tagged: set[str] = set()
    for name in files.sizes:
        found = bagit.MANIFEST.fullmatch(name)
        if found is None or (algorithm := found["algorithm"]) not in bagit.ALGORITHMS:
            continue
        digests = bagit.read_manifest(_content(files, name), algorithm, where=f"{where}/{name}")
        if found["tags"]:
            _check_tags(files, digests, algorithm)
            tagged |= digests.keys()
        else:
            payload[algorithm] = digests
    if not payload:
        known = " or ".join(bagit.manifest_name(each) for each in bagit.ALGORITHMS)
        raise BundleError(f"{where} has no {known}: it cannot be verified")
    for name in files.sizes:
        usual = name in {bagit.DECLARATION, bagit.INFO} or bagit.MANIFEST.fullmatch(name)
        if not (usual or name in tagged or name.startswith(bagit.PAYLOAD)):
            raise BundleDamagedError(f"{where}: {name!r} is in no manifest")
    for path in itertools.chain.from_iterable(payload.values()):
        if not path.startswith(bagit.PAYLOAD):
            raise BundleDamagedError(f"{where}: {path!r} is in a manifest, and no payload")
    told = _content(files, bagit.INFO) if bagit.INFO in files.sizes else b""
    return Bag(files, bagit.read_tags(told, where=f"{where}/{bagit.INFO}"), payload)


def check_bag(bag: Bag) -> Iterator[str]:
    """Yield everything that is wrong with a bag's payload, in a sentence each, reading all of it."""
    yield from bag.incomplete()
    for path in bag.paths:
        if path in bag.files.sizes and all(path in each for each in bag.manifests.values()):
            try:
                for _ in bag.parts(path):
                    pass
            except BundleDamagedError as error:
                yield str(error)


def _check_tags(files: Files, digests: Mapping[str, str], algorithm: str) -> None:
    for name, digest in digests.items():
        if name not in files.sizes:
            raise BundleDamagedError(f"{files.where}: {name!r} is missing")
        found = hashlib.new(algorithm, _content(files, name), usedforsecurity=False).hexdigest()
        if found != digest:
            raise BundleDamagedError(
                f"{files.where}: {name!r} has changed since it was bagged; get the bundle once more"
            )


def _content(files: Files, name: str) -> bytes:
    with files.open(name) as file:
        return file.read()
