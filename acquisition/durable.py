"""Writing that survives a power cut: aside, flushed, renamed, and the folder flushed."""

import contextlib
import errno
import os
from collections.abc import Buffer, Iterable, Iterator
from pathlib import Path

from blake3 import blake3

from forebay.acquisition.errors import AcquisitionError, RunExistsError, StorageError

_REMEDIES = {
    errno.ENOSPC: "no space is left there; free some and start a new run",
    errno.EDQUOT: "the quota is used up; raise it or free some space and start a new run",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "permission is denied; let this user write there",
    errno.EPERM: "the operation is not permitted there",
    errno.EIO: "the device reported an I/O error; check it before going on",
}


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` within the block into a `StorageError` that names `what` was written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, AcquisitionError):
            raise
        cause = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, f"the system says: {cause}")
        raise StorageError(f"cannot write {what}: {remedy}") from error


def flush_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_aside(path: Path, parts: Iterable[Buffer]) -> tuple[int, str]:
    """Write a new file and flush it; return its length and its BLAKE3 digest.

    A file that cannot be written whole is removed again.
    """
    digest = blake3()
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            digest.update(view)
            size += view.nbytes
            while view.nbytes:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def publish(temporary: Path, target: Path) -> None:
    """Give a flushed file its name, never replacing another, and make the name durable.

    Raises
    ------
    RunExistsError
        If there is a file of that name.
    """
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise RunExistsError(
            f"{target} exists already: another writer was here; leave the run to it"
        ) from error
    temporary.unlink()
    flush_folder(target.parent)


def replace(temporary: Path, target: Path, content: bytes) -> None:
    """Put `content` in the place of a file in one step, by way of the file `temporary`."""
    temporary.unlink(missing_ok=True)
    write_aside(temporary, [content])
    temporary.replace(target)
    flush_folder(target.parent)


class AppendLog:
    """A file that only grows; a line is durable when `append` returns."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        os.fsync(self._descriptor)
        flush_folder(path.parent)

    def append(self, line: bytes) -> None:
        """Write a line and flush it."""
        view = memoryview(line)
        while view.nbytes:
            view = view[os.write(self._descriptor, view) :]
        os.fdatasync(self._descriptor)

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._descriptor < 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
        self._descriptor = -1
