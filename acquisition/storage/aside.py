"""Files that are written aside, in parts as they come, and flushed before they have a name."""

import errno
import fcntl
import mmap
import os
from collections import deque
from collections.abc import Buffer, Iterable
from pathlib import Path

import numpy as np
from blake3 import blake3

from forebay.acquisition import durable

_PAGE = 4096
_STAGING_BYTES = 4 * 2**20
_DIRECT_BYTES = 8 * 2**20
"""Bytes that are written at a time past the cache: the disk has something to do while the next ones
are prepared, nobody's flush stands long behind them, and it is a multiple of what disks take at once."""
_CACHED_BYTES = 4 * 2**20
"""Bytes that are copied into the cache at a time: the processor has them at hand from the digest."""
_MOST_PARTS = 1024
"""Parts that one call to the system takes (IOV_MAX of Linux)."""


class AsideFile:
    """A new file that grows by parts; its length and BLAKE3 digest are known when it is finished.

    Parameters
    ----------
    path
        The file; nothing may be there.
    expected_bytes
        Length that it will have, where that is known.
    direct
        Whether to write past the page cache (``O_DIRECT``) what lies on pages; where the file
        system cannot, or is itself in memory, the cache is used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        expected_bytes: int = 0,
        direct: bool = False,
    ) -> None:
        self._descriptor = -1
        self._path = path
        self._digest = blake3()
        self._size = 0
        self._expected = expected_bytes
        self._direct = False
        self._staging: mmap.mmap | None = None
        self._staged = 0
        self._taken: deque[memoryview] = deque()
        self._taken_bytes = 0
        self._descriptor = _create(path, direct=direct)
        self._direct = direct and _is_direct(self._descriptor)

    @property
    def room_wanted(self) -> int:
        """Bytes that are still to be written, as far as that is known."""
        return max(0, self._expected - self._size) if self._descriptor >= 0 else 0

    def write(self, parts: Iterable[Buffer]) -> None:
        """Write parts one behind the other, behind what is there.

        Each is asked for when those before it are part of the digest: what is computed of a part
        as it is given and the digest find it in the processor's cache, one after the other.  Past
        the page cache nothing is written before all of them are part of it: the disk would be
        waited for while what has just come leaves the cache.  So parts stay where they are until
        this returns.
        """
        for part in parts:
            view = memoryview(part).cast("B")
            self._digest.update(view)
            self._take(view)
        self._put_all()

    def finish(self) -> tuple[int, str]:
        """Flush the file and close it; return length and digest."""
        try:
            self._write_staged()
            os.fsync(self._descriptor)
        finally:
            self._close()
        return self._size, self._digest.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        self._close()
        durable.remove(self._path)

    def _take(self, view: memoryview) -> None:
        """Take what is part of the digest, to be written behind what is there."""
        if self._direct and (self._staged or not _lies_on_pages(view)):
            self._put_all()
            self._stage(view)
            return
        self._taken.append(view)
        self._taken_bytes += view.nbytes
        if not self._direct and self._taken_bytes >= _CACHED_BYTES:
            self._put_all()

    def _put_all(self) -> None:
        while self._taken:
            self._put()

    def _put(self) -> None:
        """Write the next piece of what was taken."""
        piece: list[memoryview] = []
        room = _DIRECT_BYTES
        while self._taken and room:
            view = self._taken.popleft()
            if view.nbytes > room:
                self._taken.appendleft(view[room:])
                view = view[:room]
            piece.append(view)
            room -= view.nbytes
        self._taken_bytes -= _DIRECT_BYTES - room
        self._write_views(piece)

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
        """Write what was gathered; what ends within a page goes through the cache, and no more."""
        if self._staging is None:
            return
        staged = memoryview(self._staging)[: self._staged]
        whole = self._staged - self._staged % _PAGE
        for part in (staged[:whole], staged[whole:]):
            if part.nbytes % _PAGE:
                self._leave_direct()
            if part.nbytes:
                self._write_views([part])
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


def _create(path: str | Path, *, direct: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if direct:
        try:
            return os.open(path, flags | os.O_DIRECT, 0o644)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            durable.remove(path)
    return os.open(path, flags, 0o644)


def _lies_on_pages(view: memoryview) -> bool:
    return view.nbytes % _PAGE == 0 and np.asarray(view).ctypes.data % _PAGE == 0


def _is_direct(descriptor: int) -> bool:
    """Tell whether what is written goes past the cache, and must lie on pages for it."""
    if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
        return False
    try:
        # Files of a file system in memory (tmpfs) are all that can be sealed. They take O_DIRECT,
        # and have nothing to write to past the cache.
        fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return True
    return False
