"""How much of a TIFF file's chain of pages is there: what cutting the file off took away."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_NEEDED = frozenset({258, 270, 273, 279, 324, 325, 339})
"""Bits in a sample, description, where the strips and tiles are and how long, sample format."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The pages that are described in full."""

    pages: int
    """How many there are."""
    cut: bool
    """Whether the chain goes on behind the end of the file."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How TIFF and BigTIFF differ, as `struct` has it."""

    first: int
    count: str
    entry: str
    link: str


_FORMATS = {
    42: _Format(first=4, count="H", entry="HHI4s", link="I"),
    43: _Format(first=8, count="Q", entry="HHQ8s", link="Q"),
}


def read_chain(path: Path) -> Chain | None:
    """Follow the pages of a TIFF or BigTIFF file; None for a relative of those.

    The pixels themselves are not looked at, nor are tags that do not matter to them.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(4)
        order = _BYTE_ORDERS.get(header[:2])
        if order is None or len(header) < 4:
            return None
        form = _FORMATS.get(struct.unpack(f"{order}H", header[2:])[0])
        if form is None:
            return None
        pages, seen = 0, set()
        try:
            (at,) = _take(file, form.first, order + form.link)
            while at and at not in seen:
                seen.add(at)
                at = _page(file, at, order, form, size)
                pages += 1
        except EOFError:
            return Chain(pages, cut=True)
    return Chain(pages, cut=False)


def _page(file: BinaryIO, at: int, order: str, form: _Format, size: int) -> int:
    """Return where the next page begins, 0 for none; EOFError if this one is not all there."""
    (count,) = _take(file, at, order + form.count)
    at += struct.calcsize(order + form.count)
    entry = struct.Struct(order + form.entry)
    if at + count * entry.size > size:
        raise EOFError
    file.seek(at)
    for tag, kind, number, inline in entry.iter_unpack(file.read(count * entry.size)):
        length = number * _SIZES.get(kind, 0)
        if tag in _NEEDED and length > len(inline):
            (where,) = struct.unpack(order + form.link, inline)
            if where + length > size:
                raise EOFError
    (following,) = _take(file, at + count * entry.size, order + form.link)
    return int(following)


def _take(file: BinaryIO, at: int, form: str) -> tuple[int, ...]:
    file.seek(at)
    raw = file.read(struct.calcsize(form))
    if len(raw) < struct.calcsize(form):
        raise EOFError
    return struct.unpack(form, raw)
