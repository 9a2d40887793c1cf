"""The lines that go over a control socket (docs/reference/control-protocol.md)."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import to_jsonable_python

from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.reduction.steps import MAX_OVERLOAD_STEPS
from forebay.acquisition.version_one import VersionOne

VERSION: Final = 1
LINE_BYTES = 64 * 1024
"""The longest line, with its line feed."""
STOPPED = "stopped by the operator"
_TEXT_LENGTH = 4000


def _without_controls(text: str, allowed: str = "") -> str:
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in allowed:
            raise ValueError(f"it may not hold the control character {character!r}")
    return text


def _clean(text: Any) -> Any:
    """Return a text that any line can carry, whatever an error message or a path holds."""
    if not isinstance(text, str):
        return text
    return text[:_TEXT_LENGTH].encode("utf-8", "backslashreplace").decode()


type Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_TEXT_LENGTH, strip_whitespace=True),
    AfterValidator(lambda text: _without_controls(text, "\n\t")),
]
type Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True),
    AfterValidator(_without_controls),
]
type Told = Annotated[str, BeforeValidator(_clean)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: VersionOne


class StatusRequest(_Request):
    """Ask how the acquisition is doing."""

    request: Literal["status"]


class StopRequest(_Request):
    """Ask it to commit what has come and to close the run."""

    request: Literal["stop"]
    reason: Line = STOPPED
    """Why; it stands in the run's last record."""


class StartRequest(_Request):
    """Ask an armed acquisition to begin."""

    request: Literal["start"]


class AnnotateRequest(_Request):
    """Write a text down in the run."""

    request: Literal["annotate"]
    text: Text


class MarkRequest(_Request):
    """Write down in the run that something happened."""

    request: Literal["mark"]
    name: Line
    """What happened."""
    text: Text | None = None


class ReduceRequest(_Request):
    """Ask it to reduce its frames for some time, by the steps that are declared for overload."""

    request: Literal["reduce"]
    level: Annotated[int, Field(ge=0, le=MAX_OVERLOAD_STEPS)]
    """How many of the steps; 0 takes an earlier request back."""
    seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 10.0
    """For how long, unless it is asked again."""


class FollowRequest(_Request):
    """Ask to be told of events from now on."""

    request: Literal["follow"]


type Request = (
    StatusRequest
    | StopRequest
    | StartRequest
    | AnnotateRequest
    | MarkRequest
    | ReduceRequest
    | FollowRequest
)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="request")])


class _Event(BaseModel):
    # A later version may tell more.
    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = VERSION


class CommittedEvent(_Event):
    """So much is durable; it stays so whatever happens."""

    event: Literal["committed"] = "committed"
    blocks: int
    """Blocks of the run."""
    frames: int
    """Frames in them."""
    dropped: int
    """Frames that were dropped."""
    counted: int
    """Frames that the camera counted, those on their way included."""


class StateEvent(_Event):
    """The flow control does something else from now on."""

    event: Literal["state"] = "state"
    flow: str
    """What it does, such as ``normal``, ``holding``, ``spilling``, ``reducing``, ``dropping``."""


class NotedEvent(_Event):
    """Something was written down in the run."""

    event: Literal["noted"] = "noted"
    topic: Told
    """What it is about."""
    text: Told
    """What there is to say."""
    counter: int | None = None
    """The camera's counter that was the next one then; None before the first frame."""
    at: int | None = None
    """When, in nanoseconds since 1970-01-01 UTC."""


class ClosedEvent(_Event):
    """The run is closed; nothing comes after."""

    event: Literal["closed"] = "closed"
    reason: Told
    """Why."""


type Event = CommittedEvent | StateEvent | NotedEvent | ClosedEvent
_EVENTS: Mapping[str, type[CommittedEvent | StateEvent | NotedEvent | ClosedEvent]] = {
    "committed": CommittedEvent,
    "state": StateEvent,
    "noted": NotedEvent,
    "closed": ClosedEvent,
}


class Reply(BaseModel):
    """The answer to a request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal[1] = VERSION
    reply: str | None
    """The request; None where that could not be read."""
    ok: bool
    """Whether it was done."""
    result: dict[str, Any] = {}
    """What was asked for."""
    error: Told | None = None
    """Why it was not done."""


def encode(message: Event | Reply) -> bytes:
    """Return the line for an event or a reply, with its line feed.

    What JSON cannot carry is written as text, a number that is not finite as null.
    """
    content = to_jsonable_python(message, inf_nan_mode="null", fallback=str)
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Return the request that a line holds.

    Raises
    ------
    RequestError
        If it holds none; the message names what is wrong.

    Examples
    --------
    >>> decode_request(b'{"version": 1, "request": "mark", "name": "pump on"}').name
    'pump on'
    """
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        raise RequestError(_refusal(error)) from error


def _refusal(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    # The first part of a place is the kind of request that pydantic took it for.
    field = ".".join(str(part) for part in first["loc"][1:])
    context = first.get("ctx", {})
    match first["type"]:
        case "json_invalid":
            return f"the line is no JSON: {context['error']}"
        case "dict_type" | "model_type":
            return "the line is no JSON object"
        case "union_tag_not_found":
            return "the request has no field 'request' that says what is wanted"
        case "union_tag_invalid":
            tag = context["tag"][:100]
            return f"there is no request {tag!r}; there are {context['expected_tags']}"
        case "extra_forbidden":
            return f"{first['loc'][0]}: it has no field {field[:100]!r}"
        case "missing":
            return f"{first['loc'][0]}: the field {field!r} is missing"
        case "literal_error" if field == "version":
            return f"version: this acquisition speaks version {VERSION}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{first['loc'][0]}: {field}: {said}"


def decode_answer(line: bytes | bytearray) -> Reply | Event | None:
    """Return what an acquisition has sent; None for an event that this version does not know.

    Raises
    ------
    ValueError
        If it is neither a reply nor an event.
    """
    content = json.loads(line)
    if isinstance(content, dict) and "event" in content:
        kind = _EVENTS.get(str(content["event"]))
        return None if kind is None else kind.model_validate(content)
    return Reply.model_validate(content)
