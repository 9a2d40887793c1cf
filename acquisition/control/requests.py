"""What a running acquisition does for who asks."""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.control.messages import (
    LINE_BYTES,
    AnnotateRequest,
    FollowRequest,
    MarkRequest,
    ReduceRequest,
    Reply,
    Request,
    StartRequest,
    StatusRequest,
    StopRequest,
    encode,
)
from forebay.errors import ForebayError

ANNOTATION = "annotation"
EVENT = "event"

_log = logging.getLogger("forebay.acquisition")


class Controlled(Protocol):
    """An acquisition that can be controlled.

    Its methods are called by the thread that serves the socket, one at a time; while one of them
    takes its time, nobody is told of anything.  `note`, which takes as long as the storage does, is
    called by another thread.  An `AcquisitionError` goes to who asked.
    """

    def status(self) -> Mapping[str, Any]:
        """Return how it is doing, as values that JSON can carry."""

    def stop(self, reason: str) -> None:
        """Begin to end: what has come is committed, and the run closed for that reason."""

    def start(self) -> None:
        """Begin to take frames, where it is armed and waits for that."""

    def note(self, topic: str, text: str) -> None:
        """Write something down in the run."""

    def reduce(self, level: int, seconds: float) -> None:
        """Reduce frames for some time by so many of the steps that are declared for overload."""


def answer(request: Request, controlled: Controlled) -> bytes:
    """Do what is asked, and return the line that says so or why not."""
    try:
        result = _do(request, controlled)
        line = encode(Reply(reply=request.request, ok=True, result=dict(result)))
        if len(line) > LINE_BYTES:
            raise RequestError(f"the answer has {len(line)} bytes, and a line {LINE_BYTES} at most")
    except ForebayError as error:
        return refusal(str(error), request=request.request)
    except Exception as error:  # noqa: BLE001 (logged, and told to who asked)
        # Whoever asks must not end a recording, nor the other connections.
        _log.exception("the request %s failed", request.request)
        return refusal(
            f"a defect kept the acquisition from it: {type(error).__name__}: {error}; "
            "please report it",
            request=request.request,
        )
    return line


def takes_its_time(request: Request) -> bool:
    """Tell whether a request is done only when the storage has answered."""
    return isinstance(request, (AnnotateRequest, MarkRequest))


def refusal(why: str, *, request: str | None = None) -> bytes:
    """Return the line that says why a request is not fulfilled."""
    return encode(Reply(reply=request, ok=False, error=why))


def _do(request: Request, controlled: Controlled) -> Mapping[str, Any]:
    match request:
        case StatusRequest():
            return controlled.status()
        case StopRequest(reason=reason):
            controlled.stop(reason)
        case StartRequest():
            controlled.start()
        case AnnotateRequest(text=text):
            controlled.note(ANNOTATION, text)
        case MarkRequest(name=name, text=text):
            controlled.note(EVENT, name if text is None else f"{name}: {text}")
        case ReduceRequest(level=level, seconds=seconds):
            controlled.reduce(level, seconds)
        case FollowRequest():
            pass
    return {}
