"""The bytes of a frame journal: segments, and the records in them.

docs/reference/frame-journal.md says what each of them means.
"""

import struct
import uuid
from collections.abc import Buffer
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import crc32c
import numpy as np

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.record import Dropped
from forebay.acquisition.frames import Geometry, check_geometry

VERSION = 1
SEGMENT_HEADER_BYTES = 4096
RECORD_HEADER_BYTES = 64
ALIGNMENT = 64
"""Records begin at multiples of it."""
RECORD_MAGIC = b"FBJR"

_SEGMENT_MAGIC = b"FBJOURNL"
_SEGMENT = struct.Struct("<8sII16sQQ16sII3Q")
_SEGMENT_FILL = bytes(SEGMENT_HEADER_BYTES - _SEGMENT.size - 4)
_RECORD = struct.Struct("<4sHHIIQQQqQI")
_CHECKSUM = struct.Struct("<I")
_LAST = struct.Struct("<Q")
_DIMS = {2: ("y", "x"), 3: ("c", "y", "x")}


class Kind(IntEnum):
    """What a record holds."""

    FRAME = 1
    DROPPED = 2


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself."""

    run_id: str
    """The run that its frames belong to, a UUID."""
    epoch: int
    """The writer's number."""
    number: int
    """Its place among the segments of the epoch, from 0."""
    first_record: int
    """Number of its first record."""
    geometry: Geometry
    """The layout of its frames."""

    @property
    def name(self) -> str:
        """The name of the file."""
        return segment_name(self.epoch, self.number)

    def encode(self) -> bytes:
        """Return the first bytes of the segment."""
        shape = self.geometry.shape
        fields = _SEGMENT.pack(
            _SEGMENT_MAGIC,
            VERSION,
            self.epoch,
            uuid.UUID(self.run_id).bytes,
            self.number,
            self.first_record,
            self.geometry.dtype.name.encode(),
            len(shape),
            0,
            *shape,
            *[0] * (3 - len(shape)),
        )
        content = fields + _SEGMENT_FILL
        return content + _CHECKSUM.pack(crc32c.crc32c(content))

    @classmethod
    def decode(cls, content: bytes, *, where: str) -> Self:
        """Read a header back.

        Raises
        ------
        RunDamagedError
            If it is not that of a segment, or of another version.
        """
        checksum = _CHECKSUM.pack(crc32c.crc32c(content[:-4]))
        if len(content) != SEGMENT_HEADER_BYTES or content[-4:] != checksum:
            raise RunDamagedError(f"{where}: the head of the segment has changed or is cut off")
        magic, version, epoch, run, number, first, dtype, axes, _, *shape = _SEGMENT.unpack_from(
            content
        )
        if magic != _SEGMENT_MAGIC or version != VERSION or axes not in _DIMS:
            raise RunDamagedError(
                f"{where} is no segment of a frame journal of version {VERSION}; if a newer "
                "forebay wrote it, install that"
            )
        try:
            pixel = np.dtype(dtype.rstrip(b"\0").decode("ascii"))
            geometry = check_geometry(Geometry(_DIMS[axes], tuple(shape[:axes]), pixel))
        except (TypeError, ValueError) as error:
            raise RunDamagedError(f"{where} does not describe frames ({error!r})") from error
        return cls(str(uuid.UUID(bytes=run)), epoch, number, first, geometry)


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What stands before the payload of a record."""

    kind: Kind
    """What the payload is."""
    epoch: int
    """The writer's number."""
    number: int
    """Its place among the records of the epoch, from 0."""
    flushed: int
    """Records of the epoch that were known to be durable when this one was written."""
    counter: int
    """The frame's counter, or the first one that was dropped."""
    timestamp: int
    """When the frame was taken, or the loss noticed, in nanoseconds since 1970-01-01 UTC."""
    flags: int
    """The frame's flags; 0 where it is none."""
    length: int
    """Length of the payload in bytes."""
    checksum: int
    """CRC-32C of the payload."""

    def encode(self) -> bytes:
        """Return the bytes of the header."""
        fields = _RECORD.pack(
            RECORD_MAGIC,
            self.kind,
            0,
            self.epoch,
            self.flags,
            self.number,
            self.flushed,
            self.counter,
            self.timestamp,
            self.length,
            self.checksum,
        )
        return fields + _CHECKSUM.pack(crc32c.crc32c(fields))

    @classmethod
    def decode(cls, content: bytes) -> Self | None:
        """Read a header back, or return None where there is none that is sound."""
        fields, checksum = content[: _RECORD.size], content[_RECORD.size :]
        if fields[:4] != RECORD_MAGIC or checksum != _CHECKSUM.pack(crc32c.crc32c(fields)):
            return None
        _, kind, _, epoch, flags, number, flushed, counter, timestamp, length, payload = (
            _RECORD.unpack(fields)
        )
        if kind not in Kind or (kind == Kind.DROPPED and length < _LAST.size):
            return None
        return cls(Kind(kind), epoch, number, flushed, counter, timestamp, flags, length, payload)


def segment_name(epoch: int, number: int) -> str:
    """Return the name of a segment's file."""
    return f"{epoch:08d}-{number:08d}.segment"


def padded(length: int) -> int:
    """Return the bytes that a record with a payload of `length` bytes takes."""
    return -(-(RECORD_HEADER_BYTES + length) // ALIGNMENT) * ALIGNMENT


def payload_checksum(payload: Buffer) -> int:
    """Return the CRC-32C of a payload."""
    return int(crc32c.crc32c(payload))


def encode_dropped(dropped: Dropped) -> bytes:
    """Return the payload of the record of frames that were dropped."""
    return _LAST.pack(dropped.last) + dropped.reason.encode()


def decode_dropped(record: RecordHeader, payload: Buffer) -> Dropped:
    """Return the dropped frames that a record tells of."""
    (last,) = _LAST.unpack_from(payload)
    reason = bytes(payload)[_LAST.size :].decode(errors="replace")
    return Dropped(record.counter, last, reason, record.timestamp)
