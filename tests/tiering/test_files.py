"""Files of a tier: read in parts or whole, from memory or from the disk, and put whole or not."""

import os
from pathlib import Path

import pytest
from blake3 import blake3

from forebay.tiering.errors import CopyDamagedError
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.files import content_of_file, parts_of_file, put_file
from forebay.tiering.storage.tiers import Tier

LENGTH = 9 * 2**20 + 17


@pytest.fixture(scope="module")
def content() -> bytes:
    """Bytes that are more than one part, and end within a page."""
    return os.urandom(LENGTH)


def anything(size: int, digest: str) -> None:
    """Take all for right."""


@pytest.mark.parametrize("from_disk", [False, True])
@pytest.mark.parametrize("span", [None, (0, 5), (4096, LENGTH), (11, 5 * 2**20), (7, 7)])
def test_parts_are_those_of_the_file(
    tmp_path: Path, content: bytes, span: tuple[int, int] | None, from_disk: bool
) -> None:
    """Wherever they begin and end."""
    path = tmp_path / "object"
    path.write_bytes(content)
    start, end = span or (0, LENGTH)
    found = b"".join([bytes(part) for part in parts_of_file(path, span, from_disk=from_disk)])
    assert found == content[start:end] == content_of_file(path, span)


def test_a_file_that_is_not_right_never_has_its_name(tmp_path: Path, content: bytes) -> None:
    """What was there before stays, and nothing lies beside it."""
    path = tmp_path / "below" / "object"
    put_file(path, [b"before"], check=anything)

    def refuse(size: int, digest: str) -> None:
        assert (size, digest) == (LENGTH, blake3(content).hexdigest())
        raise CopyDamagedError("not that one")

    with pytest.raises(CopyDamagedError, match="not that one"):
        put_file(path, [content[:100], content[100:]], check=refuse)
    assert [each.name for each in path.parent.iterdir()] == ["object"]
    assert path.read_bytes() == b"before"
    put_file(path, [content], check=anything)
    assert path.read_bytes() == content


def test_an_object_of_several_parts_is_copied_and_read_whole(
    tmp_path: Path, content: bytes
) -> None:
    """Between folders, and back into memory."""
    shelf = Tier("hot", TierSpecification(url=tmp_path)).shelf("one")
    other = Tier("hot", TierSpecification(url=tmp_path)).shelf("other")
    known = KnownObject(LENGTH, blake3(content).hexdigest())
    shelf.put("object", content)
    other.copy("object", known, shelf)
    assert shelf.read("object") == other.read("object") == content
    assert other.look("object") == known
    assert other.read("another") is None
    assert other.look("another") is None


def test_a_file_has_its_name_for_good_when_it_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy that it was made from may go then: its folder was flushed after it was named."""
    path = tmp_path / "frames" / "c.0.0.0"
    named: list[bool] = []
    flush = os.fsync

    def watched(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == path.parent:
            named.append(path.exists())
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    put_file(path, [b"frame"], check=anything)
    assert named[-1]


def test_what_is_not_right_never_has_the_name(tmp_path: Path) -> None:
    """Nor takes the place of what is there, though only for a moment."""
    path = tmp_path / "c.0.0.0"
    path.write_bytes(b"right")

    def refuse(_: int, __: str) -> None:
        assert path.read_bytes() == b"right"
        raise ValueError("it is wrong")

    with pytest.raises(ValueError, match="wrong"):
        put_file(path, [b"wrong"], check=refuse)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"right"]
