"""Only one mover at a time changes the folder that a run, or a result, was made in."""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from forebay.tiering.errors import HomeBusyError, PlaceUnavailableError

# struct flock of Linux: type, whence, start, length, process; see the lock of a run's writer.
_FLOCK = struct.Struct("@hhqqi")


@contextlib.contextmanager
def home_lock(path: Path) -> Iterator[None]:
    """Hold the folder of a run, or of a result, by its lock for the time of the block.

    Other copies lie on shelves whose names are never used again, so that a mover which wakes up
    late finds only what nobody wants any more.  The folder of a run keeps its name.  A mover that
    was stopped in the middle of a change there still holds this lock, and nobody changes anything
    there until it goes on or is gone; the kernel frees the lock with the process.

    Raises
    ------
    HomeBusyError
        If another mover holds it.
    PlaceUnavailableError
        If there is no such folder.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise PlaceUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError as error:
            raise HomeBusyError(
                f"{path.parent.parent} is being changed by another mover"
            ) from error
        yield
    finally:
        os.close(descriptor)
