"""Only one process writes a run: the lock that it holds, and how others see it."""

import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Self

from forebay.acquisition.errors import RunLockedError

# struct flock of Linux: type, whence, start, length, process.  These "open file description"
# locks belong to the open file, so the kernel frees them when the process ends, however it ends,
# and anyone may ask for them without taking them.
_FLOCK = struct.Struct("@hhqqi")


def _whole_file(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)


def writer_name() -> str:
    """Return what a run calls this process."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class WriterLock:
    """The lock that the writer of a run holds on its lock file."""

    def __init__(self, path: Path, *, run: Path) -> None:
        """Take the lock.

        Raises
        ------
        RunLockedError
            If somebody else has it; the message names who.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
        except BlockingIOError as error:
            holder = _read_name(self._descriptor)
            os.close(self._descriptor)
            raise RunLockedError(
                f"{run} is being written by {holder}: wait for it to end, or stop it"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, writer_name().encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Hold the lock within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def current_writer(path: Path) -> str | None:
    """Return who holds the lock file at `path`, or None where nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
        kind, *_ = _FLOCK.unpack(answer)
        return None if kind == fcntl.F_UNLCK else _read_name(descriptor)
    finally:
        os.close(descriptor)


def _read_name(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
