"""The page that specifies run format 1 is right, and is enough to write a reader from.

The reader in this file knows nothing of forebay or Zarr; each step of it is a sentence of
docs/reference/run-format.md.
"""

import json
import re
import struct
import uuid
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import numpy.typing as npt
import pytest
from blake3 import blake3

from forebay.acquisition import Frame, FrameFlag, Geometry, ImageMetadata, RunWriter, open_run
from forebay.acquisition.format import record
from forebay.acquisition.run.writing import create as writer_module

PAGE = Path(__file__).parents[3] / "docs/reference/run-format.md"


class DamagedError(Exception):
    """What a reader must not pass on."""


def check(condition: bool, what: str) -> None:
    if not condition:
        raise DamagedError(what)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a run."""
    logs = sorted((path / "_forebay/log").glob("*.log"))
    check([log.name for log in logs] == [f"{n:08d}.log" for n in range(1, len(logs) + 1)], "row")
    contents = [log.read_bytes() for log in logs]
    records: list[dict[str, Any]] = []
    previous = ""
    for epoch, content in enumerate(contents, start=1):
        following = contents[epoch] if epoch < len(contents) else None
        if following is not None:
            first = json.loads(following.split(b"\n")[0][9:])
            content = content[: first["sealed_bytes"]]
            check(len(content) == first["sealed_bytes"], "shorter than sealed")
        lines = content.split(b"\n")
        lines, rest = lines[:-1], lines[-1]
        check(following is None or not rest, "sealed within a line")
        for number, line in enumerate(lines, start=1):
            text = line[9:]
            valid = line[:9] == b"%08x " % crc32c_of(text)
            valid = valid and json.loads(text)["previous"] == previous
            if not valid:
                last = number == len(lines) and not rest and following is None
                check(last, f"line {number}")
                break
            records.append(json.loads(text))
            previous = blake3(line + b"\n").hexdigest()
    check(records[0]["kind"] == "created", "no beginning")
    return records


def crc32c_of(data: bytes) -> int:
    """CRC-32C by its definition: reflected polynomial 0x82F63B78, all ones before and after."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def read_object(path: Path, stored: dict[str, Any]) -> bytes:
    content: bytes = (path / stored["key"]).read_bytes()
    check(len(content) == stored["bytes"], f"{stored['key']}: length")
    check(blake3(content).hexdigest() == stored["blake3"], f"{stored['key']}: digest")
    return content


def unwrap(stored: bytes, what: str) -> bytes:
    check(stored[-4:] == struct.pack("<I", crc32c.crc32c(stored[:-4])), f"{what}: checksum")
    return stored[:-4]


