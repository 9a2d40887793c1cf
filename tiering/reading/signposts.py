"""The signposts that stand in a run's folder, read as they are needed."""

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from forebay.tiering.reading.block_volumes import (
    BLOCK_VOLUMES,
    block_of,
    blocks_of_signpost,
    volume_signpost,
)
from forebay.tiering.reading.signpost import SIGNPOST, KnownObject, Signpost


class Signposts:
    """What the signposts at home say of objects.

    One is about the run, or the volume of a result.  Blocks that were moved while their run was
    open have others, one for each volume; such a one is read when a block of it is asked for.

    Parameters
    ----------
    home
        The store of the run's own place.
    key
        Key of the signpost there.
    """

    def __init__(self, home: Store, key: str) -> None:
        self._home = home
        self._key = key
        self._main: Signpost | None = None
        self._volumes: tuple[range, ...] = ()
        self._read: dict[range, Signpost | None] = {}
        self.looked = False
        """Whether they were looked for already."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self._main is not None or bool(self._volumes)

    def is_one(self, key: str) -> bool:
        """Tell whether a key is that of a signpost, which belongs to this place alone."""
        return key == self._key or (self._key == SIGNPOST and f"{key}/".startswith(_BELOW))

    async def look(self) -> None:
        """Look which there are now."""
        self.looked = True
        self._main = await self._signpost_at(self._key)
        if self._key == SIGNPOST and isinstance(self._home, LocalStore):
            # Of open runs, blocks are moved out of folders only.
            names = [name async for name in self._home.list_dir(BLOCK_VOLUMES)]
            volumes = [each for name in names if (each := blocks_of_signpost(name)) is not None]
            self._volumes = tuple(sorted(volumes, key=lambda each: each.start))
        self._read = {}

    async def of(self, key: str) -> Signpost | None:
        """Return the signpost that says where an object lies; that of the run if none does."""
        main = self._main
        if self._volumes and (main is None or key not in main.objects):
            block = block_of(key)
            for blocks in self._volumes:
                if block is not None and block in blocks:
                    return await self._volume(blocks)
        return main

    async def known(self, key: str) -> KnownObject | None:
        """Return what an object is, if a signpost says so."""
        post = await self.of(key)
        return None if post is None else post.objects.get(key)

    async def all(self) -> list[Signpost]:
        """Return every signpost."""
        volumes = [await self._volume(blocks) for blocks in self._volumes]
        return [each for each in (self._main, *volumes) if each is not None]

    async def _volume(self, blocks: range) -> Signpost | None:
        if blocks not in self._read:
            self._read[blocks] = await self._signpost_at(volume_signpost(blocks))
        return self._read[blocks]

    async def _signpost_at(self, key: str) -> Signpost | None:
        found = await self._home.get(key, default_buffer_prototype())
        if found is None:
            return None
        where = f"{str(self._home).removeprefix('file://')}/{key}"
        post = Signpost.from_json(found.to_bytes(), where=where)
        return None if post.is_empty else post


_BELOW = f"{BLOCK_VOLUMES}/"
