"""From messages to frames: which stream they belong to, and whether they are whole."""

from collections import deque
from collections.abc import Sequence
from typing import assert_never

import crc32c
import numpy as np

from forebay.acquisition.frames import Frame, FrameFlag, Geometry, ImageMetadata
from forebay.acquisition.intake import AnomalyKind, AnomalyLog
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.network.header import (
    Begin,
    DamagedFrameError,
    End,
    FrameHeader,
    MessageError,
    parse_header,
)

_STREAMS_REMEMBERED = 64


class FrameStream:
    """The streams that senders push, one after the other, as one row of frames.

    A new stream takes the place of the one before it, whose late messages are refused: two
    senders that push at the same time are never mixed.  Counters and layouts are delivered as
    they come; it is for the receiver of the frames to judge them.

    Parameters
    ----------
    max_frame_bytes
        Largest frame that is taken.
    anomalies
        Where a new stream is told.
    """

    def __init__(self, *, max_frame_bytes: int, anomalies: AnomalyLog) -> None:
        self._anomalies = anomalies
        self._max_frame_bytes = max_frame_bytes
        self.geometry: Geometry | None = None
        """The layout that the first stream began with; None until then."""
        self.metadata = ImageMetadata()
        """What the first stream says of the instrument."""
        self.ended = False
        """Whether the sender has said that there is no more."""
        self.counted_through: int | None = None
        """Counter of the last exposure, as the sender has said at the end."""
        self._name: str | None = None
        self._left: deque[str] = deque(maxlen=_STREAMS_REMEMBERED)

    def take(self, parts: Sequence[memoryview]) -> Frame | None:
        """Return the frame that a message is; None where it begins or ends a stream.

        The pixels stay where they are, and cannot be written to.

        Raises
        ------
        MessageError
            If the message is refused; nothing has changed then.
        DamagedFrameError
            If it is a frame of the stream that is on, so that its counter can be believed.
        """
        header = parse_header(bytes(parts[0]))
        expected = 2 if isinstance(header, FrameHeader) else 1
        if len(parts) != expected:
            raise MessageError(
                f"a message of the kind '{header.kind}' with {len(parts)} parts: it has {expected}",
            )
        match header:
            case Begin():
                self._begin(header)
                return None
            case End():
                self._end(header)
                return None
            case FrameHeader():
                return self._frame(header, parts[1])
            case _:
                assert_never(header)

    def _begin(self, header: Begin) -> None:
        geometry, first = self._checked(header), self.geometry is None
        self._enter(header.stream, geometry)
        if first:
            self.metadata = header.metadata.as_metadata()

    def _end(self, header: End) -> None:
        if header.stream != self._name:
            raise MessageError(f"the end of stream '{shown(header.stream)}', which is not on")
        self.ended = True
        self.counted_through = header.counter

    def _frame(self, header: FrameHeader, pixels: memoryview) -> Frame:
        geometry = self._checked(header)
        damage = _damage(header, geometry, pixels)
        if damage is not None:
            if header.stream == self._name:
                raise damage
            raise MessageError(str(damage))
        self._enter(header.stream, geometry)
        little = np.frombuffer(pixels, geometry.dtype.newbyteorder("<")).reshape(geometry.shape)
        data = little.astype(geometry.dtype, copy=False)
        data.flags.writeable = False
        return Frame(header.counter, header.timestamp, data, FrameFlag(header.flags))

    def _checked(self, header: Begin | FrameHeader) -> Geometry:
        """Return the layout that a header names, if it is not too large."""
        geometry = header.geometry()
        if geometry.frame_bytes > self._max_frame_bytes:
            raise MessageError(
                f"frames of {_described(geometry)} are {geometry.frame_bytes} bytes; "
                f"max_frame_bytes is {self._max_frame_bytes}",
            )
        return geometry

    def _enter(self, name: str, geometry: Geometry) -> None:
        """Go over to a stream, if it is another one."""
        if name == self._name:
            return
        if name in self._left:
            raise MessageError(f"a message of stream '{shown(name)}', after another one began")
        if self.geometry is None:
            self.geometry = geometry
        if self._name is not None:
            self._left.append(self._name)
            self._anomalies.report(
                AnomalyKind.SENDER_CHANGED,
                f"stream '{shown(name)}' of {_described(geometry)} takes the place of "
                f"'{shown(self._name)}'; what was counted in between is unknown",
            )
        self._name = name


def _damage(
    header: FrameHeader, geometry: Geometry, pixels: memoryview
) -> DamagedFrameError | None:
    """Return what is wrong with the pixels of a frame, if anything is."""
    if len(pixels) != geometry.frame_bytes:
        return DamagedFrameError(
            header.counter,
            f"frame {header.counter} with {len(pixels)} bytes of pixels: {_described(geometry)} are "
            f"{geometry.frame_bytes}",
            # The number may be another one each time, and frames are counted by the reason.
            why="its message had another number of bytes than its pixels have",
        )
    if header.crc32c is not None and header.crc32c != (found := crc32c.crc32c(pixels)):
        return DamagedFrameError(
            header.counter,
            f"frame {header.counter}, whose pixels have the CRC-32C {found} and not "
            f"{header.crc32c}",
            why="its checksum did not fit its pixels",
        )
    return None


def _described(geometry: Geometry) -> str:
    """Return a layout as one reads it: ``64 × 48 uint16``."""
    return f"{' × '.join(map(str, geometry.shape))} {geometry.dtype}"
