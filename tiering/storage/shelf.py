"""A shelf: the place in a tier where one copy of a run lies, under the keys of the run."""

import contextlib
import errno
import re
from collections.abc import Buffer, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import obstore
from blake3 import blake3
from obstore.store import ObjectStore

from forebay.acquisition import durable
from forebay.tiering.errors import CopyDamagedError, PlaceUnavailableError, TierFullError
from forebay.tiering.keys import check_key
from forebay.tiering.packing.pack import Pack
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.files import Check, content_of_file, parts_of_file, put_file
from forebay.tiering.storage.object_lock import ObjectLock
from forebay.tiering.url_store import translated

if TYPE_CHECKING:
    from obstore import GetOptions

PART_BYTES = 8 * 2**20
"""Bytes that a bucket is asked for at a time, and that one request of a large object puts."""
_PARTS_AT_ONCE = 4
_NO_VERSION = "null"
"""What a bucket calls the version of an object whose versioning is switched off."""
_LARGE_BYTES = 64 * 2**20
_UNFINISHED = re.compile(r"#\d+$")
"""How a file is called that has not got its name yet, as obstore does it."""
_FULL = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")

type Passing = Callable[[int], None]
"""Told of so many bytes that go through; it may wait."""


def unhindered(_: int) -> None:
    """Let bytes through."""


def _anything(_size: int, _digest: str) -> None:
    """Take what was written for right: it is read back later."""


@dataclass(frozen=True, slots=True)
class Came:
    """What has come onto a shelf by one copy."""

    keys: tuple[str, ...]
    """The objects."""
    pack: Pack | None
    """The pack that they lie in, if they do."""


class Source(Protocol):
    """What objects are copied from."""

    @property
    def where(self) -> str:
        """Its path or URL."""

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""

    def parts(self, key: str) -> Iterator[Buffer]:
        """Yield an object's bytes, part by part; FileNotFoundError if there is none."""


