"""A Zarr store over all places that the objects of a run lie in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Self

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import CONTROL
from forebay.tiering.archive.archive import Archive, Reach
from forebay.tiering.caching.read_cache import ReadCache
from forebay.tiering.connect import connect
from forebay.tiering.errors import (
    ArchivedError,
    PlaceUnavailableError,
    RecallUnderWayError,
    TieringError,
)
from forebay.tiering.keys import check_key
from forebay.tiering.reading.block_volumes import block_of
from forebay.tiering.reading.checking import (
    can_be_checked,
    is_right,
    is_whole,
    name_of_part,
    part_of,
)
from forebay.tiering.reading.folder_store import FolderStore
from forebay.tiering.reading.mending import mend
from forebay.tiering.reading.packed_store import PackedStore
from forebay.tiering.reading.signpost import SIGNPOST, KnownObject, Place, Signpost
from forebay.tiering.reading.signposts import Signposts

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
        self._signposts = Signposts(self._home, signpost)
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
        prototype = default_buffer_prototype() if prototype is None else prototype
        return (await self._get(key, prototype, byte_range))[0]

    async def get_compared(
        self, key: str, prototype: BufferPrototype
    ) -> tuple[Buffer | None, str | None]:
        """Return an object, and the BLAKE3 digest that was made of it; None where none was.

        Who knows the digest from elsewhere, as from the log of a run, need not make it once more.
        """
        return await self._get(key, prototype, None)

    async def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> tuple[Buffer | None, str | None]:
        """Return what is asked for of an object, and its digest where all of it was compared."""
        check_key(key)
        await self._look_once()
        post = await self._signposts.of(key)
        at_home = await self._at_home(key, prototype, byte_range, post)
        found = None if _is_mark(key, at_home) else at_home
        known = None if post is None else post.objects.get(key)
        if found is not None and (known is None or await is_right(key, found, known, byte_range)):
            return found, _compared(known, byte_range)
        for _ in range(_LOOKS):
            seen, failure = post, None
            elsewhere: tuple[Buffer, str | None] | None = None
            try:
                elsewhere = await self._elsewhere(key, prototype, byte_range, post, home=found)
            except (ArchivedError, PlaceUnavailableError, RunDamagedError) as error:
                failure = error
            if elsewhere is not None:
                return elsewhere
            if self._given is None:
                await self._signposts.look()
            post = await self._signposts.of(key)
            if post == seen:
                if failure is not None:
                    raise failure
                break
            # It has gone home, or to another place, since the signpost was read.
            at_home = await self._at_home(key, prototype, byte_range, post)
            found = None if _is_mark(key, at_home) else at_home
            known = None if post is None else post.objects.get(key)
            if found is not None and (
                known is None or await is_right(key, found, known, byte_range)
            ):
                return found, _compared(known, byte_range)
        if known is not None:
            raise RunDamagedError(
                f"{key} of {str(self._home).removeprefix('file://')} is missing there and in "
                f"{_named(post)}: restore it from a copy"
            )
        return at_home, None

    async def _at_home(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None,
        post: Signpost | None,
    ) -> Buffer | None:
        """Return what home has of an object; nobody asks a bucket that a run has left for good."""
        if post is not None and post.left and key in post.objects and not key.startswith(CONTROL):
            return None
        return await self._home.get(key, prototype, byte_range)

    async def _look_once(self) -> None:
        """Look for signposts, unless that was done, or there are none."""
        if self._given is None and not self._signposts.looked:
            await self._signposts.look()

    async def _elsewhere(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None,
        post: Signpost | None,
        *,
        home: Buffer | None,
    ) -> tuple[Buffer, str | None] | None:
        """Read an object that home has not, or not as it was, from the first place that has it."""
        if post is not None and key in post.documents and home is None:
            return prototype.buffer.from_bytes(part_of(post.documents[key], byte_range)), None
        known = None if post is None else post.objects.get(key)
        if post is not None and known is None:
            return None
        damaged: list[Store] = []
        refused: list[PlaceUnavailableError] = []
        archived: list[ArchivedError] = []
        if home is not None and known is not None:
            whole = await self._home.get(key, prototype)
            if whole is not None and await is_whole(whole, known):
                # The range was none of a frame's; the object is as it was.
                return home, None
            damaged.append(self._home)
        kept = await self._kept(known, byte_range)
        if kept is not None and not damaged:
            return prototype.buffer.from_bytes(kept), None
        for where in self._places(post):
            try:
                place = self._opened_at(where, post)
                begun = time.monotonic()
                found = await place.get(key, prototype, byte_range)
                if found is None:
                    continue
                if known is None or await is_right(key, found, known, byte_range):
                    if known is not None and can_be_checked(key, byte_range):
                        await self._keep(known, byte_range, found, _place(post, where), begun)
                    await self._mend(key, known, damaged, place)
                    return found, _compared(known, byte_range)
                whole = await place.get(key, prototype)
                if whole is not None and await is_whole(whole, known):
                    await self._mend(key, known, damaged, place)
                    return found, None
                damaged.append(place)
            except ArchivedError as error:
                archived.append(await self._to_recall(key, post, where, error))
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
            # What comes by itself is waited for; nobody has to do anything.
            coming = [each for each in archived if isinstance(each, RecallUnderWayError)]
            raise (coming or archived)[0]
        return None

    async def _kept(
        self, known: KnownObject | None, byte_range: ByteRequest | None
    ) -> bytes | None:
        """Return what the cache has of an object."""
        if self._cache is None or known is None:
            return None
        return await asyncio.to_thread(self._cache.get, name_of_part(known, byte_range))

    async def _keep(
        self,
        known: KnownObject,
        byte_range: ByteRequest | None,
        found: Buffer,
        place: Place | None,
        begun: float,
    ) -> None:
        """Keep what was read, at the cost of the time that it has taken."""
        if self._cache is None:
            return
        seconds = time.monotonic() - begun
        if place is not None and place.recall is not None:
            seconds += place.recall.hours * 3600
        name, content = name_of_part(known, byte_range), found.to_bytes()
        await asyncio.to_thread(self._cache.put, name, content, cost=seconds)

    async def _to_recall(
        self, key: str, post: Signpost | None, where: Store | str, error: ArchivedError
    ) -> ArchivedError:
        """Return what to tell of an object that has to be recalled, and what that means."""
        place = _place(post, where)
        if post is None or place is None or place.recall is None:
            return error
        home, found = str(self._home).removeprefix("file://"), place.recall
        try:
            archive = Archive(place.url, found)
            standing = await asyncio.to_thread(archive.standing, place.stored_as(key))
        except TieringError as unknown:
            _log.warning("whether %s was recalled is not known: %s", key, unknown)
        else:
            if standing.reach is not Reach.AWAY:
                return RecallUnderWayError(
                    f"{key} of {home} lies in an archive ({found.storage_class}) and was asked "
                    f"for: it can be read within about {found.hours:.3g} hours of that"
                )
        size = sum(each.bytes for each in post.objects.values())
        packed = sum(len(starts) for starts in place.packs.values())
        count = len(post.objects) - packed + len(place.packs)
        return ArchivedError(
            f"{key} of {home} lies in an archive ({found.storage_class}) and must be recalled: "
            f"'forebay tier recall {self._recalled_as(home)}' does that for all of it, "
            f"{found.told(size, count)}"
        )

    def _recalled_as(self, where: str) -> str:
        """Return the name of the run or its URL, or that of the result in the folder of its run."""
        if "://" in where:
            return where
        home = Path(where)
        return home.name if self._signpost_key == SIGNPOST else f"{home.parent.name}/{home.name}"

    async def _mend(
        self, key: str, known: KnownObject | None, damaged: Sequence[Store], source: Store
    ) -> None:
        """Put an object right where it was found damaged."""
        if not damaged or known is None:
            return
        content = await source.get(key, default_buffer_prototype())
        if content is not None and await is_whole(content, known):
            for place in damaged:
                await asyncio.to_thread(mend, place, key, content.to_bytes())

    def _places(self, post: Signpost | None) -> Sequence[Store | str]:
        if self._given is not None:
            return self._given
        return () if post is None else [place.url for place in post.places]

    def _opened_at(self, where: Store | str, post: Signpost | None) -> Store:
        if isinstance(where, Store):
            return where
        if where not in self._opened:
            store, place = _store_at(where), _place(post, where)
            if post is not None and place is not None and place.packs:
                store = PackedStore(store, place.packs, post.objects)
            self._opened[where] = store
        return self._opened[where]

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
        await self._look_once()
        size: int | None = None
        for _ in range(2):
            try:
                size = await self._home.getsize(key)
            except FileNotFoundError:
                size = None
            if size or (size == 0 and block_of(key) is None):
                return size
            if (known := await self._signposts.known(key)) is not None:
                return known.bytes
            if self._given is not None:
                break
            # It may have been moved since.
            await self._signposts.look()
        for place in self._given or ():
            try:
                return await place.getsize(key)
            except FileNotFoundError:
                continue
        return size

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
        await self._look_once()
        if self._signposts.any:
            raise ValueError(f"{self} is a run that was moved; it cannot be written any more")

    async def list(self) -> AsyncIterator[str]:  # noqa: D102 (Zarr's own)
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:  # noqa: D102 (Zarr's own)
        check_key(prefix, prefix=True)
        await self._look_once()
        home = self._home.list_prefix(prefix)
        seen = {key async for key in home if not self._signposts.is_one(key)}
        if not prefix.startswith(CONTROL):
            for post in await self._signposts.all():
                seen |= {key for key in post.objects if key.startswith(prefix)}
        for place in self._given or ():
            seen |= {key async for key in place.list_prefix(prefix)}
        for key in sorted(seen):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # noqa: D102 (Zarr's own)
        check_key(prefix, prefix=True)
        await self._look_once()
        below = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        home = self._home.list_dir(prefix)
        seen = {name async for name in home if not self._signposts.is_one(below + name)}
        if not below.startswith(CONTROL):
            for post in await self._signposts.all():
                seen |= {
                    key[len(below) :].partition("/")[0]
                    for key in post.objects
                    if key.startswith(below)
                }
        for place in self._given or ():
            seen |= {name async for name in place.list_dir(prefix)}
        for name in sorted(seen):
            yield name


def _compared(known: KnownObject | None, byte_range: ByteRequest | None) -> str | None:
    """Return the digest that what was found right has been compared with, if all of it was."""
    return known.blake3 if known is not None and byte_range is None else None


def _is_mark(key: str, found: Buffer | None) -> bool:
    """Tell whether an object has left nothing but its name, so that none takes it for zeros."""
    return found is not None and len(found) == 0 and block_of(key) is not None


def _place(post: Signpost | None, where: Store | str) -> Place | None:
    """Return what a signpost says of a place."""
    places = () if post is None else post.places
    return next((each for each in places if each.url == str(where)), None)


def _named(post: Signpost | None) -> str:
    places = () if post is None else post.places
    return ", ".join(place.url for place in places) or "no other place is known"


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
