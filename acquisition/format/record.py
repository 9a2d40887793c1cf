"""The records of a run's commit log, and the line in which each is written.

A line is the CRC-32C of its text in eight hexadecimal digits, a space, the record as JSON, and a
line feed.  A record names the BLAKE3 digest of the line before it, so that a log is a chain: no
line can be taken out, added or exchanged unseen.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import crc32c
from blake3 import blake3

from forebay.acquisition.errors import RunDamagedError


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
class Created:
    """The run was made; the first record of its first log."""

    attributes: Mapping[str, Any]
    """What never changes about the run, as `RunLayout.attributes` gives it."""

    kind: Literal["created"] = "created"

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read the record back."""
        return cls(record["attributes"])


@dataclass(frozen=True, slots=True)
class Opened:
    """A writer took the run; the first of its records."""

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
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read the record back."""
        return cls(**_known(cls, record))


@dataclass(frozen=True, slots=True)
class Started:
    """The camera began to count, so that frames lost before the first block are missed."""

    counter: int
    """Counter of the first frame, taken or dropped."""
    at: int
    """When, in nanoseconds since 1970-01-01 UTC."""

    kind: Literal["started"] = "started"

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read the record back."""
        return cls(**_known(cls, record))


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
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read a block back from its record."""
        first_id, last_id = record["frame_ids"]
        first_time, last_time = record["timestamps"]
        return cls(
            number=record["number"],
            extent=Extent(record["extent"]["start"], record["extent"]["stop"]),
            frame_ids=(first_id, last_id),
            timestamps=(first_time, last_time),
            dropped=tuple(Dropped(**_known(Dropped, each)) for each in record["dropped"]),
            # A log has millions of them.
            objects=tuple(
                [
                    StoredObject(each["key"], each["bytes"], each["blake3"])
                    for each in record["objects"]
                ]
            ),
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is whole; nothing comes after.

    The frames that do not fill a block are committed by this very record, so that a short block
    is always the last one, however the writer ends.
    """

    block: Block | None
    """The last block, where it is a short one."""
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
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read the record back."""
        block = None if record["block"] is None else Block.from_json(record["block"])
        dropped = tuple(Dropped(**_known(Dropped, each)) for each in record["dropped"])
        return cls(**{**_known(cls, record), "block": block, "dropped": dropped})


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that happened in the run, or that somebody had to say of it."""

    topic: str
    """What it is about, such as ``annotation``, ``event``, ``flow`` or an anomaly's name."""
    text: str
    """What there is to say."""
    counter: int | None
    """The camera's counter that was the next one then; None before the first frame."""
    at: int
    """When, in nanoseconds since 1970-01-01 UTC."""

    kind: Literal["noted"] = "noted"

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read the record back."""
        return cls(**_known(cls, record))


type Record = Created | Opened | Started | Noted | Block | Closed

_KINDS: Mapping[str, type[Created | Opened | Started | Noted | Block | Closed]] = {
    "created": Created,
    "opened": Opened,
    "started": Started,
    "noted": Noted,
    "block": Block,
    "closed": Closed,
}


def _known(cls: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a record that this version knows; a later one may add others."""
    return {each.name: record[each.name] for each in fields(cls)}


def encode_line(record: Record, *, previous: str) -> bytes:
    """Return the line of the log for `record`, after a line with the digest `previous`."""
    text = json.dumps({"previous": previous, **asdict(record)}, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32c.crc32c(text), text)


def decode_line(line: bytes, *, previous: str | None, where: str) -> Record | None:
    """Return the record of a line, or None where the line is torn or follows another one.

    Parameters
    ----------
    line
        The line, with its line feed.
    previous
        Digest of the line before it; None where that is not to be looked at.
    where
        Its place, for messages.

    Raises
    ------
    RunDamagedError
        If the line is whole, and its record is of no known kind or lacks a field.
    """
    checksum, separator, text = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or not separator or checksum != b"%08x" % crc32c.crc32c(text):
        return None
    try:
        record = json.loads(text)
        if previous is not None and record["previous"] != previous:
            return None
        return _KINDS[record["kind"]].from_json(record)
    except (KeyError, TypeError, ValueError) as error:
        raise RunDamagedError(
            f"{where} holds a record that cannot be understood ({error!r}); "
            "if a newer forebay wrote it, install that"
        ) from error


def line_digest(line: bytes) -> str:
    """Return the digest by which the next line names this one."""
    return str(blake3(line).hexdigest())
