"""Files that are written aside: by which way their bytes go to the file."""

import mmap
import os
import tempfile
from collections.abc import Buffer, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from forebay.acquisition.storage.aside import AsideFile

_PARTS = [bytes([number]) * (2**20 + 7) for number in range(3)]
"""As packed frames are: of any length."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[memoryview]:
    """Return what is given to the system to write, from now on."""
    given: list[memoryview] = []
    pwritev = os.pwritev

    def note(descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        given.extend(memoryview(each) for each in buffers)
        return pwritev(descriptor, buffers, offset)

    monkeypatch.setattr(os, "pwritev", note)
    return given


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """Return a folder of a file system in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="forebay-") as folder:
        yield Path(folder)


def _write(path: Path, *, direct: bool) -> None:
    file = AsideFile(path, direct=direct)
    file.write(_PARTS)
    content = b"".join(_PARTS)
    assert file.finish() == (len(content), blake3(content).hexdigest())
    assert path.read_bytes() == content


def test_a_file_system_in_memory_is_given_the_parts_from_where_they_lie(
    in_memory: Path, written: list[memoryview]
) -> None:
    """There is no disk to write to past the cache: nothing is gathered on pages first."""
    _write(in_memory / "packed", direct=True)
    assert [each.obj for each in written] == _PARTS


def test_through_the_cache_parts_are_written_from_where_they_lie(
    tmp_path: Path, written: list[memoryview]
) -> None:
    """What is not to go past the cache needs no page to begin on."""
    _write(tmp_path / "packed", direct=False)
    assert [each.obj for each in written] == _PARTS


def test_past_the_cache_of_a_disk_parts_are_gathered_on_pages(written: list[memoryview]) -> None:
    """Only the last piece ends within a page, and is less than one: the cache has to do with no more."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="forebay-") as folder:
        _write(Path(folder) / "packed", direct=True)
    *whole, last = [each.nbytes for each in written]
    assert [size % 4096 for size in whole] == [0] * len(whole)
    assert last < 4096
    assert [*whole, last] != [len(part) for part in _PARTS]


def test_past_the_cache_all_that_is_there_is_digested_and_then_written_in_whole_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not a piece for each frame, whose end the disk would have to take by itself.

    When that is done their memory may be used for others.
    """
    size, count = 4 * 2**20 + 4096, 5
    memory = memoryview(mmap.mmap(-1, count * size))
    events: list[object] = []
    pwritev = os.pwritev

    def note(descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        events.append(sum(memoryview(each).nbytes for each in buffers))
        return pwritev(descriptor, buffers, offset)

    def frames() -> Iterator[memoryview]:
        for number in range(count):
            events.append("asked for")
            frame = memory[number * size : (number + 1) * size]
            frame[:] = bytes([number]) * size
            yield frame

    monkeypatch.setattr(os, "pwritev", note)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="forebay-") as folder:
        path = Path(folder) / "shard"
        file = AsideFile(path, direct=True)
        file.write(frames())
        content = bytes(memory) + b"index"
        memory[:] = bytes(len(memory))
        file.write([b"index"])
        assert file.finish() == (len(content), blake3(content).hexdigest())
        assert path.read_bytes() == content
    piece = 8 * 2**20
    assert events == ["asked for"] * count + [piece, piece, count * size - 2 * piece, 5]


def test_past_the_cache_whole_pages_that_begin_within_one_are_gathered(
    written: list[memoryview],
) -> None:
    """As the index of 256 frames may, which lies where the interpreter had room for it."""
    memory = memoryview(mmap.mmap(-1, 3 * mmap.PAGESIZE))
    within = memory[16 : 2 * mmap.PAGESIZE + 16]
    within[:] = bytes(range(256)) * (within.nbytes // 256)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="forebay-") as folder:
        path = Path(folder) / "shard"
        file = AsideFile(path, direct=True)
        file.write([within])
        assert file.finish() == (within.nbytes, blake3(within).hexdigest())
        assert path.read_bytes() == within
    assert [np.asarray(each).ctypes.data % mmap.PAGESIZE for each in written] == [0]
