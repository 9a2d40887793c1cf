"""Writing that survives a power cut: aside, flushed, named, and the folder flushed."""

import contextlib
import errno
import os
from collections.abc import Buffer, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3

from forebay.acquisition.errors import (
    AcquisitionError,
    NoSpaceError,
    RunExistsError,
    StorageError,
)

_NOT_SUPPORTED = (
    "the file system does not support what is needed ({}); a run needs one with hard links, fsync and "
    "locks, such as ext4, XFS, Btrfs or tmpfs"
)
_REMEDIES = {
    errno.ENOSPC: "no space is left there; free some and try again; a recording goes on by 'forebay acquire --resume'",
    errno.EDQUOT: "the quota is used up; raise it or free some space and go on",
    errno.EFBIG: "the file would be larger than is allowed there; raise the limit",
    errno.ENOENT: "its folder is not there any more; somebody has moved or deleted it, which a run can only be "
    "when it is closed",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "permission is denied; let this user write there",
    errno.EPERM: "the operation is not permitted; the folder must not be write-protected, and a run needs a "
    "file system with hard links",
    errno.EEXIST: "a file is where a folder is needed; name another place",
    errno.ENOTDIR: "a file is where a folder is needed; name another place",
    errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter one",
    **{
        each: _NOT_SUPPORTED.format(os.strerror(each))
        for each in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
    },
    errno.EIO: "the device reported an I/O error; check it before going on",
}
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
"""What the system says where there is no room."""


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
        kind = NoSpaceError if error.errno in NO_SPACE else StorageError
        raise kind(f"cannot write {what}: {remedy}") from error


def flush_file(path: str | Path) -> None:
    """Make what was written to a file durable, whoever wrote it."""
    _flush(path, os.O_RDONLY)


def flush_folder(path: str | Path) -> None:
    """Make the entries of a folder durable."""
    _flush(path, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: str | Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # A flush that failed is not tried again, whatever it failed for.
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path)) from error
    finally:
        os.close(descriptor)


def together[T](calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make several things durable at a time; return what the calls return, in their order.

    The system lets one flush of the disk serve all that wait for one.  Every call has ended when
    this returns, or raises what the first of them raised.
    """
    with ThreadPoolExecutor(max(1, len(calls)), thread_name_prefix="forebay-flush") as threads:
        running = [threads.submit(call) for call in calls]
    return [done.result() for done in running]


def make_folders(path: Path) -> None:
    """Make a folder, and those above it that are missing, and make their names durable."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        flush_folder(folder.parent)


def write_aside(path: str | Path, parts: Iterable[Buffer]) -> tuple[int, str]:
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
            _write_all(descriptor, view)
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
        raise
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def _write_all(descriptor: int, view: memoryview) -> None:
    while view.nbytes:
        view = view[os.write(descriptor, view) :]


def remove(path: str | Path) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 (a name that is text need not become a path for this)


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
        # A file object rather than a bare descriptor, so that a forgotten log is closed.
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags), "ab", buffering=0)

    def append(self, line: bytes) -> None:
        """Write a line and flush it.

        Where the system refuses, the line is taken back: what a failed flush has left behind
        may be read now and be gone after a power cut, so nobody shall build on it.

        Raises
        ------
        OSError
            If it cannot be written: then nothing has changed, and where the error tells of no
            space it can be tried again.  Or if it cannot be flushed: then what the system says of
            the file cannot be believed any more, and the error always tells of the device.
        """
        descriptor = self._file.fileno()
        length = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, memoryview(line))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, length)
            raise
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, length)
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from error

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()
