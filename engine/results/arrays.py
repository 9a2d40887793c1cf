"""Reading arrays of a part: every object of their group is compared with its digest."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Self

import xarray as xr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from forebay.engine.results.files import PartFiles


def open_arrays(files: PartFiles, name: str, digests: Mapping[str, str]) -> xr.Dataset:
    """Return the arrays in a folder of a part, lazily, given the digests of its objects by key.

    Raises
    ------
    ResultDamagedError
        If an object is missing or has changed; for the chunks, when they are computed.
    """
    arrays: xr.Dataset = xr.open_zarr(
        CheckedStore(files, name, digests=digests), consolidated=True, chunks={}
    )
    return arrays


class CheckedStore(LocalStore):
    """A folder of objects whose digests are known; none of them is ever taken for absent."""

    def __init__(
        self, files: PartFiles, name: str, *, digests: Mapping[str, str], read_only: bool = True
    ) -> None:
        """Read from the folder `name` of a part what `digests` names."""
        super().__init__(files.folder / name, read_only=read_only)
        self._files = files
        self._name = name
        self._digests = digests

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: D102 (Zarr's own)
        return type(self)(self._files, self._name, digests=self._digests, read_only=read_only)

    async def _ensure_open(self) -> None:
        # The folder goes with the part when that is moved to another tier.
        self._is_open = True

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Tell Dask which arrays these are: those that have the same bytes."""
        return type(self).__qualname__, *sorted(self._digests.items())

    def get_sync(  # noqa: D102 (Zarr's own)
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        if key not in self._digests:
            return None
        content = self._read(key)
        wanted = content if byte_range is None else content[_slice(byte_range, len(content))]
        return (prototype or default_buffer_prototype()).buffer.from_bytes(wanted)

    async def get(  # noqa: D102 (Zarr's own)
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        if (self.root / key).exists():
            return self.get_sync(key, prototype=prototype, byte_range=byte_range)
        # From another tier: others need not wait for it.
        return await asyncio.to_thread(
            self.get_sync, key, prototype=prototype, byte_range=byte_range
        )

    async def get_partial_values(  # noqa: D102 (Zarr's own)
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        several = (self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        return list(await asyncio.gather(*several))

    def _read(self, key: str) -> bytes:
        return self._files.read(f"{self._name}/{key}", self._digests[key])


def _slice(wanted: ByteRequest, size: int) -> slice:
    match wanted:
        case RangeByteRequest(start=start, end=end):
            return slice(start, end)
        case OffsetByteRequest(offset=offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix=suffix):
            return slice(max(0, size - suffix), None)
