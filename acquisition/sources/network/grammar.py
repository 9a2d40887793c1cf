"""A network source as text: ``network:tcp://127.0.0.1:5555,timeout=30``."""

import threading
from typing import Any

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.network.source import NetworkSource
from forebay.acquisition.sources.options import SECONDS, SIZE, WHOLE, YES_OR_NO, Form, options_of

TIMEOUT_SECONDS = 60.0
"""How long a stream is waited for, unless the text says otherwise."""

_FORMS = {
    "can_wait": YES_OR_NO,
    "max_frame_bytes": SIZE,
    "queue_frames": WHOLE,
    "secret_key": Form(str, "the path of a file"),
    "senders": Form(str, "the path of a folder"),
    "timeout": SECONDS,
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
    options = options_of(
        rest,
        _FORMS,
        source=f"network:{text}",
        example="network:tcp://127.0.0.1:5555,timeout=30",
        what="a network source",
    )
    return endpoint.strip(), options
