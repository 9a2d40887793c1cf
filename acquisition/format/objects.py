"""Reading whole objects and ranges of them from any Zarr store, without a fill value anywhere."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync

from forebay.acquisition.errors import RunDamagedError

_READS_AT_ONCE = 32
_PIECE_BYTES = 16 * 2**20


@runtime_checkable
class ComparingStore(Protocol):
    """A store that compares some of what it reads with its digest."""

    async def get_compared(
        self, key: str, prototype: BufferPrototype
    ) -> tuple[Buffer | None, str | None]:
        """Return an object, and the BLAKE3 digest that was made of it; None where none was."""
        ...


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a run, by key."""

    store: Store
    """Where they lie; it can be pickled, so that a worker reads from it too."""

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        buffer = sync(self.store.get(key, prototype=default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def read_with_digest(self, key: str) -> tuple[bytes | None, str | None]:
        """Return an object's bytes, and their BLAKE3 digest where the store has made it already."""
        return sync(self._get(key))

    def read_all(self, keys: Sequence[str]) -> list[tuple[bytes | None, str | None]]:
        """Return the same of many small objects, several being read at once."""

        async def collect() -> list[tuple[bytes | None, str | None]]:
            free = asyncio.Semaphore(_READS_AT_ONCE)
            return await asyncio.gather(*(read(key, free) for key in keys))

        async def read(key: str, free: asyncio.Semaphore) -> tuple[bytes | None, str | None]:
            async with free:
                return await self._get(key)

        return sync(collect())

    async def _get(self, key: str) -> tuple[bytes | None, str | None]:
        prototype, digest = default_buffer_prototype(), None
        if isinstance(self.store, ComparingStore):
            buffer, digest = await self.store.get_compared(key, prototype)
        else:
            buffer = await self.store.get(key, prototype=prototype)
        return None if buffer is None else buffer.to_bytes(), digest

    def read_range(self, key: str, start: int, length: int) -> memoryview:
        """Return `length` bytes of an object from `start`.

        Raises
        ------
        RunDamagedError
            If the object is not there or too short.
        """
        request = RangeByteRequest(start, start + length)
        buffer = sync(self.store.get(key, prototype=default_buffer_prototype(), byte_range=request))
        if buffer is None or len(buffer) != length:
            found = "is missing" if buffer is None else f"has only {start + len(buffer)} bytes"
            raise RunDamagedError(f"{self.where(key)} {found}")
        return memoryview(buffer.as_numpy_array()).cast("B")

    def read_in_pieces(self, key: str, length: int) -> Iterator[bytes]:
        """Yield the first `length` bytes of an object, or what it has, not many of them at once."""
        for start in range(0, length, _PIECE_BYTES):
            request = RangeByteRequest(start, min(start + _PIECE_BYTES, length))
            buffer = sync(
                self.store.get(key, prototype=default_buffer_prototype(), byte_range=request)
            )
            if buffer is None or not len(buffer):
                return
            yield buffer.to_bytes()

    def read_from(self, key: str, start: int) -> bytes:
        """Return what an object holds from `start` to its end."""
        request = OffsetByteRequest(start)
        buffer = sync(self.store.get(key, prototype=default_buffer_prototype(), byte_range=request))
        return b"" if buffer is None else buffer.to_bytes()

    def size(self, key: str) -> int | None:
        """Return an object's length in bytes, or None where there is none."""
        try:
            return sync(self.store.getsize(key))
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> list[str]:
        """Return the names directly under `prefix`, sorted."""

        async def collect() -> list[str]:
            return [name async for name in self.store.list_dir(prefix)]

        return sorted(sync(collect()))

    def where(self, key: str) -> str:
        """Return the name of an object for a message."""
        return f"{str(self.store).removeprefix('file://')}/{key}"


@dataclass(frozen=True, slots=True)
class ObjectsAtHand(Objects):
    """Objects some of which have been read together: on a far store that takes the time of one."""

    contents: dict[str, tuple[bytes | None, str | None]] = field(default_factory=dict, repr=False)
    """What was read, by key, with its digest where the store has made that; None for no object."""

    @classmethod
    def of(cls, objects: Objects, keys: Sequence[str]) -> "ObjectsAtHand":
        """Read the objects of these keys now."""
        return cls(objects.store, dict(zip(keys, objects.read_all(keys), strict=True)))

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        return self.read_with_digest(key)[0]

    def read_with_digest(self, key: str) -> tuple[bytes | None, str | None]:
        """Return an object's bytes, and their digest where that was made already."""
        at_hand = self.contents.get(key)
        return Objects.read_with_digest(self, key) if at_hand is None else at_hand
