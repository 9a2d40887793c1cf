"""A home in a folder: held by a lock of the kernel while it is changed."""

import contextlib
import os
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from zarr.storage import LocalStore

from forebay.acquisition import Run, durable
from forebay.acquisition import open_run as open_in_folder
from forebay.acquisition.format.layout import LOG
from forebay.acquisition.format.logs import log_key
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.homes.own import check_own
from forebay.tiering.moving.home_lock import home_lock
from forebay.tiering.reading.signpost import HOME_LOCK, Signpost


@dataclass(frozen=True, slots=True)
class FolderHome:
    """The folder of a run, or of a result; see `Home`."""

    folder: Path
    """The folder."""
    lock: str = HOME_LOCK
    """What is locked in it by who changes something."""
    run_id: str | None = None
    """The run that was recorded in it; None where any may be."""
    comes_back: ClassVar[bool] = True
    keeps_uncommitted: ClassVar[bool] = False

    @property
    def location(self) -> str:
        """Its path."""
        return str(self.folder)

    def is_there(self) -> bool:
        """Tell whether there is such a folder."""
        return self.folder.is_dir()

    def open(self) -> Run:
        """Open the run in the folder, without those of its objects that lie elsewhere."""
        return open_in_folder(LocalStore(self.folder, read_only=True))

    def read(self, key: str) -> bytes | None:
        """Return what is in a file; None where there is none."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def stored(self) -> dict[str, int]:
        """Return the length of every file.

        Raises
        ------
        RunNotTieredError
            If there is a link.
        """
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_symlink():
                raise RunNotTieredError(f"{path} is a link, which no run has: remove it")
            if path.is_file():
                found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
        return found

    def lengths(self, keys: Collection[str]) -> dict[str, int]:
        """Return the lengths of those files that are there."""
        found = {key: _length(self.folder / key) for key in keys}
        return {key: length for key, length in found.items() if length is not None}

    def read_at(self) -> int:
        """Return when the run was last opened, by the times of its first log.

        File systems write that down once a day, and some never: then it is when the log was
        written.
        """
        try:
            status = (self.folder / LOG / "00000001.log").stat()
        except OSError:
            return 0
        return max(status.st_atime_ns, status.st_mtime_ns)

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        """Set the times of the logs, at the end of the block, to what they were."""
        log = self.folder / LOG
        times = {each: each.stat() for each in log.iterdir()} if log.is_dir() else {}
        try:
            yield
        finally:
            # Only their owner may set them; for others it counts as a reading.
            with contextlib.suppress(PermissionError):
                for path, status in times.items():
                    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def check_own(self) -> None:
        """Refuse a folder that was deleted, and that another run was recorded into since.

        Raises
        ------
        RunNotTieredError
            If there is another run.
        """
        if self.run_id is None:
            return
        try:
            with self.unread(), (self.folder / log_key(1)).open("rb") as file:
                line = file.readline()
        except OSError:
            # What is missing says nothing of another run.
            return
        check_own(line, run_id=self.run_id, location=self.location)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder by its lock.

        Raises
        ------
        PlaceUnavailableError
            If another mover holds it, or there is no such folder.
        RunNotTieredError
            If it is that of another run by now.
        """
        with home_lock(self.folder / self.lock):
            self.check_own()
            yield

    def put_back(self, contents: Mapping[str, bytes]) -> None:
        """Write files that were lost.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        with durable.storage_errors(self.location):
            durable.make_folders((self.folder / self.lock).parent)
        with self.held(), durable.storage_errors(self.location):
            for key, content in contents.items():
                path = self.folder / key
                durable.make_folders(path.parent)
                durable.replace(path.with_name(f"{path.name}.partial"), path, content)

    def is_signposted(self, key: str) -> bool:
        """Tell whether there is such a file."""
        return (self.folder / key).exists()

    def put_signpost(self, key: str, current: Callable[[], Signpost | None]) -> None:
        """Put the current signpost within the lock, or remove the one that is there."""
        path = self.folder / key
        with self.held():
            signpost = current()
            if signpost is None:
                if path.exists():
                    path.unlink()
                    durable.flush_folder(path.parent)
                return
            with durable.storage_errors(str(path)):
                durable.make_folders(path.parent)
                aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}#0")
                durable.replace(aside, path, signpost.to_json())


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
