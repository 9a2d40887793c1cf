"""A network source as text: ``network:tcp://127.0.0.1:5555,timeout=30``."""

import difflib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ByteSize, TypeAdapter

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.network.source import NetworkSource

TIMEOUT_SECONDS = 60.0
"""How long a stream is waited for, unless the text says otherwise."""

_ARGUMENTS = ("frames", "rate")
_ANSWERS = {"yes": True, "no": False, "true": True, "false": False}


class _Form(NamedTuple):
    """How a value is written."""

    read: Callable[[str], Any]
    wish: str


_FORMS: Mapping[str, _Form] = {
    "can_wait": _Form(lambda text: _ANSWERS[text.casefold()], "yes or no"),
    "max_frame_bytes": _Form(
        lambda text: int(TypeAdapter(ByteSize).validate_python(text)), "a size such as 64MiB"
    ),
    "queue_frames": _Form(int, "a whole number"),
    "secret_key": _Form(str, "the path of a file"),
    "senders": _Form(str, "the path of a folder"),
    "timeout": _Form(float, "a number of seconds"),
}


def open_network(
    text: str,
    *,
    rate: float | None = None,
    frames: int | None = None,
    metadata: ImageMetadata | None = None,
    cancelled: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> NetworkSource:
    """Listen at an endpoint, and wait until a stream begins there.

    Parameters
    ----------
    text
        The endpoint, and behind it items ``key=value``, separated by commas, spaces around them
        being ignored.  The keys are parameters of `NetworkSource`, and ``timeout``, the seconds
        to wait for the stream.
    rate
        None; the sender has its own.
    frames
        Frames to deliver; None for no limit.
    metadata
        What to say of the instrument; it takes precedence over what the sender says.
    cancelled
        Ends the wait when it is set.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If the text is not of that form, it cannot be listened there, or no stream begins.
    """
    endpoint, options = parse_network(text)
    if rate is not None:
        raise SourceError(
            f"frames from {shown(endpoint)} come at their sender's rate; leave out rate"
        )
    timeout = options.pop("timeout", TIMEOUT_SECONDS)
    source = NetworkSource(endpoint, frames=frames, metadata=metadata, clock=clock, **options)
    try:
        return source.wait(timeout=timeout, cancelled=cancelled)
    except BaseException:
        source.close()
        raise


def parse_network(text: str) -> tuple[str, dict[str, Any]]:
    """Return the endpoint that a text names, and the options behind it.

    Raises
    ------
    SourceError
        If an item is not ``key=value``, a key is unknown or given twice, or a value is of the
        wrong form.

    Examples
    --------
    >>> parse_network("tcp://127.0.0.1:5555, can_wait=no, max_frame_bytes=1MiB")
    ('tcp://127.0.0.1:5555', {'can_wait': False, 'max_frame_bytes': 1048576})
    """
    endpoint, _, rest = text.partition(",")
    options: dict[str, Any] = {}
    for item in rest.split(",") if rest.strip() else ():
        key, _, value = (part.strip() for part in item.partition("="))
        if not key or not value:
            raise SourceError(
                f"{shown(repr(item.strip()))} is not key=value in network:{shown(text)}; write "
                "for example network:tcp://127.0.0.1:5555,timeout=30"
            )
        if key not in _FORMS:
            raise _unknown(key)
        if key in options:
            raise SourceError(f"{key} is given twice in network:{shown(text)}; leave one out")
        try:
            options[key] = _FORMS[key].read(value)
        except (ValueError, LookupError) as error:
            raise SourceError(
                f"{key} cannot be {shown(repr(value))}; give {_FORMS[key].wish}"
            ) from error
    return endpoint.strip(), options


def _unknown(key: str) -> SourceError:
    if key in _ARGUMENTS:
        hint = f"it belongs to the recording, not to the socket: give it as --{key} or {key}=…"
    elif near := difflib.get_close_matches(key.casefold(), _FORMS, n=1):
        hint = f"did you mean {near[0]}?"
    else:
        hint = "choose one of those"
    return SourceError(
        f"a network source has no {shown(repr(key))}, but {', '.join(_FORMS)}; {hint}"
    )
