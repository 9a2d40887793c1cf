"""Room on a disk for files that are begun, so that no two of them count on the same."""

import errno
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Filling(Protocol):
    """A file that grows."""

    @property
    def room_wanted(self) -> int:
        """Bytes that are still to be written."""


class CountedRoom:
    """Begins files only where there is room for the whole of each.

    The room is counted and not taken: what is written into room that was taken beforehand has to
    be marked as written afterwards, on a disk, and is touched twice in memory.

    Parameters
    ----------
    path
        The folder of the files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: weakref.WeakSet[Filling] = weakref.WeakSet()
        self._lock = threading.Lock()

    def begin[F: Filling](self, size: int, create: Callable[[], F]) -> F:
        """Create a file that will have so many bytes, or an unknown number where that is 0.

        Raises
        ------
        OSError
            If there is no room for it beside what those before it still want.
        """
        with self._lock:
            wanted = size + sum(file.room_wanted for file in self._files)
            if size and wanted > free_bytes(self._path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            file = create()
            self._files.add(file)
            return file


def free_bytes(path: Path) -> int:
    """Return the room that this user may still fill on the file system of `path`."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def nearest_folder(path: Path) -> Path:
    """Return the folder, or the nearest one above it that is there: where it would be made."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
