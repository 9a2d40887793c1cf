"""A home in a bucket, which knows neither locks nor renames: its signposts go by conditions."""

import contextlib
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from blake3 import blake3

from forebay.acquisition import Run
from forebay.acquisition import open_run as open_in_store
from forebay.acquisition.errors import StorageError
from forebay.acquisition.format.logs import row_object_key
from forebay.acquisition.storage.conditional import ConditionalPuts, KeyTakenError
from forebay.tiering.connect import connect
from forebay.tiering.errors import PlaceUnavailableError
from forebay.tiering.homes.own import check_own
from forebay.tiering.reading.signpost import Signpost
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.url_store import UrlStore

_REPLACEMENTS = 8
"""Times that a signpost is put anew because another one has just come in its place."""


@dataclass(frozen=True, slots=True)
class BucketHome:
    """The prefix of a bucket that a run was recorded in; see `Home`.

    A bucket deletes by name, without conditions.  So nothing is ever put again that a mover may
    have deleted here: one that was stopped and wakes up late finds only what nobody wants any
    more.  A run that comes back into the tier lies on a shelf, as any other copy.  Signposts are
    never deleted, but replaced by one that names nothing, and each is put in the place of the one
    that was there before the catalogue was asked.
    """

    shelf: Shelf
    """The prefix, as a place for objects."""
    run_id: str | None = None
    """The run that was recorded under it; None where any may be."""
    comes_back: ClassVar[bool] = False
    keeps_uncommitted: ClassVar[bool] = True

    @property
    def location(self) -> str:
        """Its URL."""
        return self.shelf.where

    def is_there(self) -> bool:
        """Tell whether any object has the prefix."""
        return bool(self.stored())

    def open(self) -> Run:
        """Open the run under the prefix, without those of its objects that lie elsewhere."""
        return open_in_store(UrlStore(connect(self.location), url=self.location))

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        return self.shelf.read(key)

    def stored(self) -> dict[str, int]:
        """Return the length of every object."""
        return self.shelf.stored()

    def lengths(self, keys: Collection[str]) -> dict[str, int]:
        """Return the lengths of those objects that are there."""
        there = self.stored()
        return {key: there[key] for key in keys if key in there}

    def read_at(self) -> int:
        """Return 0: nobody writes down when an object was read."""
        return 0

    def unread(self) -> AbstractContextManager[None]:
        """Do nothing: nobody writes down when an object was read."""
        return contextlib.nullcontext()

    def check_own(self) -> None:
        """Refuse a prefix that was emptied, and that another run was recorded into since.

        Raises
        ------
        RunNotTieredError
            If there is another run.
        PlaceUnavailableError
            If the bucket does not answer.
        """
        content = None if self.run_id is None else self.read(row_object_key(1, 0))
        if self.run_id is not None and content is not None:
            line = content.partition(b"\n")[0] + b"\n"
            check_own(line, run_id=self.run_id, location=self.location)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Check whose the prefix is; nobody is kept away, for all may be changed late, or twice.

        Raises
        ------
        RunNotTieredError
            If it is that of another run by now.
        """
        self.check_own()
        yield

    def put_back(self, contents: Mapping[str, bytes]) -> None:
        """Put objects that were lost, and that never leave this place.

        Raises
        ------
        RunNotTieredError
            If it is that of another run by now.
        """
        self.check_own()
        for key, content in contents.items():
            self.shelf.put(key, content)

    def is_signposted(self, key: str) -> bool:
        """Tell whether there is a signpost that names something.

        Raises
        ------
        RunDamagedError
            If it is none.
        """
        content = self.read(key)
        where = f"{self.location}/{key}"
        return content is not None and not Signpost.from_json(content, where=where).is_empty

    def put_signpost(self, key: str, current: Callable[[], Signpost | None]) -> None:
        """Put the current signpost in the place of the one that was there before it was asked for.

        Whoever puts another one meanwhile is not overwritten: then it is asked for once more,
        and who was overtaken is told so.

        Raises
        ------
        PlaceUnavailableError
            If the bucket refuses or does not answer, or others put signposts all the time.
        RunNotTieredError
            If it is that of another run by now.
        """
        self.check_own()
        # Content that never was there before has a name (ETag) in the bucket that none had.
        identity = uuid.uuid4().hex
        name = f"{self.shelf.path}/{key}"
        where = self.location.removesuffix(f"/{self.shelf.path}")
        puts = ConditionalPuts(self.shelf.bucket, where=where, epoch=0)
        try:
            for _ in range(_REPLACEMENTS):
                known = puts.look(name)
                signpost = current()
                if signpost is None:
                    if known is None:
                        return
                    signpost = Signpost("", places=(), objects={})
                content = signpost.to_json(identity=identity)
                digest = blake3(content).hexdigest()
                try:
                    puts.put(name, [content], digest=digest, instead_of=known)
                except KeyTakenError:
                    continue
                return
        except StorageError as error:
            raise PlaceUnavailableError(str(error)) from error
        raise PlaceUnavailableError(
            f"{self.location}/{key} cannot be written: another program keeps changing it; stop "
            "that one"
        )
