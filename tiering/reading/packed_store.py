"""Reading objects by range from the packs that they lie in."""

from collections.abc import Mapping

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from forebay.tiering.reading.signpost import KnownObject


class PackedStore(WrapperStore[Store]):
    """The objects of a copy, some of which lie in packs.

    Parameters
    ----------
    store
        Where the copy lies.
    packs
        Where the bytes of each object begin, by its key, for each pack.
    objects
        What the objects are.
    """

    def __init__(
        self,
        store: Store,
        packs: Mapping[str, Mapping[str, int]],
        objects: Mapping[str, KnownObject],
    ) -> None:
        super().__init__(store)
        self._spots = {
            key: (name, start) for name, starts in packs.items() for key, start in starts.items()
        }
        self._objects = objects

    def __str__(self) -> str:
        return str(self._store)

    async def get(  # noqa: D102 (Zarr's own)
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        spot = self._spots.get(key)
        if spot is None:
            return await super().get(key, prototype, byte_range)
        name, begin = spot
        size = self._objects[key].bytes
        match byte_range:
            case None:
                start, stop = 0, size
            case RangeByteRequest(start=start, end=end):
                stop = min(end, size)
            case SuffixByteRequest(suffix=suffix):
                start, stop = max(0, size - suffix), size
            case _:
                start, stop = byte_range.offset, size
        if start >= stop:
            return prototype.buffer.from_bytes(b"")
        return await super().get(name, prototype, RangeByteRequest(begin + start, begin + stop))
