"""What a camera delivers: frames, their geometry, and the protocol of a source."""

import json
import math
import operator
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from numbers import Real
from typing import Any, Protocol, Self, SupportsIndex, runtime_checkable

import numpy as np
import numpy.typing as npt

from forebay.acquisition.arguments import is_integer
from forebay.acquisition.errors import FrameError, SourceError


class FrameFlag(IntFlag):
    """What is known to be unusual about a frame; the bits are part of the run format."""

    SATURATED = 1
    """At least one pixel is at the sensor's upper limit."""
    INCOMPLETE = 2
    """The source lost a part of the frame's pixels."""
    PARTNER_MISSING = 4
    """One of several synchronised cameras did not deliver its part."""
    CLOCK_JUMPED = 8
    """The camera's clock jumped between the frame before and this one."""
    REDUCED = 16
    """A reduction that is declared for times of overload was applied."""
    MISSING_PARTNER_1 = 1 << 8
    """The first of the synchronised cameras did not deliver its part; so on for the others."""
    MISSING_PARTNER_2 = 1 << 9
    MISSING_PARTNER_3 = 1 << 10
    MISSING_PARTNER_4 = 1 << 11
    MISSING_PARTNER_5 = 1 << 12
    MISSING_PARTNER_6 = 1 << 13
    MISSING_PARTNER_7 = 1 << 14
    MISSING_PARTNER_8 = 1 << 15
    OVERLOAD_STEP_1 = 1 << 16
    """The first of the declared overload reductions was applied; so on for the others."""
    OVERLOAD_STEP_2 = 1 << 17
    OVERLOAD_STEP_3 = 1 << 18
    OVERLOAD_STEP_4 = 1 << 19
    OVERLOAD_STEP_5 = 1 << 20
    OVERLOAD_STEP_6 = 1 << 21
    OVERLOAD_STEP_7 = 1 << 22
    OVERLOAD_STEP_8 = 1 << 23


NO_FLAGS = FrameFlag(0)
"""Nothing is unusual."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The layout that every frame of a source has."""

    dims: tuple[str, ...]
    """Names of a frame's axes: ``("y", "x")`` or ``("c", "y", "x")``."""
    shape: tuple[int, ...]
    """Lengths of a frame's axes, in pixels (channels for ``c``)."""
    dtype: np.dtype[Any]
    """Type of a pixel."""

    @property
    def frame_bytes(self) -> int:
        """Bytes in one frame."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetadata:
    """What is known of the instrument that made the frames."""

    pixel_size: tuple[float, float] | None = None
    """Height and width of a pixel in the sample, in micrometres."""
    exposure: float | None = None
    """Exposure time of a frame, in seconds."""
    frame_rate: float | None = None
    """Nominal frames per second."""
    channels: tuple[str, ...] = ()
    """Names of the channels, where a frame has an axis ``c``."""
    instrument: Mapping[str, Any] = field(default_factory=dict)
    """Anything else, as JSON."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as a source delivers it."""

    counter: int
    """The camera's own count; it grows by one for each exposure, delivered or not."""
    timestamp: int
    """When the frame was taken, in nanoseconds since 1970-01-01 UTC."""
    data: npt.NDArray[Any]
    """The pixels, laid out as the source's geometry says."""
    flags: FrameFlag = NO_FLAGS
    """What is unusual about the frame."""


@runtime_checkable
class FrameSource(Protocol):
    """Something that delivers frames, one after the other.

    The geometry is known before the first frame.  `frames` is called once, from the thread that
    receives; `stop` may be called from any thread and makes `frames` end soon; leaving the
    ``with`` block frees what the source holds.
    """

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame to come."""

    @property
    def metadata(self) -> ImageMetadata:
        """What is known of the instrument."""

    @property
    def can_wait(self) -> bool:
        """Whether the source may be held up, as a file may and a free-running camera may not."""

    def frames(self) -> Iterator[Frame]:
        """Deliver the frames in the order of their counters."""

    def stop(self) -> None:
        """Make `frames` end after the frame that it is at."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


@runtime_checkable
class CountedSource(Protocol):
    """A source that knows beforehand how many frames it will deliver."""

    @property
    def expected_frames(self) -> int | None:
        """The most that it will deliver; None where nobody knows."""


type OnLost = Callable[[int, str | None], None]
"""Called with the counter of an exposure that is not delivered, and why, if that is known."""


@runtime_checkable
class AccountingSource(Protocol):
    """A source that knows of exposures that it does not deliver.

    It need not tell of those before a frame that it delivers, which are missing from the counters,
    unless it knows why.
    """

    on_lost: OnLost | None
    """Called from the thread that receives, before the next frame or the end."""


