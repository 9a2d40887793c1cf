"""Steps as text, ``bin:2x4,method=sum``, and as tables of a configuration."""

import csv
import difflib
import io
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.steps import STEPS, Step, StepModel
from forebay.acquisition.sources.messages import shown


def parse_step(text: str) -> Step:
    """Return the step that a text describes.

    Parameters
    ----------
    text
        The name of the step, and behind a colon its parameters, separated by commas: first the
        values of those that need no name, in their order, then ``name=value``.  Height and width
        are ``2x4`` (or ``2`` for both), a range of pixels is ``first:behind``.  What holds a
        comma is put in double quotes.

    Raises
    ------
    ReductionError
        If there is no such step, or a parameter is unknown, missing or of the wrong kind.

    Examples
    --------
    >>> parse_step("bin:2x4,method=sum")
    BinStep(step='bin', factor=(2, 4), method='sum', dtype=None)
    >>> parse_step("region:0:512,256:768").x
    (256, 768)
    >>> parse_step("bin:0")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    forebay.acquisition.reduction.errors.ReductionError: 'bin:0': factor cannot be 0: it must ...
    """
    name, _, rest = text.partition(":")
    model = _model(name.strip(), text)
    values: dict[str, Any] = {"step": name.strip()}
    unnamed = iter(model.first)
    for item in _items(rest, text):
        key, separator, value = item.partition("=")
        key = key.strip().replace("-", "_")
        if not separator:
            key, value = next(unnamed, ""), item
            if not key:
                raise _refused(text, f"{item!r} needs a name in front: name={item}", model)
        if key in values:
            raise _refused(text, f"{key} is given twice; leave one out", model)
        values[key] = value.strip()
    step: Step = _checked(model, values, text)
    return step


def read_step(given: Any) -> Step:
    """Return a step from a text, from a table, or as it is.

    Raises
    ------
    ReductionError
        If it is none of them, or as `parse_step` does.

    Examples
    --------
    >>> read_step({"step": "select", "every": 10}) == read_step("select:every=10")
    True
    """
    if isinstance(given, StepModel):
        return given  # type: ignore[return-value]
    if isinstance(given, str):
        return parse_step(given)
    if not isinstance(given, dict) or not isinstance(given.get("step"), str):
        raise ReductionError(
            f"{shown(repr(given))} is no step; write a text such as 'bin:2', or a table such as "
            "{step = 'bin', factor = 2}"
        )
    what = str(given)
    step: Step = _checked(_model(given["step"], what), given, what)
    return step


def step_text(step: Step) -> str:
    """Return the text from which `parse_step` makes the step.

    Examples
    --------
    >>> step_text(parse_step("bin: 2, method=mean"))
    'bin:2x2'
    >>> step_text(parse_step("flat-field:a.npy,dark=b.npy"))
    'flat-field:a.npy,dark=b.npy'
    """
    given = {
        name: _value_text(name, value)
        for name, value in step
        if name != "step" and value != type(step).model_fields[name].default
    }
    items = []
    for name, value in given.items():
        plain = name in step.first and "=" not in value
        items.append(value if plain else f"{name.replace('_', '-')}={value}")
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(items)
    return f"{step.step}:{row.getvalue()}"


def _items(text: str, whole: str) -> list[str]:
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ReductionError(f"{shown(repr(whole))}: a quote is not closed: {error}") from error
    return [item.strip() for row in rows for item in row if item.strip()]


def _value_text(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ("x" if name == "factor" else ":").join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _model(name: str, text: str) -> type[StepModel]:
    if name not in STEPS:
        raise ReductionError(
            f"{shown(repr(text))}: there is no step {shown(repr(name))}; steps are "
            f"{', '.join(STEPS)}{_nearest(name, STEPS)}"
        )
    return STEPS[name]


def _checked(model: type[StepModel], values: dict[str, Any], text: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    known = [name for name in model.model_fields if name != "step"]
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        what = f"there is no parameter {field}; known are {', '.join(known)}"
        raise _refused(text, what + _nearest(field, known), model)
    if first["type"] == "missing":
        raise _refused(text, f"{field} is missing", model)
    said = first["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    about = f"{field} cannot be {first['input']!r}: " if field else ""
    raise _refused(text, about + said, model)


def _refused(text: str, what: str, model: type[StepModel]) -> ReductionError:
    return ReductionError(f"{shown(repr(text))}: {shown(what)}; write for example {model.example}")


def _nearest(given: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(given.casefold(), list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""