def read_run(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the frames of an uncompressed run, and what goes along with them."""
    document = json.loads((path / "zarr.json").read_bytes())
    check(document["attributes"]["forebay"]["format_version"] in {1, 2}, "version")
    records = read_log(path)
    run = records[0]["attributes"]
    check(run["format_version"] in {1, 2}, "version")
    check(run["compression"] == "none", "compressed")
    whole = run["frames_per_block"]
    blocks = [each for each in records if each["kind"] == "block"]
    closed = records[-1] if records[-1]["kind"] == "closed" else None
    for block in blocks:
        check(block["extent"]["stop"] - block["extent"]["start"] == whole, "short block")
    if closed and closed["block"]:
        blocks.append(closed["block"])
    dtype = np.dtype(run["data_type"]).newbyteorder("<")
    along = {"timestamp": "<i8", "frame_id": "<u8", "flags": "<u4"}
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*along, "frames")}
    for number, block in enumerate(blocks):
        start, stop = block["extent"]["start"], block["extent"]["stop"]
        check(block["number"] == number, "number")
        check(start == number * whole, "start")
        axes = ".0" * len(run["frame_dims"])
        keys = [*(f"{name}/c.{number}" for name in along), f"frames/c.{number}{axes}"]
        check([each["key"] for each in block["objects"]] == keys, "keys")
        *coordinates, shard = (read_object(path, each) for each in block["objects"])
        for (name, kind), content in zip(along.items(), coordinates, strict=True):
            values = np.frombuffer(unwrap(content, name), kind)
            check(len(values) == whole, f"{name}: count")
            parts[name].append(values[: stop - start])
        index = unwrap(shard[-(16 * whole + 4) :], "index")
        for position in range(whole):
            offset, length = struct.unpack_from("<QQ", index, 16 * position)
            if position >= stop - start:
                check(offset == length == 2**64 - 1, "absent")
                continue
            pixels = unwrap(shard[offset : offset + length], f"frame {start + position}")
            parts["frames"].append(np.frombuffer(pixels, dtype).reshape(1, *run["frame_shape"]))
        check(list(parts["frame_id"][-1][[0, -1]]) == block["frame_ids"], "counters")
        check(list(parts["timestamp"][-1][[0, -1]]) == block["timestamps"], "times")
    frames = blocks[-1]["extent"]["stop"] if blocks else 0
    shown = document["consolidated_metadata"]["metadata"]["frames"]["shape"][0]
    check(shown <= frames, "the log lost its end")
    if closed:
        dropped = [each for block in blocks for each in block["dropped"]] + closed["dropped"]
        count = sum(each["last"] - each["first"] + 1 for each in dropped)
        check(closed["committed"] == frames, "committed")
        check(closed["dropped_count"] == count, "dropped")
        check(closed["counted"] == frames + count, "counted")
    empty = {"frames": np.empty((0, *run["frame_shape"]), dtype)}
    return {
        name: np.concatenate(each) if each else empty.get(name, np.empty(0))
        for name, each in parts.items()
    }


class StoppedClock:
    def time_ns(self) -> int:
        return 1_790_000_000_000_000_000

    def monotonic(self) -> float:
        return 0.0

    def wait_until(self, deadline: float, cancelled: Any) -> bool:
        return True


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run that the page shows: two writers, two frames and one, and a lost counter."""
    run_id = uuid.UUID("6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10")
    monkeypatch.setattr(uuid, "uuid4", lambda: run_id)
    monkeypatch.setattr(writer_module, "writer_name", lambda: "process 4711 on rig")
    path = tmp_path / "example"

    def frame(counter: int) -> Frame:
        pixels = (10 * counter + np.arange(6, dtype="uint16")).reshape(2, 3)
        return Frame(counter, counter * 1_000_000, pixels)

    writer = RunWriter.create(
        path,
        Geometry(("y", "x"), (2, 3), np.dtype("uint16")),
        metadata=ImageMetadata(
            pixel_size=(0.1, 0.1), exposure=0.02, frame_rate=50.0, instrument={"camera": "A-17"}
        ),
        frames_per_block=2,
        clock=StoppedClock(),
    )
    for counter in (7, 8, 9):
        writer.append(frame(counter))
    writer.abandon()
    with RunWriter.resume(path, clock=StoppedClock()) as writer:
        writer.note("event", "the shutter was opened")
        writer.append(frame(10))
    return path


def shown() -> dict[str, str]:
    """Return the page's examples by the name in the comment before each."""
    pattern = r"<!-- example: (.+?) -->\n```\w*\n(.*?)```"
    return dict(re.findall(pattern, PAGE.read_text(), flags=re.DOTALL))


def real(path: Path) -> dict[str, Any]:
    """Return what the page ought to show."""
    group = json.loads((path / "zarr.json").read_bytes())
    shard = (path / "frames/c.0.0.0").read_bytes()
    tree = sorted(
        f"{each.relative_to(path).as_posix()}{'/' if each.is_dir() else ''}\n"
        for each in path.rglob("*")
        if each.is_file() or not any(each.iterdir())
    )
    return {
        "files": "".join(tree),
        "frames/zarr.json": json.loads((path / "frames/zarr.json").read_bytes()),
        "flags/zarr.json": json.loads((path / "flags/zarr.json").read_bytes()),
        "zarr.json, attributes": group["attributes"],
        "_forebay/log/00000001.log": (path / "_forebay/log/00000001.log").read_text(),
        "_forebay/log/00000002.log": (path / "_forebay/log/00000002.log").read_text(),
        "frames/c.0.0.0": "".join(
            f"{start:02x}  {shard[start : start + 16].hex(' ')}\n"
            for start in range(0, len(shard), 16)
        ),
    }


def test_the_examples_are_what_a_writer_writes(example: Path) -> None:
    """Each example of the page: what is JSON as JSON, the log, the shard and the files to the byte."""
    examples, written = shown(), real(example)
    assert set(examples) == set(written)
    for name, content in written.items():
        page = examples[name] if isinstance(content, str) else json.loads(examples[name])
        assert page == content, name


def test_the_group_repeats_the_arrays(example: Path) -> None:
    """The consolidated metadata are the documents of the arrays."""
    group = json.loads((example / "zarr.json").read_bytes())
    arrays = {
        each.parent.name: json.loads(each.read_bytes()) for each in example.glob("*/zarr.json")
    }
    assert group["consolidated_metadata"]["metadata"] == arrays
    assert sorted(arrays) == ["flags", "frame_id", "frames", "timestamp"]
    assert group["attributes"]["forebay"] == read_log(example)[0]["attributes"]


def test_every_field_is_explained() -> None:
    """Each field of each record, each attribute and each flag stands in a table of the page."""
    explained = set(re.findall(r"^\| `(\w+)`", PAGE.read_text(), flags=re.MULTILINE))
    records = (
        record.Opened,
        record.Started,
        record.Noted,
        record.Block,
        record.Closed,
        record.Created,
    )
    parts = (record.Extent, record.StoredObject, record.Dropped)
    names = {each.name for kind in (*records, *parts) for each in fields(kind)}
    attributes = json.loads(shown()["zarr.json, attributes"])["forebay"]
    assert names | set(attributes) | {"previous"} <= explained
    for flag in FrameFlag:
        assert f"| {int(flag)} | `{str(flag.name).lower()}` |" in PAGE.read_text()


def test_the_page_is_enough_to_read_the_example(example: Path) -> None:
    """Two whole frames, then the one after the lost counter."""
    read = read_run(example)
    assert read["frames"][:, 0, 0].tolist() == [70, 80, 100]
    assert read["frame_id"].tolist() == [7, 8, 10]


@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("frames", [0, 3, 8, 9])
def test_a_reader_made_from_the_page_agrees_with_forebay(
    write_run: Callable[..., npt.NDArray[Any]],
    tmp_path: Path,
    shape: tuple[int, ...],
    dtype: str,
    frames: int,
) -> None:
    """Whatever the frames: both read the same pixels, counters, times and flags."""
    pixels = write_run(frames=frames, shape=shape, dtype=dtype)
    read = read_run(tmp_path / "run")
    ours = open_run(tmp_path / "run").frames.compute()
    np.testing.assert_array_equal(read["frames"], pixels)
    np.testing.assert_array_equal(read["frames"], ours)
    np.testing.assert_array_equal(read["frame_id"], ours.frame_id)
    np.testing.assert_array_equal(read["timestamp"], ours.timestamp.to_numpy().astype("int64"))
    np.testing.assert_array_equal(read["flags"], ours.flags)


def test_it_reads_a_run_whose_writer_died(
    write_run: Callable[..., npt.NDArray[Any]], tmp_path: Path
) -> None:
    """A torn line at the end is not a record."""
    pixels = write_run(frames=10, close=False)
    with (tmp_path / "run/_forebay/log/00000001.log").open("ab") as log:
        log.write(b'0badc0de {"previous"')
    np.testing.assert_array_equal(read_run(tmp_path / "run")["frames"], pixels[:8])


@pytest.mark.parametrize("offset", [0, 30, 200, 1000, -30])
@pytest.mark.parametrize("key", ["frames/c.1.0.0", "flags/c.0", "_forebay/log/00000001.log"])
def test_it_notices_what_the_page_tells_it_to_check(
    write_run: Callable[..., npt.NDArray[Any]], tmp_path: Path, key: str, offset: int
) -> None:
    """A reader that does what the page says passes no damage on."""
    write_run(frames=9)
    path = tmp_path / "run" / key
    content = bytearray(path.read_bytes())
    content[offset % len(content)] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read_run(tmp_path / "run")
