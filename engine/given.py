"""What callers give: held to the types that are declared, before any work."""

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from forebay.engine.errors import EngineError, ParameterError

_WORDS: Mapping[object, str] = {
    type(None): "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    os.PathLike: "a path",
    Path: "a path",
    Callable: "a function",
    Iterable: "a list",
    Sequence: "a list",
    Mapping: "names with their values",
}


def check_given(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    error: type[EngineError] = ParameterError,
) -> None:
    """Refuse what a function is given that is not of the type which it declares.

    Parameters
    ----------
    function
        The function.
    given
        What it is given, by name: its `locals` before it has others.
    error
        What is raised.

    Examples
    --------
    >>> def wait(*, seconds: float | None = None) -> None:
    ...     check_given(wait, locals())
    >>> wait(seconds="long")
    Traceback (most recent call last):
    ...
    forebay.engine.errors.ParameterError: seconds cannot be 'long': give a number or None
    """
    for name, kinds in _declared(function).items():
        _check(name, given[name], kinds, error)


def check_fields(record: Any, error: type[EngineError]) -> None:
    """Refuse a dataclass with a field that is not of the type which it declares."""
    hints = typing.get_type_hints(type(record))
    for each in fields(record):
        _check(each.name, getattr(record, each.name), _alternatives(hints[each.name]), error)


@functools.cache
def _declared(function: Callable[..., Any]) -> dict[str, list[Any]]:
    hints = typing.get_type_hints(function)
    return {
        name: _alternatives(hints[name])
        for name, each in inspect.signature(function).parameters.items()
        if name in hints and each.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _alternatives(hint: Any) -> list[Any]:
    """Return the classes that a type stands for; what they hold is not looked at."""
    if isinstance(hint, typing.TypeAliasType):
        return _alternatives(hint.__value__)
    if isinstance(hint, types.UnionType):
        return [kind for each in typing.get_args(hint) for kind in _alternatives(each)]
    return [typing.get_origin(hint) or hint]


def _check(name: str, value: Any, kinds: Sequence[Any], error: type[EngineError]) -> None:
    if not any(_fits(value, kind) for kind in kinds):
        words = [_WORDS.get(kind, f"{kind.__name__}(...)") for kind in kinds]
        allowed = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
        raise error(f"{name} cannot be {value!r}: give {allowed}")
    if isinstance(value, str) and "\0" in value:
        raise error(f"{name} cannot be {value!r}: a text holds no such character as \\0")


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind in {int, float}:
        return isinstance(value, int | kind) and not isinstance(value, bool)
    # A text would be taken for the list of its letters.
    return isinstance(value, kind) and (kind is str or not isinstance(value, str | bytes))
