"""What may be written for the parameter of an operation, in words."""

import collections.abc
import inspect
import types
import typing
from typing import Any

import numpy.typing as npt
import xarray as xr

_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
    typing.Any: "name",
    collections.abc.Hashable: "name",
    xr.DataArray: "DataArray",
    npt.ArrayLike: "array",
    npt.DTypeLike: "dtype",
}


def described(parameter: inspect.Parameter) -> dict[str, Any]:
    """Return what may be written for a parameter, and what it is if nothing is.

    Examples
    --------
    >>> def blurred(frames, *, sigma: float | None = None): ...
    >>> described(inspect.signature(blurred).parameters["sigma"])
    {'type': 'number or null', 'default': None}
    """
    told: dict[str, Any] = {"type": written(parameter.annotation)}
    if parameter.default is not parameter.empty:
        told["default"] = parameter.default
    return told


def written(kind: Any) -> str:
    """Return in words what a value of a type looks like.

    Examples
    --------
    >>> written(float | None), written(typing.Literal["mean", "median"])
    ('number or null', "'mean' or 'median'")
    >>> written(int | collections.abc.Sequence[int])
    'whole number or list of whole numbers'
    """
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, typing.TypeAliasType):
        # Of what is loaded for nothing else, only the name is known.
        return kind.__name__.lower() if isinstance(kind.__value__, str) else written(kind.__value__)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(map(repr, inside))
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(map(written, inside))
    if origin is tuple:
        return f"list of {len(inside)} {written(inside[0])}s"
    if origin is collections.abc.Sequence:
        return f"list of {written(inside[0])}s"
    if origin is collections.abc.Mapping:
        return f"for each {written(inside[0])}, {written(inside[1])}"
    return str(getattr(kind, "__name__", kind))