def check_geometry(geometry: Geometry) -> Geometry:
    """Return `geometry` if a run can hold such frames.

    Raises
    ------
    FrameError
        If the axes, the shape or the dtype cannot be kept.
    """
    if not _is_geometry(geometry):
        raise FrameError(
            f"{geometry!r} does not say what frames are like: give a Geometry, as in "
            "Geometry(('y', 'x'), (512, 512), np.dtype('uint16'))"
        )
    along: tuple[object, object] = (geometry.dims, geometry.shape)
    if not all(isinstance(each, Sequence) for each in along):
        raise FrameError(
            f"frames have the axes {geometry.dims!r} and the shape {geometry.shape!r}: give two "
            "tuples, as ('y', 'x') and (512, 512)"
        )
    if tuple(geometry.dims) not in {("y", "x"), ("c", "y", "x")}:
        raise FrameError(f"frames have the axes {geometry.dims}; a run keeps (y, x) or (c, y, x)")
    right = all(is_integer(length) and length > 0 for length in geometry.shape)
    if len(geometry.shape) != len(geometry.dims) or not right:
        raise FrameError(f"frames have the shape {geometry.shape!r}; every axis needs a length")
    if geometry.dtype.kind not in "uif" or geometry.dtype.itemsize not in {1, 2, 4, 8}:
        raise FrameError(
            f"frames have the dtype {geometry.dtype}; a run keeps integers and floats of "
            "8 to 64 bits"
        )
    return geometry


def check_metadata(metadata: Any) -> ImageMetadata:
    """Return `metadata` if a run can hold it, and every JSON reader will understand it.

    Raises
    ------
    SourceError
        If it is none, or something in it is of a wrong type.
    """
    if not isinstance(metadata, ImageMetadata):
        raise SourceError(
            f"{reprlib.repr(metadata)} does not say what is known of the instrument: give an "
            "ImageMetadata, as in ImageMetadata(exposure=0.01)"
        )
    size, channels = metadata.pixel_size, metadata.channels
    right = {
        "pixel_size": size is None or _numbers(size, count=2),
        "exposure": metadata.exposure is None or _is_number(metadata.exposure),
        "frame_rate": metadata.frame_rate is None or _is_number(metadata.frame_rate),
        "channels": _are_names(channels),
        "instrument": isinstance(metadata.instrument, Mapping),
    }
    for name, is_right in right.items():
        if not is_right:
            raise SourceError(
                f"the instrument's {name} is {reprlib.repr(getattr(metadata, name))}: give "
                f"{_METADATA[name]}"
            )
    known = (size, metadata.exposure, metadata.frame_rate, channels)
    try:
        json.dumps([*known, dict(metadata.instrument)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SourceError(f"the instrument's metadata cannot be kept as JSON: {error}") from error
    return metadata


def check_frame(frame: Frame, geometry: Geometry, *, following: int | None) -> int:
    """Return the counter of a frame that can come next in a run.

    Parameters
    ----------
    frame
        The frame.
    geometry
        What it must be like.
    following
        The lowest counter that it may have; None before the first frame.

    Raises
    ------
    FrameError
        If its shape or dtype is another one, its counter does not go up, or a number of it is
        outside what a run can hold.
    """
    _check_types(frame)
    counter = operator.index(frame.counter)
    if frame.data.shape != geometry.shape or frame.data.dtype != geometry.dtype:
        raise FrameError(
            f"frame {counter} has the shape {frame.data.shape} and the dtype {frame.data.dtype}; "
            f"the run has {geometry.shape} and {geometry.dtype}: start another run for it"
        )
    if not 0 <= counter < 2**64:
        raise FrameError(f"the frame's counter is {counter}; it must be from 0 to 2^64 - 1")
    if not -(2**63) <= frame.timestamp < 2**63:
        raise FrameError(f"frame {counter} has the time {frame.timestamp}: not 64 bits")
    if not 0 <= frame.flags < 2**32:
        raise FrameError(f"frame {counter} has the flags {int(frame.flags)}: not 32 bits")
    if following is not None and counter < following:
        raise FrameError(
            f"frame {counter} comes again or too late: {following} was the next; the "
            "camera's counter must go up"
        )
    return counter


_METADATA = {
    "pixel_size": "its height and width, two numbers",
    "exposure": "seconds",
    "frame_rate": "frames per second",
    "channels": "a tuple of names",
    "instrument": "a mapping",
}
"""What each part of an `ImageMetadata` is."""


def _is_number(given: object) -> bool:
    return isinstance(given, Real) and not isinstance(given, bool)


def _numbers(given: Any, *, count: int) -> bool:
    listed = isinstance(given, list | tuple) and len(given) == count
    return listed and all(map(_is_number, given))


def _are_names(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(each, str) for each in given)


def _is_geometry(given: Any) -> bool:
    return isinstance(given, Geometry) and isinstance(given.dtype, np.dtype)


def _check_types(frame: Any) -> None:
    if not isinstance(frame, Frame):
        raise FrameError(
            f"{reprlib.repr(frame)} is no frame: give a Frame of its counter, its time in "
            "nanoseconds, and its pixels"
        )
    if not isinstance(frame.data, np.ndarray):
        raise FrameError(
            f"the pixels of frame {frame.counter!r} are of the type {type(frame.data).__name__}: "
            "give a NumPy array"
        )
    for name in ("counter", "timestamp", "flags"):
        if not isinstance(value := getattr(frame, name), SupportsIndex):
            raise FrameError(f"the {name} of a frame is {value!r}: give an integer")
