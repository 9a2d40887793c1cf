"""The form of a part: what the parts of a result must have in common to be read as one.

Of a table these are the columns with their types; of arrays, each variable with its dtype and its
axes.  What depends on the data is no part of it: how many rows there are, how long the axis ``t``
is and each axis that the algorithm makes itself, such as the labels in a frame.  A table without
rows says nothing of its columns, and a column without values nothing of its type.
"""

import json
from collections.abc import Collection, Mapping

import pyarrow as pa
import xarray as xr

from forebay.engine.errors import OutputError

_MOST_TOLD = 3
"""How many differences are told: a table may have hundreds of columns."""
_TEXTS = {"U": "text", "S": "bytes"}
"""Kinds of dtypes whose length depends on the data."""

_OF_KIND = {"arrays": "arrays", "table": "a table"}

type _Variables = Mapping[str, str | None]
"""What is known of each variable, by its name."""


def form_of(output: pa.Table | xr.Dataset, *, fixed: Collection[str]) -> str:
    """Return the form of an output, as JSON.

    Parameters
    ----------
    output
        What a part holds.
    fixed
        The axes along which all parts are as long as this one.
    """
    variables: _Variables | None
    if isinstance(output, xr.Dataset):
        variables = {str(name): _array(each, fixed) for name, each in output.variables.items()}
        return _text("arrays", variables)
    variables = {each.name: _column(each.type) for each in output.schema}
    return _text("table", variables if output.num_rows else None)


def is_form(given: object) -> bool:
    """Tell whether something that was read is a form."""
    try:
        ((kind, variables),) = json.loads(str(given)).items()
        told = () if variables is None else variables.values()
    except (AttributeError, TypeError, ValueError):
        return False
    return kind in _OF_KIND and all(each is None or isinstance(each, str) for each in told)


def common_form(known: str, other: str) -> str:
    """Return the form of two parts of a result, which tells what is known of either.

    Raises
    ------
    OutputError
        If `other` differs from what is known.
    """
    if known == other:
        return known
    ((kind, before),) = json.loads(known).items()
    ((now, variables),) = json.loads(other).items()
    if now != kind:
        raise OutputError(f"this part is {_OF_KIND[now]}, and those before are {_OF_KIND[kind]}")
    if before is None or variables is None:
        return known if variables is None else other
    if differences := _differences(before, variables):
        told = "; ".join(differences[:_MOST_TOLD])
        more = len(differences) - _MOST_TOLD
        raise OutputError(told + (f"; and {more} differences more" if more > 0 else ""))
    return _text(kind, {name: before[name] or variables[name] for name in before})


def _text(kind: str, variables: _Variables | None) -> str:
    return json.dumps({kind: variables}, sort_keys=True)


def _differences(before: _Variables, now: _Variables) -> list[str]:
    """Say what differs between two parts."""
    lacking = [
        f"{name!r} is missing, which the parts before have" for name in before if name not in now
    ]
    new = [f"{name!r} is not in the parts before" for name in now if name not in before]
    other = [
        f"{name!r} is {now[name]}, and {known} in the parts before"
        for name, known in before.items()
        if known and now.get(name) and now[name] != known
    ]
    return [*lacking, *new, *other]


def _array(variable: xr.Variable, fixed: Collection[str]) -> str:
    sizes = variable.sizes.items()
    axes = [f"{name}={size}" if name in fixed else str(name) for name, size in sizes]
    dtype = _TEXTS.get(variable.dtype.kind, variable.dtype.name)
    return f"{dtype}({', '.join(axes)})"


def _column(kind: pa.DataType) -> str | None:
    """Return what a column holds; None where it has no values that tell."""
    if pa.types.is_dictionary(kind):
        # How its numbers are kept depends on how many categories there are.
        return _column(kind.value_type)
    if pa.types.is_decimal(kind):
        return "decimal"
    if not _is_known(kind):
        return None
    return str(kind).removeprefix("large_")


def _is_known(kind: pa.DataType) -> bool:
    inner = (kind.field(place).type for place in range(kind.num_fields))
    return not pa.types.is_null(kind) and all(_is_known(each) for each in inner)
