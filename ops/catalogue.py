"""Which operations there are, by name, and how they are called."""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

_EXACT = re.compile(r"\b(?:Float32 is exact|Integers are those of the formula)\.")
_WITHIN = re.compile(r"\b[Ff]loat32 (?:is |\()within (\d+e-\d+) of the largest value\b")


@dataclass(frozen=True, slots=True)
class Operation:
    """A public operation on frames, or on other arrays."""

    name: str
    """What it is called."""
    family: str
    """The folder that it lies in, such as ``filters``."""
    function: Callable[..., Any]
    """The function: the array first, parameters by keyword."""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Its parameters, but for the frames."""
        return dict(list(inspect.signature(self.function).parameters.items())[1:])

    @property
    def tolerance(self) -> float | None:
        """How far float32 is from float64 at most, by the largest value, as its docstring says.

        Zero if it only takes integers. None where it says that in other words.
        """
        text = " ".join((inspect.getdoc(self.function) or "").split())
        if _EXACT.search(text):
            return 0.0
        found = _WITHIN.search(text)
        return None if found is None else float(found[1])


@functools.cache
def operations() -> dict[str, Operation]:
    """Return the operations whose first argument is a DataArray, by name.

    Examples
    --------
    >>> operations()["bandpass"].family
    'filters'
    >>> sorted(operations()["bandpass"].parameters)
    ['background_sigma', 'dims', 'noise_sigma', 'truncate']
    """
    import forebay.ops as public

    found = {}
    for name in public.__all__:
        function = getattr(public, name)
        if not inspect.isfunction(function):
            continue
        first = next(iter(inspect.signature(function).parameters.values()), None)
        by_position = first is not None and first.kind is not first.KEYWORD_ONLY
        if first is not None and by_position and first.annotation is xr.DataArray:
            family = function.__module__.removeprefix("forebay.ops.").partition(".")[0]
            found[name] = Operation(name, family, function)
    return found
