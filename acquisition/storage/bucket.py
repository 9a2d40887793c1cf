"""A run in a bucket of an object store, which has neither renames nor locks nor files that grow."""

import logging
from collections.abc import Buffer, Callable, Iterable, Mapping, Sequence

from blake3 import blake3
from obstore.store import ObjectStore

from forebay.acquisition.errors import RunTakenOverError, StorageError
from forebay.acquisition.format import layout
from forebay.acquisition.format.logs import row_object_key
from forebay.acquisition.format.record import StoredObject
from forebay.acquisition.storage.conditional import ConditionalPuts, KeyTakenError, Stamped

LARGEST_OBJECT_BYTES = 5 * 2**30
"""What can be put in one request, and only one request can have a condition."""

_REPLACEMENTS = 8
"""Times that an object is put anew because another one has just come in its place."""

_log = logging.getLogger("forebay.acquisition")


class BucketObject:
    """An object whose parts are held until it is put, whole, in one request."""

    def __init__(self, key: str, put: Callable[[Sequence[Buffer], str], None]) -> None:
        self._key = key
        self._put = put
        self._parts: list[Buffer] = []
        self._digest = blake3()
        self._size = 0

    def write(self, parts: Iterable[Buffer]) -> None:
        """Take parts, which stay as they are until the object is finished."""
        for part in parts:
            view = memoryview(part).cast("B")
            self._digest.update(view)
            self._size += view.nbytes
            self._parts.append(view)

    def finish(self) -> StoredObject:
        """Put the object; return what it is."""
        digest = self._digest.hexdigest()
        self._put(self._parts, digest)
        self._parts = []
        return StoredObject(key=self._key, bytes=self._size, blake3=digest)

    def discard(self) -> None:
        """Let go of the parts."""
        self._parts = []


class BucketStorage:
    """A run in a bucket, made or taken over already.

    An object has its name from the start, and is no part of the run until the log says so.  The
    log of a writer is a row of objects without a gap; each is put where none is, and that commits.
    Whoever takes the run over seals the row with an object at its end, so that an earlier writer
    finds its place taken.  Nothing is ever deleted, for a bucket deletes without conditions.

    Parameters
    ----------
    store
        The bucket, from where the run begins.
    where
        Name of that place, for messages.
    epoch
        Number of the writer, whose row has its first object.
    """

    def __init__(self, store: ObjectStore, *, where: str, epoch: int) -> None:
        self._where = where
        self._epoch = epoch
        self._puts = ConditionalPuts(store, where=where, epoch=epoch)
        self._next_in_row = 1
        self._documents: dict[str, Stamped] = {}
        """What this writer has shown."""
        self._superseded = False

    @property
    def where(self) -> str:
        """The URL."""
        return self._where

    def new_object(
        self,
        key: str,
        *,
        expected_bytes: int = 0,
        large: bool = False,  # noqa: ARG002
    ) -> BucketObject:
        """Begin an object that will have the name `key`.

        Raises
        ------
        StorageError
            If it will be larger than what one request can put.
        """
        if expected_bytes > LARGEST_OBJECT_BYTES:
            raise StorageError(
                f"{self._where}/{key} would have {expected_bytes} bytes, and {LARGEST_OBJECT_BYTES} "
                "is the most that a bucket takes in one request: take fewer frames per block"
            )
        return BucketObject(key, lambda parts, digest: self._put_object(key, parts, digest))

    def publish(self, objects: Sequence[StoredObject]) -> None:
        """Do nothing: finished objects have their names."""

    def append(self, lines: bytes) -> None:
        """Put the next object of the row.

        May be repeated with the same lines after a `StorageAwayError`, and with no others.

        Raises
        ------
        RunTakenOverError
            If a later writer has sealed the row.
        """
        key = row_object_key(self._epoch, self._next_in_row)
        digest = blake3(lines).hexdigest()
        try:
            self._puts.put(key, [lines], digest=digest)
        except KeyTakenError as taken:
            if (taken.found.epoch, taken.found.blake3) != (self._epoch, digest):
                raise self._taken_over(key) from taken
            # It was put the last time, and only the answer was lost.
        self._next_in_row += 1

    def show(self, documents: Mapping[str, bytes]) -> None:
        """Put documents in the place of those that were there, in their order.

        Raises
        ------
        RunTakenOverError
            If a later writer has shown its own.
        """
        for key, document in documents.items():
            self._documents[key] = self._put_document(key, document)

    def superseded(self) -> bool:
        """Tell whether a later writer was met; nobody is asked, for `append` will meet it."""
        return self._superseded

    def free_bytes(self) -> int | None:
        """Return None: nobody knows."""

    def close(self) -> None:
        """Do nothing."""

    def _put_object(self, key: str, parts: Sequence[Buffer], digest: str) -> None:
        """Put an object of a block that is not committed.

        What an earlier writer left under its name is not committed either: were it so, the log
        would not have it written again.
        """
        known: Stamped | None = None
        for _ in range(_REPLACEMENTS):
            try:
                self._puts.put(key, parts, digest=digest, instead_of=known)
            except KeyTakenError as taken:
                known = self._checked(key, taken.found)
            else:
                return
            if known.blake3 == digest:
                return
            if known.epoch < self._epoch:
                self._keep(key, known)
        raise self._contended(key)

    def _put_document(self, key: str, document: bytes) -> Stamped:
        """Put a document in the place of that of no later writer."""
        known = self._documents.get(key) or self._puts.look(key)
        digest = blake3(document).hexdigest()
        for _ in range(_REPLACEMENTS):
            if known is not None:
                self._checked(key, known)
            try:
                return self._puts.put(key, [document], digest=digest, instead_of=known)
            except KeyTakenError as taken:
                known = taken.found
        raise self._contended(key)

    def _checked(self, key: str, found: Stamped) -> Stamped:
        """Return what was found, if no later writer has made it."""
        if found.epoch > self._epoch:
            raise self._taken_over(key)
        return found

    def _keep(self, key: str, found: Stamped) -> None:
        """Copy what an earlier writer did not commit into the quarantine."""
        name = f"{key.replace('/', '.')}.{found.write_id or 'unknown'}"
        self._puts.copy(key, f"{layout.QUARANTINE}/{found.epoch:08d}/{name}")
        _log.warning("uncommitted object put aside", extra={"run": self._where, "object": key})

    def _contended(self, key: str) -> StorageError:
        return StorageError(
            f"cannot write {self._where}/{key}: another program keeps changing it; stop that one"
        )

    def _taken_over(self, key: str) -> RunTakenOverError:
        self._superseded = True
        return RunTakenOverError(
            f"{self._where} was taken over by another writer, which has written {key}: what this "
            "one has not committed is lost"
        )
