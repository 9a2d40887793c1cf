"""Only one process writes a run: the lock that it holds, and how others see it."""

import fcntl
import os
import socket
import struct
import uuid
from pathlib import Path
from typing import Self

from forebay.acquisition import durable
from forebay.acquisition.errors import RunLockedError

# struct flock of Linux: type, whence, start, length, process.  These "open file description"
# locks belong to the open file, so the kernel frees them when the process ends, however it ends,
# a second open in the same process meets them too, and anyone may ask for them without taking
# them.  A process forked from the writer shares the lock until it ends as well.
_FLOCK = struct.Struct("@hhqqi")


def part_of_file(kind: int, start: int, length: int) -> bytes:
    """Return what the system is asked to lock; a length of 0 is all that is behind the start."""
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)


def is_locked(descriptor: int, start: int, length: int) -> bool:
    """Tell whether somebody else has locked any of a part of a file."""
    asked = part_of_file(fcntl.F_WRLCK, start, length)
    kind, *_ = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    return bool(kind != fcntl.F_UNLCK)


def _whole_file(kind: int) -> bytes:
    return part_of_file(kind, 0, 0)


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
        # A file object rather than a bare descriptor, so that a forgotten lock is given back.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))
            os.ftruncate(self._file.fileno(), 0)
            os.pwrite(self._file.fileno(), writer_name().encode(), 0)
        except BlockingIOError as error:
            holder = _read_name(self._file.fileno())
            self._file.close()
            raise RunLockedError(
                f"{run} is being written by {holder}: wait for it to end, or stop it; if it cannot "
                "be stopped, take the run over ('forebay runs close --take-over')"
            ) from error
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def seize(cls, path: Path, *, run: Path) -> Self:
        """Take the place of a holder who cannot be asked to let go, as one that was stopped.

        The lock file is exchanged for another one; whoever held the old one still believes to
        hold the lock.
        """
        other = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        lock = cls(other, run=run)
        try:
            other.rename(path)
            durable.flush_folder(path.parent)
        except BaseException:
            lock.release()
            raise
        return lock

    def release(self) -> None:
        """Give the lock back, also where a forked process shares it."""
        if not self._file.closed:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_UNLCK))
            self._file.close()


def current_writer(path: Path) -> str | None:
    """Return who holds the lock file at `path`, or None where nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _read_name(descriptor) if is_locked(descriptor, 0, 0) else None
    finally:
        os.close(descriptor)


def _read_name(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
