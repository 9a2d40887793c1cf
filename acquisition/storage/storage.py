"""What the writer of a run asks of the place that it writes to."""

from collections.abc import Buffer, Iterable, Mapping, Sequence
from typing import Protocol

from forebay.acquisition.format.record import StoredObject


class ObjectWriter(Protocol):
    """A new object of a block, written in parts as they come; nobody sees it yet."""

    def write(self, parts: Iterable[Buffer]) -> None:
        """Write parts one behind the other, behind what is there; each is asked for in its turn."""

    def finish(self) -> StoredObject:
        """Make the object durable; return what it is."""

    def discard(self) -> None:
        """Leave nothing of the object; may be called at any time, and twice."""


class RunStorage(Protocol):
    """The storage of one run, in the hands of one writer.

    `new_object` and what it returns are used by several threads, each with objects of its own;
    everything else by one thread at a time.  What cannot be written raises `OSError`.
    """

    @property
    def where(self) -> str:
        """Name of the place, for messages."""

    def new_object(self, key: str, *, expected_bytes: int = 0, large: bool = False) -> ObjectWriter:
        """Begin an object that will have the name `key`.

        Parameters
        ----------
        key
            Its name.
        expected_bytes
            Its length, where that is known.
        large
            Whether it holds the frames.
        """

    def publish(self, objects: Sequence[StoredObject]) -> None:
        """Give finished objects their names, and make the names durable.

        May be repeated after an error.
        """

    def append(self, lines: bytes) -> None:
        """Add lines to the writer's log, and make them durable: this is what commits.

        After a `StorageAwayError` nobody knows whether they are there: the same lines come next.
        """

    def show(self, documents: Mapping[str, bytes]) -> None:
        """Put documents in the place of those of the same keys, the last one behind all others."""

    def superseded(self) -> bool:
        """Tell whether a later writer has taken the run over."""

    def free_bytes(self) -> int | None:
        """Return the room that is left, or None where nobody knows."""

    def close(self) -> None:
        """Let go of what is open; may be called twice."""
