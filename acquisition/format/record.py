"""The records of a run's commit log, and the line in which each is written.

A line is the CRC-32C of its text in eight hexadecimal digits, a space, the record as JSON, and a
line feed.  A record names the BLAKE3 digest of the line before it, so that a log is a chain: no
line can be taken out, added or exchanged unseen.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import crc32c
from blake3 import blake3


@dataclass(frozen=True, slots=True)
class Extent:
    """A half-open range of frames, by their place along ``t``."""

    start: int
    """The first frame."""
    stop: int
    """The frame after the last one."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a block, as it was committed."""

    key: str
    """Its key in the run's store."""
    bytes: int
    """Its length."""
    blake3: str
    """The BLAKE3 digest of its bytes, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Frames that the camera counted and that are not in the run."""

    first: int
    """Counter of the first one."""
    last: int
    """Counter of the last one."""
    reason: str
    """Why they are not there."""
    at: int
    """When that was noticed, in nanoseconds since 1970-01-01 UTC."""

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Block:
    """A committed block."""

    number: int
    """Its place in the run, from 0."""
    extent: Extent
    """Its frames."""
    frame_ids: tuple[int, int]
    """Counters of its first and last frame."""
    timestamps: tuple[int, int]
    """Times of its first and last frame, in nanoseconds since 1970-01-01 UTC."""
    dropped: tuple[Dropped, ...]
    """What was dropped since the block before and within this one."""
    objects: tuple[StoredObject, ...]
    """What holds it, the frames' shard last."""

    kind: Literal["block"] = "block"

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read a block back from its record."""
        return cls(
            number=fields["number"],
            extent=Extent(**fields["extent"]),
            frame_ids=tuple(fields["frame_ids"]),
            timestamps=tuple(fields["timestamps"]),
            dropped=tuple(Dropped(**each) for each in fields["dropped"]),
            objects=tuple(StoredObject(**each) for each in fields["objects"]),
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A writer took the run."""

    run_id: str
    """The run that the log belongs to."""
    epoch: int
    """Number of the writer, from 1; it also names the log."""
    writer: str
    """Who it is: program, process and host."""
    at: int
    """When, in nanoseconds since 1970-01-01 UTC."""
    sealed_bytes: int
    """Length of the log before this one that counts; whatever is written behind it is void."""

    kind: Literal["opened"] = "opened"

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the record back."""
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is whole; nothing comes after."""

    counted: int
    """Frames that the camera counted, from the first one seen to the last."""
    committed: int
    """Frames that the run holds."""
    dropped_count: int
    """Frames that were dropped in the whole run."""
    dropped: tuple[Dropped, ...]
    """What was dropped since the last block."""
    reason: str
    """Why the run ended."""
    at: int
    """When, in nanoseconds since 1970-01-01 UTC."""

    kind: Literal["closed"] = "closed"

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read the record back."""
        dropped = tuple(Dropped(**each) for each in fields["dropped"])
        return cls(**{**fields, "dropped": dropped})


type Record = Opened | Block | Closed

_KINDS: Mapping[str, type[Opened | Block | Closed]] = {
    "opened": Opened,
    "block": Block,
    "closed": Closed,
}


def encode_line(record: Record, *, previous: str) -> bytes:
    """Return the line of the log for `record`, after a line with the digest `previous`."""
    text = json.dumps({"previous": previous, **asdict(record)}, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32c.crc32c(text), text)


def decode_line(line: bytes, *, previous: str) -> Record | None:
    """Return the record of a line, or None where the line is torn or follows another one."""
    checksum, separator, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or not separator or checksum != b"%08x" % crc32c.crc32c(text):
        return None
    fields = json.loads(text)
    if fields.pop("previous") != previous:
        return None
    return _KINDS[fields.pop("kind")].from_json(fields)


def line_digest(line: bytes) -> str:
    """Return the digest by which the next line names this one."""
    return str(blake3(line).hexdigest())
