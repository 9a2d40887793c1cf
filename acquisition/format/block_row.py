"""The committed blocks of a run, kept in little memory: a run of weeks has millions of them."""

import json
import operator
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from typing import Any, Self, overload

from forebay.acquisition.format.growing import Growing
from forebay.acquisition.format.layout import COORDINATES, RunLayout
from forebay.acquisition.format.record import Block, Dropped, Extent, StoredObject

_OBJECTS = len(COORDINATES) + 1
_FIXED = struct.Struct(f"<IQQqq{_OBJECTS}Q" + _OBJECTS * "32s")
"""Frames, first and last counter, first and last time; lengths of the objects; their digests."""
_LENGTHS = struct.Struct(f"<{_OBJECTS}Q")
_BEFORE_LENGTHS = struct.calcsize("<IQQqq")
_DIGEST = re.compile("[0-9a-f]{64}", flags=re.ASCII)


class BlockRow(Sequence[Block]):
    """Blocks that follow each other from the first one of a run on.

    One of them takes some 250 bytes, a fifth of what a `Block` takes, which is made anew each time
    that it is asked for: its number, first frame and keys follow from its place.  What was dropped
    is kept behind that as JSON.  Whoever goes on from the row shares it, as in `Growing`.

    Parameters
    ----------
    layout
        What the blocks have in common. None before that is known: the row stays empty then.
    blocks
        The first ones.
    """

    __slots__ = ("_known", "_packed")

    def __init__(self, layout: RunLayout | None = None, blocks: Iterable[Block] = ()) -> None:
        self._known = layout
        self._packed: Growing[bytes] = Growing()
        for block in blocks:
            self.append(block)

    def onward(self) -> Self:
        """Return a row of its own with the same blocks."""
        other = type(self)(self._known)
        other._packed = self._packed.onward()  # noqa: SLF001 (its own)
        return other

    def append(self, block: Block) -> None:
        """Add the block that follows.

        Raises
        ------
        ValueError
            If it does not follow, or one of its numbers or digests cannot be one.
        """
        number, extent, whole = len(self._packed), block.extent, self._layout.frames_per_block
        keys = [stored.key for stored in block.objects]
        if (
            block.number != number
            or extent.start != number * whole
            or not 1 <= len(extent) <= whole
            or keys != self._layout.object_keys(number)
        ):
            raise ValueError(f"block {block.number} is out of its place")
        lengths = [stored.bytes for stored in block.objects]
        digests = [_digest(stored.blake3) for stored in block.objects]
        try:
            packed = _FIXED.pack(
                len(extent), *block.frame_ids, *block.timestamps, *lengths, *digests
            )
        except struct.error as error:
            raise ValueError(
                f"block {block.number} has a number that cannot be: {error}"
            ) from error
        dropped = [astuple(each) for each in block.dropped]
        self._packed.append(packed + (json.dumps(dropped).encode() if dropped else b""))

    @property
    def frames(self) -> int:
        """Number of frames in all of them."""
        if not self._packed:
            return 0
        (last,) = struct.unpack_from("<I", self._packed[-1])
        return (len(self._packed) - 1) * self._layout.frames_per_block + int(last)

    @property
    def stored_bytes(self) -> int:
        """Length of all their objects together."""
        return sum(self.sizes())

    def sizes(self, first: int = 0) -> Iterator[int]:
        """Yield the length of all objects of each block, from one of them on."""
        for place in range(first, len(self)):
            yield sum(_LENGTHS.unpack_from(self._packed[place], _BEFORE_LENGTHS))

    @property
    def dropped(self) -> Iterator[Dropped]:
        """What was dropped before and within them, in order."""
        for packed in self._packed:
            yield from _dropped(packed)

    @property
    def _layout(self) -> RunLayout:
        if self._known is None:
            raise ValueError("blocks follow the layout of their run, which is not known here")
        return self._known

    def _block(self, number: int, packed: bytes) -> Block:
        frames, first_id, last_id, first_time, last_time, *held = _FIXED.unpack_from(packed)
        start = number * self._layout.frames_per_block
        keys = self._layout.object_keys(number)
        return Block(
            number,
            Extent(start, start + frames),
            (first_id, last_id),
            (first_time, last_time),
            tuple(_dropped(packed)),
            tuple(map(StoredObject, keys, held[:_OBJECTS], map(bytes.hex, held[_OBJECTS:]))),
        )

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[Block]:
        return (self._block(number, packed) for number, packed in enumerate(self._packed))

    @overload
    def __getitem__(self, place: int) -> Block: ...

    @overload
    def __getitem__(self, place: slice) -> list[Block]: ...

    def __getitem__(self, place: int | slice) -> Block | list[Block]:
        if isinstance(place, slice):
            places = range(*place.indices(len(self)))
            return [self._block(each, self._packed[each]) for each in places]
        packed = self._packed[place]
        return self._block(place if place >= 0 else len(self) + place, packed)

    def starts_with(self, other: "BlockRow") -> bool:
        """Tell whether the blocks of another row are the first ones of this one."""
        return self._packed[: len(other)] == [*other._packed]  # noqa: SLF001 (its own)

    def __eq__(self, other: object) -> bool:
        """Tell whether the same blocks are in both, whatever kind of row the other one is."""
        if isinstance(other, BlockRow):
            # The keys are as in the first one.
            return self._packed == other._packed and self[:1] == other[:1]
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment] # as lists

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._known, list(self._packed))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


def _unpickled(layout: RunLayout | None, packed: list[bytes]) -> BlockRow:
    row = BlockRow(layout)
    row._packed = Growing(packed)  # noqa: SLF001 (its own)
    return row


def _digest(text: str) -> bytes:
    """Return the bytes of a digest that is written in hexadecimal."""
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no BLAKE3 digest, which has 64 digits from 0 to f")
    return bytes.fromhex(text)


def _dropped(packed: bytes) -> list[Dropped]:
    if len(packed) == _FIXED.size:
        return []
    return [Dropped(*each) for each in json.loads(packed[_FIXED.size :])]
