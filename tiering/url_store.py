"""A Zarr store over an object store that goes by its URL and fails in one line."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Self

from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore as Upstream
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from forebay.acquisition.storage.said import remedy_for, said_by_store
from forebay.tiering.errors import ArchivedError, PlaceUnavailableError

_ARCHIVED = "InvalidObjectState"
"""What S3 says of an object that has to be recalled first."""
_DENIED = "<Code>AccessDenied</Code>"
"""What it says to who may not do something; of a list, obstore takes it for any failure."""


class UrlStore(ObjectStore[Upstream]):
    """Objects under a URL, read as from a folder.

    A range that begins at the end of an object or behind it is empty, as it is in a file; object
    stores refuse it.

    Parameters
    ----------
    store
        The object store.
    url
        Its location, for messages.
    read_only
        Whether it refuses to write.
    """

    def __init__(self, store: Upstream, *, url: str, read_only: bool = True) -> None:
        super().__init__(store, read_only=read_only)
        self.url = url.rstrip("/")

    def with_read_only(self, read_only: bool = False) -> Self:  # noqa: D102 (Zarr's own)
        return type(self)(self.store, url=self.url, read_only=read_only)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url!r}>"

    async def get(  # noqa: D102 (Zarr's own)
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        with translated(self.url):
            try:
                return await super().get(key, prototype, byte_range)
            except GenericError:
                match byte_range:
                    case RangeByteRequest(start=start) | OffsetByteRequest(offset=start):
                        if start < await super().getsize(key):
                            raise
                    case _:
                        raise
                return prototype.buffer.from_bytes(b"")

    async def exists(self, key: str) -> bool:  # noqa: D102 (Zarr's own)
        with translated(self.url):
            return await super().exists(key)

    async def getsize(self, key: str) -> int:  # noqa: D102 (Zarr's own)
        with translated(self.url):
            return await super().getsize(key)

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:  # noqa: D102 (Zarr's own)
        with translated(self.url):
            async for name in super().list_dir(prefix):
                yield name


@contextmanager
def translated(url: str, *, done: str = "read") -> Iterator[None]:
    """Turn what an object store says into one line of ours.

    Parameters
    ----------
    url
        What was to be read.
    done
        What was to be done to it.

    Raises
    ------
    ArchivedError
        If what was to be read lies in an archive, and has not been recalled.
    PlaceUnavailableError
        If the store does not answer, or not to us.
    """
    try:
        yield
    except BaseError as error:
        if _ARCHIVED in str(error):
            raise ArchivedError(
                f"{url} lies in an archive: recall it ('forebay tier recall') before it is read"
            ) from error
        verb = "read" if done == "read" else "write"
        remedy = (
            f"check the credentials in the environment, and whether they may {verb} this"
            if isinstance(error, PermissionDeniedError | UnauthenticatedError)
            or _DENIED in str(error)
            else "check the network, and credentials, region and endpoint in the environment"
        )
        raise PlaceUnavailableError(
            f"{url} cannot be {done}: {remedy_for(error) or remedy} ({said_by_store(error)})"
        ) from error
