"""Files of frames at one disk: who may count on which room."""

import errno
from pathlib import Path
from typing import NamedTuple

import pytest

from forebay.acquisition.storage.aside import AsideFile
from forebay.acquisition.storage.room import CountedRoom


class Disk(NamedTuple):
    """What the system says of a disk."""

    f_bavail: int
    f_frsize: int


def test_room_is_counted_for_each_file_that_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one file still wants another cannot have; what is written, or given up, it can."""
    free = 10
    monkeypatch.setattr("os.statvfs", lambda _: Disk(free, 1))
    counted = CountedRoom(tmp_path)

    def begin(name: str, size: int) -> AsideFile:
        path = tmp_path / name
        return counted.begin(size, lambda: AsideFile(path, expected_bytes=size))

    one = begin("one", 6)
    with pytest.raises(OSError, match="No space") as refused:
        begin("two", 5)
    assert refused.value.errno == errno.ENOSPC
    assert [each.name for each in tmp_path.iterdir()] == ["one"]
    one.write([b"four"])
    free -= 4
    two = begin("two", 4)
    with pytest.raises(OSError, match="No space"):
        begin("three", 1)
    two.discard()
    three = begin("three", 4)
    three.discard()
    one.discard()


def test_a_file_of_unknown_length_is_begun_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long packed frames will be only packing tells: the disk says so when it is full."""
    monkeypatch.setattr("os.statvfs", lambda _: Disk(0, 1))
    CountedRoom(tmp_path).begin(0, lambda: AsideFile(tmp_path / "packed")).discard()
