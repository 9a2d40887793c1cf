"""The limit: the same bytes in plain files, past the page cache, flushed as often.

Each shard is a file of its own: the frames, each from the begin of a page, and a page with their
lengths.  The file is flushed, then its folder, then a line of a log.
"""

import errno
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numcodecs
import numpy as np
import numpy.typing as npt
from benchmarks.recording_peers.files import flush
from benchmarks.recording_peers.peer import (
    PAGE,
    Compression,
    Recording,
    Stream,
    aligned_memory,
    each_shard,
)

DURABILITY = "shard, folder, log line"
CHECKS = "none"
COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4")

_WRITE_BYTES = 8 * 2**20
_LINE = b"about as long as what is written down of a block of frames".ljust(400) + b"\n"


def prepare(stream: Stream, folder: Path, *, direct: bool = True) -> Recording:
    """Make the folder."""
    folder.mkdir(parents=True)
    log, lock = folder / "log", threading.Lock()
    frame_bytes = stream.nbytes // stream.frames
    together = max(1, min(_WRITE_BYTES // frame_bytes, os.sysconf("SC_IOV_MAX")))
    log.touch()

    def write_shard(number: int) -> None:
        descriptor = _create(folder / str(number), direct=direct)
        try:
            for parts in itertools.batched(_parts(stream), together):
                if os.writev(descriptor, parts) != sum(part.nbytes for part in parts):
                    raise OSError(errno.EIO, "written in part only")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        flush(folder)
        with lock:
            _append(log)

    return Recording(
        lambda: each_shard(stream, write_shard), lambda position: _read(stream, folder, position)
    )


def _read(stream: Stream, folder: Path, position: int) -> npt.NDArray[np.generic]:
    shard, place = divmod(position, stream.frames_per_shard)
    content = (folder / str(shard)).read_bytes()
    index_bytes = _pages(8 * stream.frames_per_shard)
    lengths = np.frombuffer(content[-index_bytes:], np.uint64).astype(int)
    begin = sum(_pages(length) for length in lengths[:place])
    packed = content[begin : begin + lengths[place]]
    plain = packed if stream.compression == "none" else numcodecs.Blosc().decode(packed)
    return np.frombuffer(plain, np.uint16).reshape(stream.shape[1:])


def _parts(stream: Stream) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield what a file consists of, in whole pages."""
    lengths = aligned_memory(_pages(8 * stream.frames_per_shard)).view(np.uint64)
    codec = numcodecs.Blosc("lz4", 5, numcodecs.Blosc.BITSHUFFLE)
    for place, frame in enumerate(stream.shard()):
        packed = frame.reshape(-1).view(np.uint8)
        if stream.compression == "lz4":
            packed = np.frombuffer(codec.encode(frame), np.uint8)
        lengths[place] = packed.nbytes
        if stream.compression == "lz4" or packed.nbytes % PAGE:
            part = aligned_memory(_pages(packed.nbytes))
            part[: packed.nbytes] = packed
            packed = part
        yield packed
    yield lengths.view(np.uint8)


def _pages(nbytes: int) -> int:
    return nbytes + -nbytes % PAGE


def _create(path: Path, *, direct: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags | (os.O_DIRECT if direct else 0), 0o644)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags, 0o644)


def _append(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, _LINE)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
