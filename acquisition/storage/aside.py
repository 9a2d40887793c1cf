"""Files that are written aside, in parts as they come, and flushed before they have a name."""

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Buffer, Sequence
from pathlib import Path

from forebay.acquisition.storage.digest import DigestBeside

_PAGE = 4096
_STAGING_BYTES = 4 * 2**20
_MOST_PARTS = 1024
"""Parts that one call to the system takes (IOV_MAX of Linux)."""


class AsideFile:
    """A new file that grows by parts; its length and BLAKE3 digest are known when it is finished.

    Parameters
    ----------
    path
        The file; nothing may be there.
    expected_bytes
        Length that it will have, where that is known: the room for it is taken at once, so that
        a full disk shows before anything is written.
    direct
        Whether to write past the page cache (``O_DIRECT``) what lies on pages; where the file
        system cannot, the cache is used.
    """

    def __init__(self, path: Path, *, expected_bytes: int = 0, direct: bool = False) -> None:
        self._descriptor = -1
        self._path = path
        self._digest = DigestBeside()
        self._size = 0
        self._taken = expected_bytes
        self._direct = direct
        self._staging: mmap.mmap | None = None
        self._staged = 0
        self._descriptor = _create(path, direct=direct)
        if expected_bytes:
            try:
                _take_room(self._descriptor, expected_bytes)
            except BaseException:
                self.discard()
                raise

    def write(self, parts: Sequence[Buffer]) -> None:
        """Write parts one behind the other, behind what is there."""
        views = [memoryview(part).cast("B") for part in parts]
        self._digest.begin(views)
        try:
            if self._direct and (self._staged or any(view.nbytes % _PAGE for view in views)):
                for view in views:
                    self._stage(view)
            else:
                self._write_views(list(views))
        finally:
            self._digest.end()

    def finish(self) -> tuple[int, str]:
        """Cut the file to what was written, flush it and close it; return length and digest."""
        try:
            self._write_staged()
            if self._taken > self._size:
                os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
        finally:
            self._close()
        return self._size, self._digest.finish()

    def discard(self) -> None:
        """Remove the file."""
        self._close()
        self._digest.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _stage(self, view: memoryview) -> None:
        """Gather what does not begin and end on pages into memory that does."""
        if self._staging is None:
            self._staging = mmap.mmap(-1, _STAGING_BYTES)
        while view.nbytes:
            taken = min(view.nbytes, _STAGING_BYTES - self._staged)
            self._staging[self._staged : self._staged + taken] = view[:taken]
            self._staged += taken
            view = view[taken:]
            if self._staged == _STAGING_BYTES:
                self._write_views([memoryview(self._staging)])
                self._staged = 0

    def _write_staged(self) -> None:
        """Write what was gathered; what ends within a page goes through the cache."""
        if self._staging is not None and self._staged:
            if self._staged % _PAGE:
                self._leave_direct()
            self._write_views([memoryview(self._staging)[: self._staged]])
            self._staged = 0

    def _write_views(self, views: list[memoryview]) -> None:
        for begin in range(0, len(views), _MOST_PARTS):
            self._write_all(views[begin : begin + _MOST_PARTS])

    def _write_all(self, views: list[memoryview]) -> None:
        while views:
            written = os.pwritev(self._descriptor, views, self._size)
            self._size += written
            while views and written >= views[0].nbytes:
                written -= views.pop(0).nbytes
            if written:
                views[0] = views[0][written:]
                if self._direct and written % _PAGE:
                    self._leave_direct()

    def _leave_direct(self) -> None:
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        self._direct = False

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self._close()


def _create(path: Path, *, direct: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if direct:
        try:
            return os.open(path, flags | os.O_DIRECT, 0o644)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    return os.open(path, flags, 0o644)


def _take_room(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
