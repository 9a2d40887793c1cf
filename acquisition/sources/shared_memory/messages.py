"""What the two sides say to each other over the socket, before frames come and after."""

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from forebay.acquisition.errors import FrameError, SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata, check_geometry
from forebay.acquisition.memory.slots import FrameSlots

HELLO: Final = struct.Struct("<8s4I3Q2d")
"""Magic, version, bytes, dtype, waits; channels, height, width; frame rate, exposure."""
GOODBYE: Final = b"fbayends"
"""What a producer says when no frame will come any more."""
LAST: Final = struct.Struct("<8sQ")
"""What it says instead where it skipped the last ones: `LAST_MAGIC`, and the counter of the last."""
LAST_MAGIC: Final = b"fbaylast"

_WELCOME: Final = struct.Struct("<8s4I4Q2I192s")
_MAGIC: Final = b"fbayring"
_VERSION: Final = 1
_LONGEST_AXIS: Final = 2**31 - 1
_DTYPES: Final = {
    ord(kind) << 8 | size: np.dtype(f"{kind}{size}")
    for kind, sizes in {"u": (1, 2, 4, 8), "i": (1, 2, 4, 8), "f": (2, 4, 8)}.items()
    for size in sizes
}


@dataclass(frozen=True, slots=True)
class Hello:
    """What a producer says of its frames."""

    geometry: Geometry
    """Their layout."""
    waits: bool
    """Whether the producer waits while there is no room."""
    metadata: ImageMetadata
    """What it says of the instrument."""


def decode_hello(data: bytes) -> Hello:
    """Read what a producer said first.

    Raises
    ------
    SourceError
        If it is not a hello, or speaks of frames that a run cannot hold.

    Examples
    --------
    >>> said = HELLO.pack(b"fbayring", 1, 64, ord("u") << 8 | 2, 0, 0, 3, 4, 100.0, 0.0)
    >>> decode_hello(said).geometry.shape, decode_hello(said).metadata.frame_rate
    ((3, 4), 100.0)
    """
    if len(data) != HELLO.size or data[:8] != _MAGIC:
        raise SourceError("what was said is not the hello of a program with forebay_ring.h")
    _, version, size, dtype, waits, channels, height, width, rate, exposure = HELLO.unpack(data)
    if (version, size) != (_VERSION, HELLO.size):
        raise SourceError(
            f"the program speaks version {version} with a hello of {size} bytes; compile it with "
            f"the forebay_ring.h of this version, which is {_VERSION}"
        )
    if dtype not in _DTYPES:
        raise SourceError(f"{dtype:#x} is no type of a pixel; use one of enum forebay_dtype")
    if waits > 1:
        raise SourceError(f"waits is {waits}; it must be 0 or 1")
    shape = (channels, height, width) if channels else (height, width)
    if max(shape) > _LONGEST_AXIS:
        raise SourceError(f"frames have the shape {shape}; an axis has {_LONGEST_AXIS} at most")
    try:
        geometry = check_geometry(Geometry(("c", "y", "x")[-len(shape) :], shape, _DTYPES[dtype]))
    except FrameError as error:
        raise SourceError(str(error)) from error
    metadata = ImageMetadata(
        frame_rate=_positive("frame_rate", rate), exposure=_positive("exposure_seconds", exposure)
    )
    return Hello(geometry, bool(waits), metadata)


def encode_welcome(memory: FrameSlots, entries: int, control: tuple[int, int, int]) -> bytes:
    """Say where in the memory that comes with this message everything lies.

    Parameters
    ----------
    memory
        The slots.
    entries
        The most slots that are lent at a time.
    control
        Bytes of the control memory, and where in it the free and the filled slots are listed.
    """
    control_bytes, free, filled = control
    return _WELCOME.pack(
        _MAGIC,
        _VERSION,
        0,
        memory.count,
        entries,
        memory.stride,
        memory.geometry.frame_bytes,
        memory.mapping.size,
        control_bytes,
        free,
        filled,
        b"",
    )


def encode_refusal(why: str) -> bytes:
    """Say why a producer is not wanted, in 191 bytes at most."""
    # Cut between characters, so that what arrives is UTF-8.
    text = why.encode()[:191].decode(errors="ignore").encode()
    return _WELCOME.pack(_MAGIC, _VERSION, 1, *[0] * 8, text)


def _positive(name: str, value: float) -> float | None:
    if not (math.isfinite(value) and 0 <= value <= 1e9):
        raise SourceError(f"{name} is {value}; it must be from 0 to 1e9, with 0 for unknown")
    return value or None
