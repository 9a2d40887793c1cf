"""A Zarr store over all places that the objects of a run lie in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Self

import crc32c
from blake3 import blake3
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import FRAMES
from forebay.tiering.caching.read_cache import ReadCache
from forebay.tiering.connect import connect
from forebay.tiering.errors import ArchivedError, PlaceUnavailableError
from forebay.tiering.keys import check_key
from forebay.tiering.reading.folder_store import FolderStore
from forebay.tiering.reading.mending import mend
from forebay.tiering.reading.packed_store import PackedStore
from forebay.tiering.reading.signpost import SIGNPOST, KnownObject, Place, Signpost

_CRC_BYTES = 4
_SHARD = f"{FRAMES}/c."
_WORTH_A_THREAD = 2**20
"""Bytes from which on a digest takes longer than to hand it to another thread."""
_LOOKS = 3
"""Times that the signpost is read again where an object is in no place that it names."""

_log = logging.getLogger("forebay.tiering")


class TieredStore(Store):
    """The objects of a run, from the best place that has them whole.

    A run is written and found in its own place, its home.  What was moved away from there lies in
    other places, which the signpost at home names.  Objects never change, so it is the same from
    which place each request is answered: nobody who reads holds a lease, and where an object has
    just gone from one place, the signpost is read again and tells of another.

    Where there are copies, what is read whole is compared with its digest, and a frame or an index
    that is read by range with its checksum.  What is damaged or cannot be reached is read from the
    next place, and what is damaged is put right.

    Parameters
    ----------
    home
        The store of the run's own place.
    places
        The stores of other places; those that the signpost names if not given.
    cache
        What was read from other places is kept there, as far as it could be checked.
    read_only
        Whether it refuses to write.  What is written goes home, and any copy of what was there
        before is removed.
    signpost
        Key of the signpost at home.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> from zarr.core.buffer import default_buffer_prototype
    >>> with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as cold:
    ...     _ = Path(cold, "zarr.json").write_bytes(b"{}")
    ...     store = TieredStore(LocalStore(home), places=[LocalStore(cold)])
    ...     asyncio.run(store.get("zarr.json", default_buffer_prototype())).to_bytes()
    b'{}'
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(
        self,
        home: Store,
        *,
        places: Sequence[Store] | None = None,
        cache: ReadCache | None = None,
        read_only: bool = False,
        signpost: str = SIGNPOST,
    ) -> None:
        super().__init__(read_only=read_only)
        self._home = home.with_read_only(read_only) if home.read_only != read_only else home
        self._given = None if places is None else tuple(places)
        self._signpost: Signpost | None = None
        self._looked = places is not None
        self._cache = cache
        self._signpost_key = signpost
        self._opened: dict[str, Store] = {}

    @property
    def root(self) -> Path | None:
        """The folder of the run; None where its home is no folder."""
        return self._home.root if isinstance(self._home, LocalStore) else None

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: D102 (Zarr's own)
        return type(self)(
            self._home,
            places=self._given,
            cache=self._cache,
            read_only=read_only,
            signpost=self._signpost_key,
        )

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same run, opened in the same way."""
        return (
            isinstance(other, TieredStore)
            and self._home == other._home
            and self._given == other._given
            and self.read_only == other.read_only
        )

    __hash__ = None  # type: ignore[assignment] # as all stores of Zarr

    def __getstate__(self) -> dict[str, object]:
        """Leave connections behind; whoever gets it makes their own."""
        return {**self.__dict__, "_opened": {}, "_is_open": False}

    def __str__(self) -> str:
        return str(self._home)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self)!r}>"

    async def get(  # noqa: D102 (Zarr's own)
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        check_key(key)
        prototype = default_buffer_prototype() if prototype is None else prototype
        if not self._looked:
            await self._look()
        found = await self._home.get(key, prototype, byte_range)
        known = self._known(key)
        if found is not None and (
            known is None or await self._right(key, found, known, byte_range)
        ):
            return found
        for _ in range(_LOOKS):
            seen, failure, elsewhere = self._signpost, None, None
            try:
                elsewhere = await self._elsewhere(key, prototype, byte_range, home=found)
            except (ArchivedError, PlaceUnavailableError, RunDamagedError) as error:
                failure = error
            if elsewhere is not None:
                return elsewhere
            if self._given is None:
                await self._look()
            if self._signpost == seen:
                if failure is not None:
                    raise failure
                break
            # It has gone home, or to another place, since the signpost was read.
            found = await self._home.get(key, prototype, byte_range)
            known = self._known(key)
            if found is not None and (
                known is None or await self._right(key, found, known, byte_range)
            ):
                return found
        if known is not None:
            raise RunDamagedError(
                f"{key} of {str(self._home).removeprefix('file://')} is missing there and in "
                f"{self._named()}: restore it from a copy"
            )
        return None

    def _named(self) -> str:
        places = () if self._signpost is None else self._signpost.places
        return ", ".join(place.url for place in places) or "no other place is known"

    async def _elsewhere(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None,
        *,
        home: Buffer | None,
    ) -> Buffer | None:
        """Read an object that home has not, or not as it was, from the first place that has it."""
        if self._signpost is not None and key in self._signpost.documents and home is None:
            content = _part(self._signpost.documents[key], byte_range)
            return prototype.buffer.from_bytes(content)
        known = self._known(key)
        if self._signpost is not None and known is None:
            return None
        damaged: list[Store] = []
        refused: list[PlaceUnavailableError] = []
        archived: list[ArchivedError] = []
        if home is not None and known is not None:
            whole = await self._home.get(key, prototype)
            if whole is not None and await _is(whole, known):
                # The range was none of a frame's; the object is as it was.
                return home
            damaged.append(self._home)
        kept = await self._kept(known, byte_range)
        if kept is not None and not damaged:
            return prototype.buffer.from_bytes(kept)
        for where in self._places():
            try:
                place = self._opened_at(where)
                begun = time.monotonic()
                found = await place.get(key, prototype, byte_range)
                if found is None:
                    continue
                if known is None or await self._right(key, found, known, byte_range):
                    if known is not None and _can_be_checked(key, byte_range):
                        await self._keep(known, byte_range, found, where, begun)
                    await self._mend(key, known, damaged, place)
                    return found
                whole = await place.get(key, prototype)
                if whole is not None and await _is(whole, known):
                    await self._mend(key, known, damaged, place)
                    return found
                damaged.append(place)
            except ArchivedError as error:
                archived.append(self._to_recall(key, where, error))
            except PlaceUnavailableError as error:
                _log.warning("place cannot be reached", extra={"place": str(where), "object": key})
                refused.append(error)
        if damaged:
            places = ", ".join(str(each).removeprefix("file://") for each in damaged)
            raise RunDamagedError(
                f"{key} has changed in {places}, and no other copy of it can be read: "
                "restore it from a copy"
            )
        if refused:
            raise refused[0]
        if archived:
            raise archived[0]
        return None

    async def _kept(
        self, known: KnownObject | None, byte_range: ByteRequest | None
    ) -> bytes | None:
        """Return what the cache has of an object."""
        if self._cache is None or known is None:
            return None
        return await asyncio.to_thread(self._cache.get, _name_of(known, byte_range))

    async def _keep(
        self,
        known: KnownObject,
        byte_range: ByteRequest | None,
        found: Buffer,
        where: Store | str,
        begun: float,
    ) -> None:
        """Keep what was read, at the cost of the time that it has taken."""
        if self._cache is None:
            return
        seconds = time.monotonic() - begun
        place = self._place(where)
        if place is not None and place.recall is not None:
            seconds += place.recall.hours * 3600
        name, content = _name_of(known, byte_range), found.to_bytes()
        await asyncio.to_thread(self._cache.put, name, content, cost=seconds)

    def _place(self, where: Store | str) -> Place | None:
        """Return what the signpost says of a place."""
        places = () if self._signpost is None else self._signpost.places
        return next((each for each in places if each.url == str(where)), None)

    def _to_recall(self, key: str, where: Store | str, error: ArchivedError) -> ArchivedError:
        """Return what to tell of an object that has to be recalled, and what that means."""
        post = self._signpost
        place = self._place(where)
        if post is None or place is None or place.recall is None:
            return error
        home, found = str(self._home).removeprefix("file://"), place.recall
        size = sum(each.bytes for each in post.objects.values())
        packed = sum(len(starts) for starts in place.packs.values())
        count = len(post.objects) - packed + len(place.packs)
        return ArchivedError(
            f"{key} of {home} lies in an archive ({found.storage_class}) and must be recalled: "
            f"'forebay tier recall {self._recalled_as(Path(home))}' does that for all of it, "
            f"{found.told(size, count)}"
        )

    def _recalled_as(self, home: Path) -> str:
        """Return the name of the run, or of the result in the folder of its run."""
        return home.name if self._signpost_key == SIGNPOST else f"{home.parent.name}/{home.name}"

    async def _right(
        self, key: str, found: Buffer, known: KnownObject, byte_range: ByteRequest | None
    ) -> bool:
        """Tell whether what was read is as it was put there, as far as that can be seen."""
        if byte_range is None:
            return await _is(found, known)
        if _can_be_checked(key, byte_range):
            # A frame's bytes, and the shard's index, end in their checksum.
            content = memoryview(found.as_numpy_array()).cast("B")
            stored = int.from_bytes(content[-_CRC_BYTES:], "little")
            return len(content) > _CRC_BYTES and crc32c.crc32c(content[:-_CRC_BYTES]) == stored
        return True

    async def _mend(
        self, key: str, known: KnownObject | None, damaged: Sequence[Store], source: Store
    ) -> None:
        """Put an object right where it was found damaged."""
        if not damaged or known is None:
            return
        content = await source.get(key, default_buffer_prototype())
        if content is not None and await _is(content, known):
            for place in damaged:
                await asyncio.to_thread(mend, place, key, content.to_bytes())

    def _known(self, key: str) -> KnownObject | None:
        return None if self._signpost is None else self._signpost.objects.get(key)

    async def _look(self) -> None:
        """Read the signpost, if there is one."""
        self._looked = True
        found = await self._home.get(self._signpost_key, default_buffer_prototype())
        where = f"{str(self._home).removeprefix('file://')}/{self._signpost_key}"
        content = None if found is None else found.to_bytes()
        self._signpost = None if content is None else Signpost.from_json(content, where=where)

    def _places(self) -> Sequence[Store | str]:
        if self._given is not None:
            return self._given
        places = () if self._signpost is None else self._signpost.places
        return [place.url for place in places]

    def _opened_at(self, where: Store | str) -> Store:
        if isinstance(where, Store):
            return where
        if where not in self._opened:
            self._opened[where] = self._with_packs(where, _store_at(where))
        return self._opened[where]

    def _with_packs(self, where: str, store: Store) -> Store:
        """Return the store of a place, from whose packs objects are read by their keys."""
        post, place = self._signpost, self._place(where)
        if post is None or place is None or not place.packs:
            return store
        return PackedStore(store, place.packs, post.objects)

    async def get_partial_values(  # noqa: D102 (Zarr's own)
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        return list(
            await asyncio.gather(*(self.get(key, prototype, wanted) for key, wanted in key_ranges))
        )

    async def exists(self, key: str) -> bool:  # noqa: D102 (Zarr's own)
        return await self._size(key) is not None

    async def getsize(self, key: str) -> int:  # noqa: D102 (Zarr's own)
        size = await self._size(key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def _size(self, key: str) -> int | None:
        check_key(key)
        if not self._looked:
            await self._look()
        for _ in range(2):
            try:
                return await self._home.getsize(key)
            except FileNotFoundError:
                if (known := self._known(key)) is not None:
                    return known.bytes
            if self._given is not None:
                break
            # It may have been moved since.
            await self._look()
        for place in self._given or ():
            try:
                return await place.getsize(key)
            except FileNotFoundError:
                continue
        return None

    async def set(self, key: str, value: Buffer) -> None:  # noqa: D102 (Zarr's own)
        await self._writing(key)
        await self._home.set(key, value)
        for place in self._given or ():
            await place.delete(key)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:  # noqa: D102 (Zarr's own)
        if not await self.exists(key):
            await self._writing(key)
            await self._home.set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:  # noqa: D102 (Zarr's own)
        await self._writing(key)
        # Home last: until then, what is read is what it was.
        for place in self._given or ():
            await place.delete(key)
        await self._home.delete(key)

    async def _writing(self, key: str) -> None:
        self._check_writable()
        check_key(key)
        if not self._looked:
            await self._look()
        if self._signpost is not None:
            raise ValueError(f"{self} is a run that was moved; it cannot be written any more")

    async def list(self) -> AsyncIterator[str]:  # noqa: D102 (Zarr's own)
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:  # noqa: D102 (Zarr's own)
        check_key(prefix, prefix=True)
        if not self._looked:
            await self._look()
        seen = {key async for key in self._home.list_prefix(prefix) if key != self._signpost_key}
        if self._signpost is not None:
            seen |= {key for key in self._signpost.objects if key.startswith(prefix)}
        for place in self._given or ():
            seen |= {key async for key in place.list_prefix(prefix)}
        for key in sorted(seen):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # noqa: D102 (Zarr's own)
        check_key(prefix, prefix=True)
        if not self._looked:
            await self._look()
        below = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        seen = {
            name async for name in self._home.list_dir(prefix) if below + name != self._signpost_key
        }
        if self._signpost is not None:
            seen |= {
                key[len(below) :].partition("/")[0]
                for key in self._signpost.objects
                if key.startswith(below)
            }
        for place in self._given or ():
            seen |= {name async for name in place.list_dir(prefix)}
        for name in sorted(seen):
            yield name


async def _is(found: Buffer, known: KnownObject) -> bool:
    if len(found) != known.bytes:
        return False
    content = memoryview(found.as_numpy_array()).cast("B")
    if len(content) < _WORTH_A_THREAD:
        return str(blake3(content).hexdigest()) == known.blake3
    # All reads of a process share the thread of Zarr's loop; digests need not wait for each other.
    digest = await asyncio.to_thread(lambda: blake3(content).hexdigest())
    return str(digest) == known.blake3


def _can_be_checked(key: str, byte_range: ByteRequest | None) -> bool:
    """Tell whether what is read says by itself whether it is right."""
    return byte_range is None or (
        key.startswith(_SHARD) and isinstance(byte_range, RangeByteRequest | SuffixByteRequest)
    )


def _name_of(known: KnownObject, byte_range: ByteRequest | None) -> str:
    """Return what a cache calls a part of an object, the same wherever it was read."""
    match byte_range:
        case None:
            start, stop = 0, known.bytes
        case RangeByteRequest(start=start, end=end):
            stop = min(end, known.bytes)
        case SuffixByteRequest(suffix=suffix):
            start, stop = max(0, known.bytes - suffix), known.bytes
        case _:
            start, stop = byte_range.offset, known.bytes
    return f"{known.blake3}:{start}-{stop}"


def _part(content: bytes, byte_range: ByteRequest | None) -> bytes:
    match byte_range:
        case None:
            return content
        case RangeByteRequest(start=start, end=end):
            return content[start:end]
        case SuffixByteRequest(suffix=suffix):
            return content[-suffix:] if suffix else b""
        case _:
            return content[byte_range.offset :]


def _store_at(url: str) -> Store:
    if "://" not in url:
        folder = Path(url)
        if not folder.is_dir():
            raise PlaceUnavailableError(
                f"{folder} cannot be used: there is no such folder; mount what it is on"
            )
        return FolderStore(folder)
    from forebay.tiering.url_store import UrlStore

    return UrlStore(connect(url), url=url, read_only=False)
