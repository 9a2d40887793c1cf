"""What a text says of a source behind its name: items ``key=value``, separated by commas."""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ByteSize, TypeAdapter

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown

OF_RECORDINGS = ("frames", "rate")
"""What is given beside a source, and not within its text."""

_ANSWERS = {"yes": True, "no": False, "true": True, "false": False}


class Form(NamedTuple):
    """How the value of an option is written."""

    read: Callable[[str], Any]
    """Makes the value of a text, or raises `ValueError` or `LookupError`."""
    wish: str
    """What to give, for messages."""


type Forms = Mapping[str, Form]
"""How the values of options are written, by their keys."""

YES_OR_NO = Form(lambda text: _ANSWERS[text.casefold()], "yes or no")
SIZE = Form(lambda text: int(TypeAdapter(ByteSize).validate_python(text)), "a size such as 64MiB")
WHOLE = Form(int, "a whole number")
SECONDS = Form(float, "a number of seconds")


def items(text: str, *, source: str, example: str, key: str = ".+") -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a text; spaces around them are ignored.

    Parameters
    ----------
    text
        The items; empty for none.
    source
        The whole text of the source, for messages.
    example
        One that is right, for messages.
    key
        Pattern of a key.

    Raises
    ------
    SourceError
        If an item is not of that form, or a key is given twice.
    """
    seen = set()
    for item in text.split(",") if text.strip() else ():
        name, _, value = (part.strip() for part in item.partition("="))
        if not value or not re.fullmatch(key, name):
            raise SourceError(
                f"{shown(repr(item.strip()))} is not key=value in {shown(source)}; write for "
                f"example {example}"
            )
        if name in seen:
            raise SourceError(f"{name} is given twice in {shown(source)}; leave one out")
        seen.add(name)
        yield name, value


def value_of(key: str, text: str, form: Form) -> Any:
    """Return the value that a text stands for.

    Raises
    ------
    SourceError
        If it is not of that form.
    """
    try:
        return form.read(text)
    except (ValueError, LookupError) as error:
        raise SourceError(f"{key} cannot be {shown(repr(text))}; give {form.wish}") from error


def unknown(key: str, known: Collection[str], *, what: str) -> SourceError:
    """Return the error that `what` has no such option."""
    if key in OF_RECORDINGS:
        hint = f"it belongs to the recording: give it as --{key} or {key}=…"
    elif near := difflib.get_close_matches(key.casefold(), known, n=1):
        hint = f"did you mean {near[0]}?"
    else:
        hint = "choose one of those"
    return SourceError(f"{what} has no {shown(repr(key))}, but {', '.join(known)}; {hint}")


def options_of(text: str, forms: Forms, *, source: str, example: str, what: str) -> dict[str, Any]:
    """Return the values of options, by their keys.

    Parameters
    ----------
    text
        The items; empty for none.
    forms
        How their values are written.
    source
        The whole text of the source, for messages.
    example
        One that is right, for messages.
    what
        What has them, for messages.

    Raises
    ------
    SourceError
        If an item is not ``key=value``, a key is unknown or given twice, or a value is of the
        wrong form.

    Examples
    --------
    >>> forms = {"reconnect": YES_OR_NO, "timeout": SECONDS}
    >>> text = {"source": "shm:camera", "example": "shm:camera,timeout=30", "what": "the source"}
    >>> options_of("reconnect=yes, timeout=5", forms, **text)
    {'reconnect': True, 'timeout': 5.0}
    """
    options = {}
    for key, value in items(text, source=source, example=example):
        if key not in forms:
            raise unknown(key, forms, what=what)
        options[key] = value_of(key, value, forms[key])
    return options
