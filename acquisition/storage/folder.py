"""A run in a folder of a POSIX file system."""

import logging
from collections.abc import Buffer, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.errors import RunExistsError
from forebay.acquisition.format import layout
from forebay.acquisition.format.logs import log_key
from forebay.acquisition.format.record import StoredObject
from forebay.acquisition.storage.aside import AsideFile
from forebay.acquisition.storage.held import HeldFolder
from forebay.acquisition.storage.room import CountedRoom, free_bytes

_log = logging.getLogger("forebay.acquisition")


class FolderObject:
    """An object that is written aside, flushed, and named later by a hard link."""

    def __init__(self, key: str, file: AsideFile) -> None:
        self._key = key
        self._file = file

    def write(self, parts: Iterable[Buffer]) -> None:
        """Write parts one behind the other, behind what is there."""
        self._file.write(parts)

    def finish(self) -> StoredObject:
        """Flush the file; return what it is."""
        size, digest = self._file.finish()
        return StoredObject(key=self._key, bytes=size, blake3=digest)

    def discard(self) -> None:
        """Remove the file."""
        self._file.discard()


class FolderStorage:
    """The folder of a run, made or taken over already.

    Nothing is written once its path leads to another folder, which may be another run by then.
    The names of its objects, which never come again, are text and no `Path`: the parts of a path
    are interned, and Python 3.12 keeps those for as long as the process lives.

    Parameters
    ----------
    path
        The folder.
    epoch
        Number of the writer, whose log is there.
    direct
        Whether frames are written past the page cache where that can be done.
    seized
        Whether an earlier writer may still be there, and leave objects where this one's go.
    """

    def __init__(
        self, path: Path, *, epoch: int, direct: bool = False, seized: bool = False
    ) -> None:
        self._path = path
        self._epoch = epoch
        self._direct = direct
        self._seized = seized
        self._folder = HeldFolder(path)
        self._log = durable.AppendLog(path / log_key(epoch))
        self._room = CountedRoom(path)
        self._named: set[str] = set()
        """Objects that have their names and are not in the log."""

    @property
    def where(self) -> str:
        """The path."""
        return str(self._path)

    def new_object(self, key: str, *, expected_bytes: int = 0, large: bool = False) -> FolderObject:
        """Begin an object that will have the name `key`."""
        self._folder.check()
        # What an attempt before this one left behind is not believed.
        aside = self._aside(key)
        durable.remove(aside)
        if not large:
            return FolderObject(key, AsideFile(aside))
        create = partial(AsideFile, aside, expected_bytes=expected_bytes, direct=self._direct)
        return FolderObject(key, self._room.begin(expected_bytes, create))

    def publish(self, objects: Sequence[StoredObject]) -> None:
        """Link each file to its name, never replacing one, and flush the folders."""
        self._folder.check()
        for stored in objects:
            if stored.key not in self._named:
                self._give_name(stored.key)
                self._named.add(stored.key)
        folders = dict.fromkeys(each.key.rpartition("/")[0] for each in objects)
        durable.together(
            [partial(durable.flush_folder, f"{self._path}/{folder}") for folder in folders]
        )
        for stored in objects:
            durable.remove(self._aside(stored.key))

    def append(self, lines: bytes) -> None:
        """Add lines to the log and flush it."""
        self._log.append(lines)
        self._named.clear()

    def show(self, documents: Mapping[str, bytes]) -> None:
        """Rename documents over those of the same keys, the last one behind all others."""
        self._folder.check()
        show(self._path, documents)

    def superseded(self) -> bool:
        """Tell whether there is a log of a later writer."""
        return (self._path / log_key(self._epoch + 1)).exists()

    def free_bytes(self) -> int | None:
        """Return the room that this user may still fill."""
        try:
            return free_bytes(self._path)
        except OSError:
            # Whoever writes there next says what is wrong with it.
            return None

    def close(self) -> None:
        """Close the log, and let go of the folder."""
        self._log.close()
        self._folder.close()

    def _aside(self, key: str) -> str:
        return f"{self._path}/{self._aside_key(key)}"

    def _aside_key(self, key: str) -> str:
        return f"{layout.ASIDE}/{self._epoch:08d}.{key.replace('/', '.')}"

    def _give_name(self, key: str) -> None:
        try:
            self._folder.link(self._aside_key(key), key)
        except FileExistsError as error:
            if not self._seized or self.superseded():
                raise RunExistsError(
                    f"{self._path / key} exists already: another writer was here; resume the run"
                ) from error
            # The log knows of no such object: the writer from which the run was taken has left it.
            put_aside(self._path, [key], epoch=self._epoch)
            self._folder.link(self._aside_key(key), key)


def show(path: Path, documents: Mapping[str, bytes]) -> None:
    """Rename documents over those of the same keys in a run's folder, the last one behind all."""
    *first, last = (
        partial(durable.replace, _aside_of(path, key), path / key, document)
        for key, document in documents.items()
    )
    durable.together(first)
    last()


def _aside_of(path: Path, key: str) -> Path:
    return path / layout.ASIDE / f"document.{key.replace('/', '.')}"


def put_aside(path: Path, keys: Sequence[str], *, epoch: int) -> None:
    """Move objects that were not committed into the quarantine of an epoch."""
    folder = path / layout.QUARANTINE / f"{epoch:08d}"
    for key in keys:
        if (path / key).exists(follow_symlinks=False):
            durable.make_folders(folder)
            (path / key).rename(_free_name(folder, key.replace("/", ".")))
            durable.flush_folder(folder)
            durable.flush_folder((path / key).parent)
            _log.warning("uncommitted object put aside", extra={"run": path.name, "object": key})


def _free_name(folder: Path, name: str) -> Path:
    """Return a path in the quarantine that nothing has yet."""
    path, count = folder / name, 1
    while path.exists(follow_symlinks=False):
        path, count = folder / f"{name}.{count}", count + 1
    return path
