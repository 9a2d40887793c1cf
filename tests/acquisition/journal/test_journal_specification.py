"""The page that specifies the frame journal is right, and is enough to write a reader from.

The reader in this file knows nothing of forebay; each step of it is a sentence of
docs/reference/frame-journal.md.
"""

import re
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition import Dropped, Frame, FrameFlag, Geometry
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.reading import read_journal
from forebay.acquisition.journal.row import Room

PAGE = Path(__file__).parents[3] / "docs/reference/frame-journal.md"
RUN_ID = "6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10"

type Entry = tuple[str, int, int, Any]


class DamagedError(Exception):
    """What a reader must not pass on."""


def check(condition: bool, what: str) -> None:
    if not condition:
        raise DamagedError(what)


def crc32c_of(data: bytes) -> int:
    """CRC-32C by its definition: reflected polynomial 0x82F63B78, all ones before and after."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def number_at(content: bytes, offset: int, kind: str = "<Q") -> int:
    return int(struct.unpack_from(kind, content, offset)[0])


def sound_head(content: bytes, offset: int, epoch: int) -> bytes | None:
    head = content[offset : offset + 64]
    sound = len(head) == 64 and head[:4] == b"FBJR" and number_at(head, 8, "<I") == epoch
    return head if sound and number_at(head, 60, "<I") == crc32c_of(head[:60]) else None


def read(folder: Path) -> list[Entry]:
    """Return what a journal holds: kind, counters, and pixels with time and flags, or reason."""
    found: list[Entry] = []
    last = -1
    names = sorted(path.name for path in folder.glob("*.segment"))
    for position, name in enumerate(names):
        epoch, number = (int(part) for part in name.removesuffix(".segment").split("-"))
        content = (folder / name).read_bytes()
        head = content[:4096]
        check(number_at(head, 4092, "<I") == crc32c_of(head[:4092]), "head")
        check(head[:8] == b"FBJOURNL" and number_at(head, 8, "<I") == 1, "version")
        check(head[16:32] == uuid.UUID(RUN_ID).bytes, "run")
        check((number_at(head, 12, "<I"), number_at(head, 32)) == (epoch, number), "name")
        axes = number_at(head, 64, "<I")
        shape = struct.unpack_from("<3Q", head, 72)[:axes]
        pixel = np.dtype(head[48:64].rstrip(b"\0").decode()).newbyteorder("<")
        frame_bytes = int(np.prod(shape)) * pixel.itemsize
        offset, following = 4096, number_at(head, 40)
        while record := sound_head(content, offset, epoch):
            length = number_at(record, 48)
            payload = content[offset + 64 : offset + 64 + length]
            kind = number_at(record, 4, "<H")
            if (
                number_at(record, 16) != following
                or len(payload) != length
                or number_at(record, 56, "<I") != crc32c_of(payload)
                or (kind == 1 and length != frame_bytes)
            ):
                break
            offset += -(-(64 + length) // 64) * 64
            following += 1
            counter, time = number_at(record, 32), number_at(record, 40, "<q")
            if kind == 1 and counter > last:
                flags = number_at(record, 12, "<I")
                found.append(
                    (
                        "frame",
                        counter,
                        counter,
                        (np.frombuffer(payload, pixel).reshape(shape), time, flags),
                    )
                )
                last = counter
            elif kind == 2 and number_at(payload, 0) > last:
                end = number_at(payload, 0)
                found.append(("dropped", max(counter, last + 1), end, (payload[8:].decode(), time)))
                last = end
        if position + 1 < len(names) and names[position + 1].startswith(f"{epoch:08d}-"):
            next_head = (folder / names[position + 1]).read_bytes()[:4096]
            check(number_at(next_head, 40) == following, "a segment ends too early")
        else:
            for place in range(offset + 64, len(content), 64):
                later = sound_head(content, place, epoch)
                check(later is None or number_at(later, 24) <= following, "was durable")
    return found


def pixels(counter: int) -> npt.NDArray[Any]:
    return (10 * counter + np.arange(6, dtype="uint16")).reshape(2, 3)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The journal that the page shows, of a second writer."""
    geometry = Geometry(("y", "x"), (2, 3), np.dtype("uint16"))
    room = Room(capacity_bytes=10_000, segment_bytes=5_000)
    with FrameJournal(tmp_path, run_id=RUN_ID, geometry=geometry, epoch=2, room=room) as journal:
        journal.append(Frame(10, 10_000_000, pixels(10)))
        journal.flush()
        lost = Dropped(11, 12, "no room", 1_790_000_000_000_000_000)
        journal.append(Frame(13, 13_000_000, pixels(13), FrameFlag.SATURATED), dropped=[lost])
    return tmp_path


