"""The header of a message, as docs/reference/network-frames.md says it."""

import dataclasses
import json
import reprlib
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, Self, cast, get_args

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)

from forebay.acquisition.errors import FrameError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.version_one import VersionOne

MAX_HEADER_BYTES = 64 * 2**10
"""Longest header that is read."""

_SHOWN = 80
_AXES = ("c", "y", "x")


class MessageError(ValueError):
    """One message cannot be taken; the ones after it may."""


class DamagedFrameError(MessageError):
    """The header of a frame is right, and its pixels are not."""

    def __init__(self, counter: int, text: str, *, why: str) -> None:
        super().__init__(text)
        self.counter = counter
        """Counter of the frame."""
        self.why = why
        """Why it is written down as dropped."""


def _plain(facts: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return facts that can be written as JSON again: no NaN, no half of a character."""
    json.dumps(facts, allow_nan=False, ensure_ascii=False).encode()
    return facts


type Length = Annotated[int, Field(ge=1, lt=2**31)]
type Shape = Annotated[tuple[Length, ...], Field(min_length=2, max_length=3)]
type Quantity = Annotated[float, Field(gt=0, allow_inf_nan=False)]
type Counter = Annotated[int, Field(ge=0, lt=2**64)]
type Name = Annotated[str, Field(min_length=1, max_length=64)]
PixelType = Literal[
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "float32", "float64",
]  # fmt: skip


class _Fields(BaseModel):
    # What a later version adds is left alone.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class StreamMetadata(_Fields):
    """What the sender knows of the instrument; the fields are those of `ImageMetadata`."""

    pixel_size: tuple[Quantity, Quantity] | None = None
    exposure: Quantity | None = None
    frame_rate: Quantity | None = None
    channels: tuple[Name, ...] = ()
    instrument: Annotated[dict[str, JsonValue], AfterValidator(_plain)] = {}

    @classmethod
    def of(cls, metadata: ImageMetadata) -> Self:
        """Return what is to be sent of some metadata.

        Raises
        ------
        ValidationError
            If it cannot be sent.
        """
        return cls.model_validate(dataclasses.asdict(metadata))

    def as_metadata(self) -> ImageMetadata:
        """Return the same in forebay's own words."""
        return ImageMetadata(**dict(self))


class _Header(_Fields):
    version: VersionOne = 1
    stream: Name


class _Layout(_Header):
    shape: Shape
    dtype: PixelType

    def geometry(self) -> Geometry:
        """Return the layout of a frame, with pixels as this machine has them."""
        return _geometry(self.shape, self.dtype)


class Begin(_Layout):
    """A stream begins."""

    kind: Literal["begin"] = "begin"
    metadata: StreamMetadata = StreamMetadata()


class FrameHeader(_Layout):
    """A frame, whose pixels are the second part of the message."""

    kind: Literal["frame"] = "frame"
    counter: Counter
    timestamp: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    flags: Annotated[int, Field(ge=0, lt=2**32)] = 0
    crc32c: Annotated[int, Field(ge=0, lt=2**32)] | None = None


class End(_Header):
    """The stream is over."""

    kind: Literal["end"] = "end"
    counter: Counter | None = None
    """The last exposure that was counted, whether its frame was sent or not."""


def pixel_type(dtype: np.dtype[Any]) -> PixelType:
    """Return what a type of pixels is called, whatever its byte order.

    Raises
    ------
    FrameError
        If such pixels cannot be sent.
    """
    for name in get_args(PixelType):
        if dtype.name == name:
            return cast(PixelType, name)
    raise FrameError(
        f"frames have the dtype {dtype}; those that can be sent are {', '.join(get_args(PixelType))}"
    )


def encode_header(header: Begin | FrameHeader | End) -> bytes:
    """Return a header as JSON, without the fields that say nothing.

    Examples
    --------
    >>> encode_header(End(stream="7f3a"))
    b'{"version":1,"stream":"7f3a","kind":"end"}'
    """
    # Not exclude_none, which would take facts of the instrument that are null.
    absent = {name for name in ("counter", "crc32c") if getattr(header, name, 0) is None}
    return header.model_dump_json(exclude=absent).encode()


def parse_header(data: bytes) -> Begin | FrameHeader | End:
    """Return the header that some bytes are.

    Raises
    ------
    MessageError
        If they are none; the message names the field.

    Examples
    --------
    >>> parse_header(b'{"version": 1, "kind": "end", "stream": "7f3a"}').stream
    '7f3a'
    """
    if len(data) > MAX_HEADER_BYTES:
        raise MessageError(f"a header of {len(data)} bytes; {MAX_HEADER_BYTES} are the most")
    try:
        return _headers().validate_json(data)
    except ValidationError as error:
        raise MessageError(_said(error)) from error


@lru_cache(maxsize=64)
def _geometry(shape: tuple[int, ...], dtype: PixelType) -> Geometry:
    return Geometry(_AXES[-len(shape) :], shape, np.dtype(dtype))


@cache
def _headers() -> TypeAdapter[Begin | FrameHeader | End]:
    return TypeAdapter(Annotated[Begin | FrameHeader | End, Field(discriminator="kind")])


def _said(error: ValidationError) -> str:
    """Return the first thing that is wrong, in one line.

    Examples
    --------
    >>> parse_header(b'{"version": 2, "kind": "end", "stream": "a"}')
    Traceback (most recent call last):
    forebay.acquisition.sources.network.header.MessageError: a header whose version is 2: input \
should be 1
    """
    first: Any = error.errors(include_url=False, include_context=False)[0]
    wish = shown(first["msg"][:1].lower() + first["msg"][1:])
    given = shown(reprlib.repr(first["input"]))[:_SHOWN]
    if first["type"] == "json_invalid":
        return f"a header that is no JSON ({wish}): {given}"
    # The kind of the message stands before the names of its fields.
    field = ".".join(map(str, first["loc"][1:]))
    if not field:
        return f"a header that is no begin, frame or end: {given}"
    if first["type"] == "missing":
        return f"a header without {field}: {given}"
    return f"a header whose {shown(field)} is {given}: {wish}"