@dataclass(frozen=True)
class Shelf:
    """One copy of a run, by its objects.

    An object is only ever put here with the bytes that the catalogue knows it by: they are
    compared before it has its name.  So whoever puts an object, late or twice, changes nothing.
    """

    bucket: ObjectStore = field(repr=False)
    """The tier."""
    path: str
    """Where the copy lies within it."""
    where: str
    """Its path or URL."""
    folder: Path | None = None
    """Its folder, where it lies in a file system."""
    attributes: dict[str, str] = field(default_factory=dict)
    """What is said of each object that is put, such as its storage class."""
    versioned: bool = False
    """Whether the bucket may keep versions of what is deleted."""
    lock: ObjectLock | None = None
    """What locks objects here, where the tier has them locked."""

    def stored_as(self, key: str) -> str:
        """Return the name of what holds an object here, below the shelf's path."""
        return key

    def span(self, key: str) -> tuple[int, int] | None:  # noqa: ARG002 (of packs)
        """Return where an object begins and ends in what holds it; None if it is all of that."""
        return None

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        check_key(key)
        span = self.span(key)
        if span is not None and span[0] == span[1]:
            return b""
        try:
            if self.folder is not None:
                with _readable(self.where):
                    return content_of_file(self.folder / self.stored_as(key), span)
            path, options = self._wanted(self.stored_as(key), span)
            with translated(self.where):
                return bytes(obstore.get(self.bucket, path, options=options).bytes())
        except FileNotFoundError:
            return None

    def parts(self, key: str, *, from_disk: bool = False) -> Iterator[Buffer]:
        """Yield an object's bytes, part by part; a part holds until the next one is asked for.

        Parameters
        ----------
        key
            The object.
        from_disk
            Whether a file is read from its disk as far as the system lets one: what it still
            holds in memory says nothing of what was stored.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        check_key(key)
        span = self.span(key)
        if span is None or span[0] < span[1]:
            yield from self.parts_stored_as(self.stored_as(key), span, from_disk=from_disk)

    def parts_stored_as(
        self, name: str, span: tuple[int, int] | None = None, *, from_disk: bool = False
    ) -> Iterator[Buffer]:
        """Yield the bytes of what lies here under a name, as `parts` does of an object."""
        if self.folder is not None:
            with _readable(self.where):
                yield from parts_of_file(self.folder / name, span, from_disk=from_disk)
            return
        path, options = self._wanted(name, span)
        with translated(self.where):
            found = obstore.get(self.bucket, path, options=options)
            yield from found.stream(min_chunk_size=PART_BYTES)

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Return bytes of what lies here under a name."""
        with translated(self.where):
            found = obstore.get_range(self.bucket, f"{self.path}/{name}", start=start, end=end)
            return bytes(found)

    def _wanted(self, name: str, span: tuple[int, int] | None) -> "tuple[str, GetOptions | None]":
        """Return what is asked of an object store."""
        return f"{self.path}/{name}", None if span is None else {"range": span}

    def copy(
        self, key: str, known: KnownObject, source: Source, *, passing: Passing = unhindered
    ) -> Came:
        """Put an object here that lies on another shelf, and make it durable.

        Returns
        -------
        Came
            What is here now: the object, and those that lie in one piece with it.

        Raises
        ------
        CopyDamagedError
            If it is not there, or not what it is known as: then nothing has come here.
        PlaceUnavailableError
            If one of the two places does not answer.
        TierFullError
            If there is no room here.
        """
        check_key(key)

        def check(size: int, digest: str) -> None:
            _check(source, key, known, size, digest)

        self._put(key, _let_through(source, key, passing), size=known.bytes, check=check)
        return Came((key,), None)

    def put(self, key: str, content: bytes) -> None:
        """Put an object, and make it durable."""
        check_key(key)
        self._put(key, iter([content]), size=len(content))

    def put_parts(self, key: str, parts: Iterator[Buffer]) -> None:
        """Put an object that is made part by part, and make it durable."""
        check_key(key)
        self._put(key, parts)

    def _put(
        self,
        key: str,
        parts: Iterator[Buffer],
        *,
        size: int | None = None,
        check: Check = _anything,
    ) -> None:
        """Put parts of an object; it has its name only if they are what is expected."""
        with _room(self.where):
            if self.folder is not None:
                put_file(self.folder / key, parts, check=check)
                return
            self._put_in_bucket(key, _checked(parts, check), size=size)

    def _put_in_bucket(self, key: str, parts: Iterator[bytes], *, size: int | None) -> None:
        attributes: Any = dict(self.attributes) or None
        path = f"{self.path}/{key}"
        with translated(self.where, done="written"):
            try:
                if size is not None and size <= _LARGE_BYTES:
                    stored = obstore.put(
                        self.bucket,
                        path,
                        b"".join(parts),
                        attributes=attributes,
                        use_multipart=False,
                    )
                else:
                    stored = obstore.put(
                        self.bucket,
                        path,
                        parts,
                        attributes=attributes,
                        use_multipart=True,
                        chunk_size=PART_BYTES,
                        max_concurrency=_PARTS_AT_ONCE,
                    )
            except FileNotFoundError as error:
                raise PlaceUnavailableError(
                    f"{self.where} cannot be written: there is no such bucket; make it, or check "
                    "its name and the endpoint"
                ) from error
        if stored["version"] not in {None, _NO_VERSION} and not self.versioned:
            raise PlaceUnavailableError(
                f"{self.where} keeps old versions of what is deleted, so that nothing would become "
                "free: switch the bucket's versioning off, or set 'versioned' for the tier if "
                "something else ends old versions"
            )

    def look(self, key: str, *, passing: Passing = unhindered) -> KnownObject | None:
        """Read an object back from where it is stored; return what it is, None if nothing is."""
        digest, size = blake3(), 0
        try:
            for part in self.parts(key, from_disk=True):
                content = memoryview(part)
                digest.update(content)
                size += len(content)
                passing(len(content))
        except FileNotFoundError:
            return None
        return KnownObject(size, str(digest.hexdigest()))

    def look_along(
        self, key: str, *, passing: Passing = unhindered
    ) -> dict[str, KnownObject | None]:
        """Read an object back, with those that lie in one piece with it."""
        return {key: self.look(key, passing=passing)}

    def seen(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the lengths of the run's objects, by the lengths of what lies here."""
        return dict(sizes)

    def sizes(self) -> dict[str, int]:
        """Return the length of every object that is here, by its key."""
        return self.seen(self.stored())

    def stored(self) -> dict[str, int]:
        """Return the length of everything that lies here, by its name."""
        found: dict[str, int] = {}
        with translated(self.where):
            below = len(self.path) + 1
            for several in obstore.list(self.bucket, prefix=self.path):
                found.update({each["path"][below:]: each["size"] for each in several})
        return found

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are gone already.

        Raises
        ------
        LockedError
            If one is locked; those before it are gone.
        """
        for key in keys:
            check_key(key)
            if self.folder is not None:
                with _room(self.where):
                    (self.folder / key).unlink(missing_ok=True)
            else:
                if self.lock is not None:
                    self.lock.refuse_locked(key)
                with translated(self.where, done="written"), contextlib.suppress(FileNotFoundError):
                    obstore.delete(self.bucket, f"{self.path}/{key}")
        if self.folder is not None:
            for folder in dict.fromkeys((self.folder / key).parent for key in keys):
                if folder.is_dir():
                    durable.flush_folder(folder)

    def leave_marks(self, keys: Sequence[str]) -> None:
        """Delete objects in a folder, and leave nothing but their names, on empty files.

        Whoever knows only Zarr takes an object that is not there for one that holds the fill
        value, and one that is empty for a damaged one.
        """
        if self.folder is None:
            raise ValueError(f"{self.where} is no folder")
        paths = [self.folder / check_key(key) for key in keys]
        with _room(self.where):
            for path in paths:
                aside = path.with_name(f"{path.name}#0")
                aside.touch()
                aside.replace(path)
            for folder in dict.fromkeys(path.parent for path in paths):
                durable.flush_folder(folder)

    def remove_leftovers(self) -> None:
        """Remove what is left of puts that were interrupted."""
        if self.folder is not None and self.folder.is_dir():
            for folder, _, names in self.folder.walk():
                for name in names:
                    if _UNFINISHED.search(name):
                        (folder / name).unlink(missing_ok=True)

    def remove_folders_of(self, keys: Iterable[str]) -> None:
        """Remove folders in which objects lay, and nothing lies any more, but those at the top."""
        if self.folder is None:
            return
        above = {parent for key in keys for parent in PurePosixPath(key).parents}
        for each in sorted(above, key=lambda each: len(each.parts), reverse=True):
            if len(each.parts) > 1:
                with contextlib.suppress(OSError):
                    (self.folder / each).rmdir()

    def remove_folders(self) -> None:
        """Remove the folders of a shelf that nothing lies on any more."""
        if self.folder is None or not self.folder.is_dir():
            return
        self.remove_leftovers()
        for folder, _, _ in self.folder.walk(top_down=False):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _let_through(source: Source, key: str, passing: Passing) -> Iterator[Buffer]:
    """Yield the parts of an object that is to be copied."""
    try:
        for part in source.parts(key):
            passing(len(memoryview(part)))
            yield part
    except FileNotFoundError as error:
        raise CopyDamagedError(f"{source.where}/{key} is missing") from error


def _checked(parts: Iterator[Buffer], check: Check) -> Iterator[bytes]:
    """Yield parts that may be kept; fail behind the last one if they are not right."""
    digest, size = blake3(), 0
    for part in parts:
        content = bytes(part)
        digest.update(content)
        size += len(content)
        yield content
    check(size, str(digest.hexdigest()))


def compare(source: Source, key: str, known: KnownObject, content: bytes | None) -> None:
    """Refuse an object's bytes that are not what it is known as.

    Raises
    ------
    CopyDamagedError
        If they are not.
    """
    if content is None:
        raise CopyDamagedError(f"{source.where}/{key} is missing")
    _check(source, key, known, len(content), blake3(content).hexdigest())


def _check(source: Source, key: str, known: KnownObject, size: int, digest: str) -> None:
    if (size, digest) != (known.bytes, known.blake3):
        raise CopyDamagedError(
            f"{source.where}/{key} is not what it was: it has {size} bytes that are not the "
            f"{known.bytes} which were committed"
        )


@contextlib.contextmanager
def _room(where: str) -> Iterator[None]:
    """Tell a place that is full from one that does not answer."""
    try:
        yield
    except CopyDamagedError:
        raise
    except OSError as error:
        if error.errno in durable.NO_SPACE or any(each in str(error) for each in _FULL):
            raise TierFullError(
                f"{where} has no room left: free some, or give runs another tier"
            ) from error
        if isinstance(error, PlaceUnavailableError):
            raise
        said = error.strerror or str(error)
        raise PlaceUnavailableError(f"{where} cannot be written: {said}") from error


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    """Tell a file that is not there from one that cannot be read."""
    try:
        yield
    except PlaceUnavailableError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise FileNotFoundError(str(error)) from error
        said = error.strerror or str(error)
        raise PlaceUnavailableError(f"{where} cannot be read: {said}") from error