def test_the_examples_are_what_is_written(example: Path) -> None:
    """To the byte; the lines that the page leaves out are zeros."""
    pattern = r"<!-- example: (.+?), (.+?) -->\n```\w*\n(.*?)```"
    content = (example / "00000002-00000000.segment").read_bytes()
    shown = bytearray(len(content))
    examples = re.findall(pattern, PAGE.read_text(), flags=re.DOTALL)
    assert [part for _, part, _ in examples] == ["head", "records"]
    for name, _, text in examples:
        assert (example / name).exists()
        for line in text.splitlines():
            offset, _, digits = line.partition("  ")
            shown[int(offset, 16) : int(offset, 16) + 16] = bytes.fromhex(digits)
    assert shown[: len(content)] == content


def test_the_page_is_enough_to_read_the_example(example: Path) -> None:
    first, lost, second = read(example)
    assert [each[:3] for each in (first, lost, second)] == [
        ("frame", 10, 10),
        ("dropped", 11, 12),
        ("frame", 13, 13),
    ]
    np.testing.assert_array_equal(second[3][0], pixels(13))
    assert second[3][1:] == (13_000_000, 1)
    assert lost[3] == ("no room", 1_790_000_000_000_000_000)


@pytest.fixture
def several(memory: Callable[[], Path]) -> Path:
    """Two epochs of three segments each, the second of which repeats a part of the first."""
    folder = memory()
    geometry = Geometry(("c", "y", "x"), (2, 2, 3), np.dtype("float32"))
    room = Room(10**6, 4096 + 3 * 128)
    for epoch, first in ((1, 0), (2, 4)):
        journal = FrameJournal(folder, run_id=RUN_ID, geometry=geometry, epoch=epoch, room=room)
        for counter in range(first, first + 8):
            lost = [Dropped(counter, counter, f"lost {counter}", counter)] * (counter % 4 == 2)
            if lost:
                journal.drop(lost[0])
            else:
                journal.append(Frame(counter, -counter, np.full((2, 2, 3), counter, "float32")))
        if epoch == 1:
            journal.close()
        else:
            journal.flush()
            journal._end()
    return folder


def ours(folder: Path) -> list[tuple[str, int, int, Any]]:
    return [
        ("dropped", each.first, each.last, (each.reason, each.at))
        if isinstance(each, Dropped)
        else ("frame", each.counter, each.counter, (each.data.tolist(), each.timestamp, each.flags))
        for each in read_journal(folder, run_id=RUN_ID)
    ]


def theirs(folder: Path) -> list[tuple[str, int, int, Any]]:
    return [
        (kind, first, last, (what[0].tolist(), *what[1:]) if kind == "frame" else what)
        for kind, first, last, what in read(folder)
    ]


def test_a_reader_made_from_the_page_agrees_with_forebay(several: Path) -> None:
    assert [each[1] for each in ours(several)] == list(range(12))
    assert theirs(several) == ours(several)


@pytest.mark.parametrize("offset", [0, 100, 4096, 4110, 4130, 4200, 4300, 4400])
@pytest.mark.parametrize("segment", ["00000001-00000001", "00000001-00000002", "00000002-00000002"])
def test_both_call_the_same_things_damage(several: Path, segment: str, offset: int) -> None:
    path = several / f"{segment}.segment"
    content = bytearray(path.read_bytes())
    content[offset] ^= 4
    path.write_bytes(content)
    try:
        expected: object = theirs(several)
    except DamagedError:
        expected = "damaged"
    try:
        found: object = ours(several)
    except OSError:
        found = "damaged"
    assert found == expected
