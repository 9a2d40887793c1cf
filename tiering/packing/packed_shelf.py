"""A shelf on which objects lie in packs."""

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from blake3 import blake3

from forebay.tiering.errors import CopyDamagedError
from forebay.tiering.packing.pack import FOLDER, Pack, PackWriter
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.inventory import MANIFEST
from forebay.tiering.storage.shelf import (
    PART_BYTES,
    Came,
    Passing,
    Shelf,
    Source,
    compare,
    unhindered,
)


@dataclass(frozen=True)
class PackedShelf(Shelf):
    """One copy of a run, whose small objects lie in packs.

    Objects are read by range.  They are put, read back and put right a pack at a time: it is
    always made of the same bytes.  The last pack holds the copy's manifest as well.
    """

    packs: tuple[Pack, ...] = ()
    """The packs."""
    objects: Mapping[str, KnownObject] = field(default_factory=dict, repr=False)
    """What the objects of the run are."""
    manifest: Callable[[], bytes] = field(default=bytes, repr=False)
    """Gives the manifest of the copy."""

    @cached_property
    def _pack_of(self) -> dict[str, Pack]:
        return {key: pack for pack in self.packs for key in pack.starts}

    def stored_as(self, key: str) -> str:
        """Return the name of the pack that holds an object, or its key."""
        pack = self._pack_of.get(key)
        return key if pack is None else pack.name

    def span(self, key: str) -> tuple[int, int] | None:
        """Return where an object begins and ends in its pack."""
        pack = self._pack_of.get(key)
        if pack is None:
            return None
        start = pack.starts[key]
        return start, start + self.objects[key].bytes

    def copy(
        self, key: str, known: KnownObject, source: Source, *, passing: Passing = unhindered
    ) -> Came:
        """Put the pack of an object here, made from another shelf, and make it durable."""
        pack = self._pack_of.get(key)
        if pack is None:
            return super().copy(key, known, source, passing=passing)
        digest = blake3()
        length = [0]
        self.put_parts(pack.name, self._bytes_of(pack, source, passing, digest, length))
        there = replace(pack, bytes=length[0], blake3=str(digest.hexdigest()))
        return Came(tuple(pack.starts), there)

    def _bytes_of(
        self, pack: Pack, source: Source, passing: Passing, digest: Any, length: list[int]
    ) -> Iterator[bytes]:
        writer = PackWriter()

        def counted(part: bytes) -> bytes:
            digest.update(part)
            length[0] += len(part)
            return part

        for key in pack.starts:
            known = self.objects[key]
            content = source.read(key)
            compare(source, key, known, content)
            passing(known.bytes)
            for part in writer.entry(key, content or b"", blake3=known.blake3):
                yield counted(part)
        if pack.name == self.packs[-1].name:
            content = self.manifest()
            told = str(blake3(content).hexdigest())
            for part in writer.entry(MANIFEST, content, blake3=told):
                yield counted(part)
        yield counted(writer.index())

    def look_along(
        self, key: str, *, passing: Passing = unhindered
    ) -> dict[str, KnownObject | None]:
        """Read the pack of an object back once, and return what each object in it is.

        None is whole where the pack is not, byte for byte, what was put there.
        """
        pack = self._pack_of.get(key)
        if pack is None:
            return super().look_along(key, passing=passing)
        whole, place = blake3(), 0
        members = _Members(pack, self.objects)
        try:
            for part in self.parts_stored_as(pack.name, from_disk=True):
                content = memoryview(part)
                whole.update(content)
                members.take(content, place)
                place += len(content)
                passing(len(content))
        except FileNotFoundError:
            return dict.fromkeys(pack.starts)
        as_put = (place, str(whole.hexdigest())) == (pack.bytes, pack.blake3)
        # Of a pack that was only found, nobody knows what it was as it was put.
        return members.found() if as_put or pack.blake3 is None else dict.fromkeys(pack.starts)

    def seen(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the lengths of the run's objects, by the lengths of what lies here."""
        return lengths_in(self.packs, self.objects, sizes)


def lengths_in(
    packs: Sequence[Pack], objects: Mapping[str, KnownObject], sizes: Mapping[str, int]
) -> dict[str, int]:
    """Return the lengths of a run's objects, by the lengths of what lies on a shelf.

    Parameters
    ----------
    packs
        The packs of the copy.
    objects
        What the objects of the run are.
    sizes
        The lengths of what lies there, by its names.
    """
    found = {key: size for key, size in sizes.items() if key in objects}
    for pack in packs:
        there = sizes.get(pack.name, 0)
        if pack.bytes in {None, there}:
            for key, start in pack.starts.items():
                if start + objects[key].bytes <= there:
                    found[key] = objects[key].bytes
    return found


class _Members:
    """Takes the bytes of a pack in, and tells what the objects in it are."""

    def __init__(self, pack: Pack, objects: Mapping[str, KnownObject]) -> None:
        self._spans = [
            (start, start + objects[key].bytes, key)
            for key, start in sorted(pack.starts.items(), key=lambda each: each[1])
        ]
        self._digests = {key: blake3() for key in pack.starts}
        self._taken = dict.fromkeys(pack.starts, 0)
        self._first = 0

    def take(self, content: memoryview, place: int) -> None:
        end = place + len(content)
        for number in range(self._first, len(self._spans)):
            start, stop, key = self._spans[number]
            if start >= end:
                break
            part = content[max(start - place, 0) : max(stop - place, 0)]
            self._digests[key].update(part)
            self._taken[key] += len(part)
            if stop <= end:
                self._first = number + 1

    def found(self) -> dict[str, KnownObject | None]:
        return {
            key: KnownObject(self._taken[key], str(each.hexdigest()))
            for key, each in self._digests.items()
        }


class _InPlace(io.RawIOBase):
    """A file that is read by range from where it is stored."""

    def __init__(self, shelf: Shelf, name: str, size: int) -> None:
        self._shelf, self._name, self._size, self._at = shelf, name, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        content = self._shelf.read_range(self._name, self._at, end)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def manifest_in_pack(shelf: Shelf, sizes: Mapping[str, int]) -> bytes | None:
    """Return the manifest of a copy from its packs alone; None if it lies in none of them.

    Parameters
    ----------
    shelf
        Where the copy lies.
    sizes
        The lengths of what lies there.

    Raises
    ------
    CopyDamagedError
        If the last pack is none.
    """
    packs = sorted(name for name in sizes if name.startswith(f"{FOLDER}/"))
    if not packs:
        return None
    last = packs[-1]
    try:
        stored = io.BufferedReader(_InPlace(shelf, last, sizes[last]), PART_BYTES)
        with zipfile.ZipFile(stored) as pack:
            return pack.read(MANIFEST) if MANIFEST in pack.namelist() else None
    except (zipfile.BadZipFile, ValueError) as error:
        raise CopyDamagedError(f"{shelf.where}/{last} is no pack ({error})") from error
