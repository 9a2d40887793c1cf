"""A shared memory source as text: ``shm:camera,timeout=30``."""

import threading
from typing import Any

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.options import SECONDS, WHOLE, YES_OR_NO, options_of
from forebay.acquisition.sources.shared_memory.door import SHARED_MEMORY
from forebay.acquisition.sources.shared_memory.source import SharedMemorySource

TIMEOUT_SECONDS = 60.0
"""How long a program is waited for, unless the text says otherwise."""

_FORMS = {"lent_slots": WHOLE, "reconnect": YES_OR_NO, "timeout": SECONDS}


def open_shared_memory(
    text: str,
    *,
    rate: float | None = None,
    frames: int | None = None,
    metadata: ImageMetadata | None = None,
    cancelled: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> SharedMemorySource:
    """Listen under a name, and wait until a program connects.

    Parameters
    ----------
    text
        The name, and behind it items ``key=value``, separated by commas, spaces around them being
        ignored.  The keys are parameters of `SharedMemorySource`, and ``timeout``, the seconds to
        wait for the program.
    rate
        None; the program has its own.
    frames
        Frames to deliver; None for no limit.
    metadata
        What to say of the instrument; it takes precedence over what the program says.
    cancelled
        Ends the wait when it is set.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If the text is not of that form, it cannot be listened there, or no program connects.
    """
    name, options = parse_shared_memory(text)
    if rate is not None:
        raise SourceError(
            f"frames from {SHARED_MEMORY}:{shown(name)} come at the rate of the program that "
            "writes them; leave out rate"
        )
    timeout = options.pop("timeout", TIMEOUT_SECONDS)
    source = SharedMemorySource(name, frames=frames, metadata=metadata, clock=clock, **options)
    try:
        return source.wait(timeout=timeout, cancelled=cancelled)
    except BaseException:
        source.close()
        raise


def parse_shared_memory(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name in a text, and the options behind it.

    Raises
    ------
    SourceError
        If an item is not ``key=value``, a key is unknown or given twice, or a value is of the
        wrong form.

    Examples
    --------
    >>> parse_shared_memory("camera, reconnect=yes, lent_slots=16")
    ('camera', {'reconnect': True, 'lent_slots': 16})
    """
    name, _, rest = text.partition(",")
    options = options_of(
        rest,
        _FORMS,
        source=f"{SHARED_MEMORY}:{text}",
        example=f"{SHARED_MEMORY}:camera,timeout=30",
        what="a shared memory source",
    )
    return name.strip(), options
