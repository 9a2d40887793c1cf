"""Runs whose logs can be damaged, and what must hold of them once they are repaired."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import zarr

from forebay.acquisition import Frame, Geometry, Run, RunWriter, open_run, verify_run
from forebay.acquisition.format.record import (
    Record,
    decode_line,
)

GEOMETRY = Geometry(("y", "x"), (5, 7), np.dtype("uint16"))
COUNTERS = [3, 4, 5, 7, 8, 9, 20, 21, 22]
"""Four blocks of two and a short one; 0 to 2 were dropped first, and others on the way."""
KEYS = ["timestamp/c.{}", "frame_id/c.{}", "flags/c.{}", "frames/c.{}.0.0"]


def pixels(counter: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return (np.arange(35).reshape(5, 7) + 100 * counter).astype("uint16")


def write(path: Path, *, close: bool = True, compression: Any = "none") -> Path:
    """Write a run of two epochs; the second writer begins behind the first two blocks."""
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=2, compression=compression)
    writer.drop(0, 2, reason="the shutter was closed")
    for counter in COUNTERS:
        if counter == 8:
            writer.abandon()
            writer = RunWriter.resume(path)
        if counter == 20:
            writer.drop(10, 15, reason="the buffer was full")
        writer.append(Frame(counter, 10 * counter, pixels(counter)))
    if close:
        writer.drop(23, 24, reason="the end")
        writer.close(reason="all is recorded")
    else:
        writer.abandon()
    return path


def logs_of(path: Path) -> list[Path]:
    return sorted((path / "_forebay/log").iterdir())


def lines_of(path: Path) -> list[tuple[Path, bytes]]:
    return [(log, line) for log in logs_of(path) for line in log.read_bytes().splitlines(True)]


def records_of(path: Path) -> list[Record]:
    records = [decode_line(line, previous=None, where="") for _, line in lines_of(path)]
    return [each for each in records if each]


def damage_line(path: Path, number: int) -> str:
    """Change a byte in the middle of a line, counted through all logs; return its kind."""
    log, line = lines_of(path)[number]
    changed = bytearray(line)
    changed[len(line) // 2] ^= 0x01
    log.write_bytes(log.read_bytes().replace(line, bytes(changed)))
    return str(json.loads(line[9:])["kind"])


def flip(path: Path, offset: int = 5) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def tree(path: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content, without the name of the last writer."""
    files = (each for each in path.rglob("*") if each.is_file() and each.name != "writer.lock")
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


def lost_in(run: Run) -> Counter[int]:
    return Counter(counter for each in run.dropped for counter in range(each.first, each.last + 1))


def check_sound(path: Path, *, counters: list[int], last: int | None = 24) -> Run:
    """All frames are there with the right pixels, each counter is accounted for once, to all."""
    run = open_run(path)
    assert verify_run(run).problems == ()
    frames = run.frames.compute()
    assert frames.frame_id.to_numpy().tolist() == counters
    assert frames.timestamp.to_numpy().astype(int).tolist() == [10 * each for each in counters]
    right = np.array([pixels(each) for each in counters]).reshape(-1, 5, 7)
    np.testing.assert_array_equal(frames, right)
    np.testing.assert_array_equal(zarr.open_array(path / "frames", mode="r")[:], right)
    if last is not None:
        assert lost_in(run) + Counter(counters) == Counter(range(last + 1))
    return run


def line_of(record: dict[str, Any]) -> bytes:
    """Return the line of a log for a record."""
    text = json.dumps(record).encode()
    return b"%08x %s\n" % (crc32c.crc32c(text), text)
