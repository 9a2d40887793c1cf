"""Files that objects lie in: read from memory or from the disk, and put so that they last."""

import errno
import fcntl
import mmap
import os
import secrets
from collections.abc import Buffer, Callable, Iterable, Iterator
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.storage.aside import AsideFile

_PAGE = 4096
_PART_BYTES = 4 * 2**20

type Check = Callable[[int, str], None]
"""Given the length and the BLAKE3 digest of what was written; raises if they are not right."""


def parts_of_file(
    path: Path, span: tuple[int, int] | None = None, *, from_disk: bool = False
) -> Iterator[memoryview]:
    """Yield the bytes of a file, part by part; a part holds until the next one is asked for.

    Parameters
    ----------
    path
        The file.
    span
        Where to begin and to end, in bytes; all of it if not given.
    from_disk
        Whether to read what is stored (``O_DIRECT``) rather than what the system still holds of
        it in memory, as far as the file system lets one.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    place = 0 if span is None else span[0]
    descriptor = _open(path, direct=from_disk and place % _PAGE == 0)
    try:
        if from_disk:
            # File systems that know no O_DIRECT, or but the name of it, may go by this.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        end = os.fstat(descriptor).st_size if span is None else span[1]
        # Direct reading takes memory that begins on a page.
        part = memoryview(mmap.mmap(-1, max(1, min(_PART_BYTES, _to_page(end - place)))))
        while place < end:
            if place % _PAGE:
                _leave_direct(descriptor)
            count = min(os.preadv(descriptor, [part], place), end - place)
            if not count:
                return
            yield part[:count]
            place += count
    finally:
        os.close(descriptor)


def content_of_file(path: Path, span: tuple[int, int] | None = None) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    path
        The file.
    span
        Where to begin and to end, in bytes; all of it if not given.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        if span is None:
            return file.read()
        file.seek(span[0])
        return file.read(span[1] - span[0])


def put_file(path: Path, parts: Iterable[Buffer], *, check: Check) -> None:
    """Write a file past the page cache, flush it, have it checked, and give it its name.

    A file that is not put whole, or not right, is removed again.

    Parameters
    ----------
    path
        The file; one that is there is replaced.
    parts
        Its bytes.
    check
        Refuses what was written, before it has its name.
    """
    durable.make_folders(path.parent)
    # obstore, too, takes such a name for one of something unfinished.  It is text and no path, of
    # which Python 3.12 would keep the name for as long as the process lives.
    aside = f"{path}#{secrets.randbits(48)}"
    file = AsideFile(aside, direct=True)
    try:
        for part in parts:
            file.write([part])
        check(*file.finish())
        os.replace(aside, path)  # noqa: PTH105
    except BaseException:
        file.discard()
        raise
    durable.flush_folder(path.parent)


def _open(path: Path, *, direct: bool) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC
    if direct:
        try:
            return os.open(path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return os.open(path, flags)


def _leave_direct(descriptor: int) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)


def _to_page(count: int) -> int:
    return -(-count // _PAGE) * _PAGE
