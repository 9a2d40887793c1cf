"""A pack: several objects of a run in one ZIP file, each stored as it is."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from forebay.tiering.reading.signpost import KnownObject

FOLDER = "packs"
"""Where packs lie, below the shelf's path."""

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION = 20
_UTF8 = 1 << 11
_FIRST_OF_1980 = 0x21
"""The date that each entry has, so that a pack that is made again is the same byte for byte."""
_DIGEST = "blake3:"
_MOST_ENTRIES = 65_000


@dataclass(frozen=True, slots=True)
class Pack:
    """Which objects lie in a pack, and where."""

    name: str
    """Its name below the shelf's path."""
    starts: Mapping[str, int] = field(repr=False)
    """Where the bytes of each object begin, by its key."""
    bytes: int | None = None
    """Its length, once it is there."""
    blake3: str | None = None
    """The BLAKE3 digest of all of it, in hexadecimal, once it is there."""


def pack_up(objects: Mapping[str, KnownObject], pack_bytes: int) -> tuple[Pack, ...]:
    """Divide the objects of a run into packs.

    Parameters
    ----------
    objects
        What each object is; they are packed in this order.
    pack_bytes
        Length of a pack, about.  An object that is as long stays by itself.

    Examples
    --------
    >>> objects = {key: KnownObject(40, "") for key in "abc"} | {"large": KnownObject(500, "")}
    >>> for pack in pack_up(objects, 200):
    ...     print(pack.name, dict(pack.starts))
    packs/00000.zip {'a': 31, 'b': 102}
    packs/00001.zip {'c': 31}
    """
    packs: list[Pack] = []
    starts: dict[str, int] = {}
    end = 0
    for key, known in objects.items():
        if known.bytes >= pack_bytes:
            continue
        size = _LOCAL.size + len(key.encode()) + known.bytes
        if starts and (end + size > pack_bytes or len(starts) == _MOST_ENTRIES):
            packs.append(_numbered(packs, starts))
            starts, end = {}, 0
        starts[key] = end + size - known.bytes
        end += size
    return (*packs, _numbered(packs, starts)) if starts else tuple(packs)


def _numbered(packs: list[Pack], starts: dict[str, int]) -> Pack:
    return Pack(f"{FOLDER}/{len(packs):05}.zip", starts)


@dataclass(slots=True)
class PackWriter:
    """Makes the bytes of a pack, one object after the other.

    Examples
    --------
    >>> import io, zipfile
    >>> writer = PackWriter()
    >>> content = b"".join(writer.entry("frames/c.0", b"pixels", blake3="6a"))
    >>> with zipfile.ZipFile(io.BytesIO(content + writer.index())) as pack:
    ...     print(pack.read("frames/c.0"), pack.getinfo("frames/c.0").comment)
    b'pixels' b'blake3:6a'
    """

    _end: int = 0
    _entries: list[bytes] = field(default_factory=list)

    def entry(self, key: str, content: bytes, *, blake3: str) -> Iterator[bytes]:
        """Yield the bytes of the next object, with what stands before them."""
        name, comment = key.encode(), f"{_DIGEST}{blake3}".encode()
        about = (_UTF8, 0, 0, _FIRST_OF_1980, zlib.crc32(content), len(content), len(content))
        head = _LOCAL.pack(b"PK\x03\x04", _VERSION, *about, len(name), 0) + name
        lengths = (len(name), 0, len(comment), 0, 0, 0, self._end)
        central = _CENTRAL.pack(b"PK\x01\x02", _VERSION, _VERSION, *about, *lengths)
        self._entries.append(central + name + comment)
        self._end += len(head) + len(content)
        yield head
        yield content

    def index(self) -> bytes:
        """Return the index of all objects, which ends the pack."""
        entries = b"".join(self._entries)
        count = len(self._entries)
        return entries + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(entries), self._end, 0)
