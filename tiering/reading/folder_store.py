"""A copy in a folder, read as a Zarr store that fails in one line."""

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from forebay.tiering.errors import PlaceUnavailableError


class FolderStore(LocalStore):
    """The objects of a copy in a folder, in one read each: obstore copies them twice more."""

    async def get(  # noqa: D102 (Zarr's own)
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        try:
            return await super().get(key, prototype, byte_range)
        except OSError as error:
            said = error.strerror or str(error)
            raise PlaceUnavailableError(f"{self.root} cannot be read: {said}") from error
