"""Where a run is sent to: a folder of runs, or a prefix of an object store."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from forebay.acquisition import durable
from forebay.acquisition.plain_path import plain_path
from forebay.tiering.connect import check_no_credentials, connect
from forebay.tiering.errors import TargetTakenError, UnknownPlaceError
from forebay.tiering.handoff.aside import clear_aside, emptied, flush_below, held_aside, name_whole
from forebay.tiering.handoff.receipt import MANIFEST, manifest_objects
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.store import SCHEMES
from forebay.tiering.url_store import translated


class Destination(Protocol):
    """A place for what is sent, which is seen there when it is whole."""

    @property
    def shelf(self) -> Shelf:
        """Where it lies in the end."""

    def refuse_other(self, run_id: str, manifest: bytes) -> None:
        """Refuse a place that holds anything but what was sent there of the same.

        Raises
        ------
        TargetTakenError
            If it holds something else.
        """

    def holds(self, objects: Mapping[str, KnownObject]) -> bool:
        """Tell whether all of that is there, as far as that is seen without reading it."""

    def making(self, identity: str, manifest: bytes) -> AbstractContextManager[Shelf]:
        """Give where the objects are put; when the block has ended, the run is at its place.

        Parameters
        ----------
        identity
            The run.
        manifest
            What is to come: it is put first, and what an earlier attempt with the same one has
            left is there still.
        """


class FolderDestination:
    """A folder of runs: objects come into a folder beside, which is renamed when it is whole.

    Parameters
    ----------
    root
        The folder of runs, which must be there.
    name
        What the run is called there.
    """

    def __init__(self, root: Path, name: str) -> None:
        root = plain_path(root)
        self._path = root / name
        self._bucket = connect(root)

    @property
    def shelf(self) -> Shelf:
        """Where the run lies in the end."""
        return self._shelf(self._path)

    def refuse_other(self, run_id: str, manifest: bytes) -> None:
        """Refuse a place that holds another run, or that one with other content."""
        check_target(self.shelf, run_id, manifest)

    def holds(self, objects: Mapping[str, KnownObject]) -> bool:
        """Tell whether all of that is there, by its lengths."""
        return lie_on(self.shelf, objects)

    @contextmanager
    def making(self, identity: str, manifest: bytes) -> Iterator[Shelf]:
        """Give where the objects are put; when the block has ended, the run is at its place."""
        if self.shelf.read(MANIFEST) == manifest:
            # It has its name, and was not acknowledged yet.
            clear_aside(self._path, identity)
            yield self.shelf
            return
        with held_aside(self._path, identity) as aside:
            made = aside / self._path.name
            shelf = self._shelf(made)
            if shelf.read(MANIFEST) != manifest:
                emptied(aside)
                shelf.put(MANIFEST, manifest)
            yield shelf
            with durable.storage_errors(str(made)):
                shelf.remove_leftovers()
                flush_below(made)
            name_whole(made, self._path)

    def _shelf(self, folder: Path) -> Shelf:
        path = folder.relative_to(self._path.parent).as_posix()
        return Shelf(self._bucket, path, where=str(folder), folder=folder)


class BucketDestination:
    """A prefix of an object store: the run is seen when its last object, the group's, is put.

    Parameters
    ----------
    url
        The prefix of the runs.
    name
        What the run is called there.
    """

    def __init__(self, url: str, name: str) -> None:
        # What is sent to another site is not deleted there: it may keep versions.
        where = f"{url.rstrip('/')}/{name}"
        self._shelf = Shelf(connect(url), name, where=where, versioned=True)

    @property
    def shelf(self) -> Shelf:
        """Where the run lies in the end."""
        return self._shelf

    def refuse_other(self, run_id: str, manifest: bytes) -> None:
        """Refuse a place that holds another run, or that one with other content."""
        check_target(self.shelf, run_id, manifest)

    def holds(self, objects: Mapping[str, KnownObject]) -> bool:
        """Tell whether all of that is there, by its lengths."""
        return lie_on(self.shelf, objects)

    @contextmanager
    def making(self, identity: str, manifest: bytes) -> Iterator[Shelf]:  # noqa: ARG002
        """Give where the objects are put; when the block has ended, the run is at its place."""
        self._claim(manifest)
        if self._shelf.read(MANIFEST) != manifest:
            raise TargetTakenError(
                f"{self._shelf.where} was taken by another transfer just now: choose another name"
            )
        yield self._shelf

    def _claim(self, manifest: bytes) -> None:
        """Put the manifest where none is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with translated(self._shelf.where, done="written"):
            try:
                path = f"{self._shelf.path}/{MANIFEST}"
                obstore.put(self._shelf.bucket, path, manifest, mode="create", use_multipart=False)
            except AlreadyExistsError:
                # An earlier attempt, or somebody else's: what it says is compared.
                return


def check_target(place: Shelf, run_id: str, manifest: bytes | None = None) -> None:
    """Refuse a place that holds anything but what was sent there of a run.

    Parameters
    ----------
    place
        The place.
    run_id
        The run that is to be sent there.
    manifest
        What is to be sent; anything of that run if not given.

    Raises
    ------
    TargetTakenError
        If it holds something else.
    """
    found = place.read(MANIFEST)
    if found is not None:
        other, _ = manifest_objects(found, where=f"{place.where}/{MANIFEST}")
        what = "" if other == run_id else "another run"
    else:
        what = "something that was not sent there" if place.sizes() else ""
    if what:
        raise TargetTakenError(
            f"{place.where} holds {what}: nothing is sent there; choose another place, or another "
            "name with --name"
        )
    if None not in {found, manifest} and found != manifest:
        raise TargetTakenError(
            f"{place.where} holds other content of that run: nothing is sent there; find out "
            "which of the two is right, and choose another place or name for this one"
        )


def lie_on(shelf: Shelf, objects: Mapping[str, KnownObject]) -> bool:
    """Tell whether objects lie on a shelf, by their lengths."""
    sizes = shelf.sizes()
    return all(sizes.get(key) == each.bytes for key, each in objects.items())


def destination_at(place: str | os.PathLike[str], name: str) -> Destination:
    """Return the place of a run of that name in a folder or below a URL.

    Parameters
    ----------
    place
        A folder of runs, or ``s3://bucket/prefix``, ``gs://bucket/prefix`` or
        ``az://container/prefix``, with credentials from the environment.
    name
        What the run is called there.

    Raises
    ------
    UnknownPlaceError
        If runs cannot be sent to such a URL.
    PlaceUnavailableError
        If there is no such folder, or the object store cannot be used as the environment says.
    """
    if not isinstance(place, str) or "://" not in place:
        return FolderDestination(Path(place), name)
    parts = urlsplit(place)
    if parts.scheme == "file" and not parts.netloc:
        return FolderDestination(Path(unquote(parts.path)), name)
    if parts.scheme not in SCHEMES or not parts.netloc or parts.query or parts.fragment:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UnknownPlaceError(
            f"{parts.scheme}://{parts.hostname or ''}… is not a place that a run can be sent to: "
            f"give a folder, or a URL that begins with {known} and goes on with a bucket and a "
            "prefix"
        )
    check_no_credentials(place)
    return BucketDestination(place, name)
