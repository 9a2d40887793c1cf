"""Parameters that are numbers, checked for their type and their range."""

from numbers import Integral, Real

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown


def whole(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number between two limits, both included.

    Raises
    ------
    SourceError
        If it is something else; a bool is, too.

    Examples
    --------
    >>> whole("bits", 17, 1, 16)
    Traceback (most recent call last):
    forebay.acquisition.errors.SourceError: bits cannot be 17; give a whole number from 1 to 16
    """
    if not isinstance(value, bool) and isinstance(value, Integral) and low <= int(value) <= high:
        return int(value)
    raise SourceError(
        f"{name} cannot be {shown(repr(value))}; give a whole number from {low} to {high}"
    )


def real(name: str, value: object, low: float, high: float) -> float:
    """Return a finite number between two limits, both included.

    Raises
    ------
    SourceError
        If it is something else; a bool and NaN are, too.
    """
    if not isinstance(value, bool) and isinstance(value, Real) and low <= float(value) <= high:
        return float(value)
    raise SourceError(
        f"{name} cannot be {shown(repr(value))}; give a number from {low:g} to {high:g}"
    )
