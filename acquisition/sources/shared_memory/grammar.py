"""A shared memory source as text: ``shm:camera,timeout=30``."""

import difflib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.shared_memory.door import SHARED_MEMORY
from forebay.acquisition.sources.shared_memory.source import SharedMemorySource

TIMEOUT_SECONDS = 60.0
"""How long a program is waited for, unless the text says otherwise."""

_ARGUMENTS = ("frames", "rate")
_ANSWERS = {"yes": True, "no": False, "true": True, "false": False}


class _Form(NamedTuple):
    """How a value is written."""

    read: Callable[[str], Any]
    wish: str


_FORMS: Mapping[str, _Form] = {
    "lent_slots": _Form(int, "a whole number"),
    "reconnect": _Form(lambda text: _ANSWERS[text.casefold()], "yes or no"),
    "timeout": _Form(float, "a number of seconds"),
}


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
    options: dict[str, Any] = {}
    for item in rest.split(",") if rest.strip() else ():
        key, _, value = (part.strip() for part in item.partition("="))
        if not key or not value:
            raise SourceError(
                f"{shown(repr(item.strip()))} is not key=value in {SHARED_MEMORY}:{shown(text)}; "
                f"write for example {SHARED_MEMORY}:camera,timeout=30"
            )
        if key not in _FORMS:
            raise _unknown(key)
        if key in options:
            raise SourceError(
                f"{key} is given twice in {SHARED_MEMORY}:{shown(text)}; leave one out"
            )
        try:
            options[key] = _FORMS[key].read(value)
        except (ValueError, LookupError) as error:
            raise SourceError(
                f"{key} cannot be {shown(repr(value))}; give {_FORMS[key].wish}"
            ) from error
    return name.strip(), options


def _unknown(key: str) -> SourceError:
    if key in _ARGUMENTS:
        hint = f"it belongs to the recording: give it as --{key} or {key}=…"
    elif near := difflib.get_close_matches(key.casefold(), _FORMS, n=1):
        hint = f"did you mean {near[0]}?"
    else:
        hint = "choose one of those"
    return SourceError(
        f"a shared memory source has no {shown(repr(key))}, but {', '.join(_FORMS)}; {hint}"
    )
