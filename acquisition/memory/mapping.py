"""One piece of memory, taken beforehand: shared, and in huge pages where that is possible."""

import fcntl
import logging
import mmap
import os
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sizes import size_text

_log = logging.getLogger("forebay.acquisition")

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_HUGE_PAGE = 2 * 2**20
_MEMORY_LEFT = 64 * 2**20
"""Memory that a mapping must leave to the rest of the machine, in bytes."""


class Mapping:
    """Zeroed memory, which another process may map too by its file descriptor.

    Pages are there from the beginning, so that no frame waits for one, and are huge where the
    system gives such pages: what lies in small ones goes to the disk in smaller requests.

    Parameters
    ----------
    size
        Bytes that are wanted; a whole number of pages is taken.
    what
        What it is for, for messages.
    shared
        Whether another process will map it.
    used
        Bytes from its beginning that will be used, where that is known.  The pages behind them are
        taken when somebody uses them after all.

    Raises
    ------
    SourceError
        If there is not so much memory.
    """

    def __init__(
        self, size: int, *, what: str, shared: bool = False, used: int | None = None
    ) -> None:
        self.descriptor = -1
        """The memory as a file, for another process to map; -1 where it is this process's own."""
        page = mmap.PAGESIZE if size < _HUGE_PAGE else _HUGE_PAGE
        self.size = -(-size // page) * page
        """Bytes that were taken."""
        used = self.size if used is None else min(used, self.size)
        available = _available_memory()
        if used > available - _MEMORY_LEFT:
            raise SourceError(
                f"{what} of {size_text(used)} does not fit into memory, of which "
                f"{size_text(available)} are free: take a smaller one"
            )
        if shared:
            self.descriptor = os.memfd_create("forebay", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        kind = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        try:
            if shared:
                os.ftruncate(self.descriptor, self.size)
                # Who maps it as well must not be able to take memory away from under this process.
                fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
            memory = mmap.mmap(self.descriptor, self.size, flags=kind)
        except (OSError, OverflowError, ValueError, MemoryError) as error:
            self.close()
            raise SourceError(
                f"{what} of {self.size} bytes cannot be had from the system ({error}): take a "
                "smaller one"
            ) from error
        if page == _HUGE_PAGE:
            _ask_for_huge_pages(memory)
        self._memory = memory
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        """The memory; nothing once it is given back."""
        # Not by MAP_POPULATE, which would take small pages before anybody could ask for huge ones.
        self.bytes[: used : mmap.PAGESIZE] = 0

    def release(self) -> None:
        """Give the memory back at once: whatever array still shows it shows zeros then.

        For when nobody works with it any more.  The traceback of an error keeps such arrays as
        long as somebody keeps the error.
        """
        # Of shared memory, what another process has mapped is the same pages.
        self._memory.madvise(mmap.MADV_DONTNEED if self.descriptor < 0 else mmap.MADV_REMOVE)
        self.close()

    def close(self) -> None:
        """Give the descriptor back, and the memory as soon as no array shows it any more."""
        self.bytes = np.empty(0, np.uint8)
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        """Use the memory within the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _ask_for_huge_pages(memory: mmap.mmap) -> None:
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError as error:
        # The kernel may be built without them; small pages do the same, a little slower.
        _log.debug("no huge pages: %s", error)


def _available_memory() -> int:
    """Return the bytes that the system can give away without swapping."""
    with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 (no file of ours)
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
