"""The parameters of an algorithm: names, types and defaults, taken from its function."""

import inspect
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

import pydantic

from forebay.engine.errors import AlgorithmError, ParameterError
from forebay.engine.suggestion import nearest

RESERVED = frozenset(
    {
        "after",
        "client",
        "cluster",
        "deadline",
        "failures_allowed",
        "follow",
        "force",
        "keep_up",
        "key",
        "labels",
        "lane",
        "ledger",
        "live",
        "on_event",
        "owner",
        "priority",
        "recall",
        "reduce_at",
        "results",
        "stop",
        "units_in_flight_per_worker",
    }
)
"""Keywords of `process`, `reprocess` and `submit`, which a parameter cannot be called by."""

_SHOWN_CHARACTERS = 80


def parameter_model(
    name: str, function: Callable[..., Any], *, state: str | None = None
) -> type[pydantic.BaseModel]:
    """Return the parameters of an algorithm's function as a pydantic model.

    Parameters
    ----------
    name
        What the algorithm is called.
    function
        Frames first, then parameters by keyword, each with a type.
    state
        Name of the argument that is no parameter, as the engine gives it; None for none.

    Raises
    ------
    AlgorithmError
        If the function does not have that form, or a parameter cannot be written as JSON.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in _BY_POSITION:
        raise AlgorithmError(f"{name}: the function takes no frames; make them its first argument")
    given = [each for each in parameters[1:] if each.name != state]
    if state is not None and len(given) == len(parameters) - 1:
        raise AlgorithmError(
            f"{name}: the function has no argument {state!r}, by which a sequential algorithm is "
            "given the state of the block before; add it behind a *"
        )
    for parameter in given:
        _check_form(name, parameter)
    types = _types(name, function, given)
    fields: dict[str, Any] = {
        each.name: (types[each.name], ... if each.default is each.empty else each.default)
        for each in given
    }
    try:
        model: type[pydantic.BaseModel] = pydantic.create_model(
            "Parameters", __config__=_CONFIGURATION, **fields
        )
        schema = model.model_json_schema()
    except pydantic.PydanticUserError as error:
        raise AlgorithmError(f"{name}: a parameter has a type that JSON cannot carry") from error
    if '"uniqueItems"' in json.dumps(schema):
        raise AlgorithmError(f"{name}: a set has no order to be known by; use a list or a tuple")
    _check_defaults(name, fields)
    return model


def bind(label: str, model: type[pydantic.BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check parameters, fill in the defaults, and return all of them as JSON values.

    Parameters
    ----------
    label
        The algorithm, for messages.
    model
        Its parameters.
    given
        Parameters by name; a text is read as the type that the parameter has.

    Raises
    ------
    ParameterError
        If one is unknown, missing or of the wrong type.
    """
    known = list(model.model_fields)
    for name in given:
        if name not in known:
            raise ParameterError(
                f"{label} has no parameter {name!r}{nearest(name, known)}; it has "
                f"{', '.join(known) or 'none'}"
            )
    try:
        return model.model_validate(dict(given)).model_dump(mode="json")
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            message = f"{label} needs the parameter {name!r}: give it as {name}=VALUE"
        else:
            value = _shown(first["input"])
            said = first["msg"].removeprefix("Value error, ")
            message = f"{label}: parameter {name!r} cannot be {value}: {said}"
        raise ParameterError(message) from error
    except ValueError as error:
        raise ParameterError(f"{label}: a parameter cannot be kept as JSON: {error}") from error


def arguments(model: type[pydantic.BaseModel], bound: Mapping[str, Any]) -> dict[str, Any]:
    """Return bound parameters as the function expects them, each of its own type."""
    values = model.model_validate(dict(bound))
    return {name: getattr(values, name) for name in model.model_fields}


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

_CONFIGURATION = pydantic.ConfigDict(
    extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
)


def _check_form(name: str, parameter: inspect.Parameter) -> None:
    shown = f"{name}: parameter {parameter.name!r}"
    if parameter.kind in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}:
        raise AlgorithmError(f"{shown} stands for any number of them; name each one instead")
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        raise AlgorithmError(f"{shown} must be given by keyword; put a * before it")
    if parameter.name in RESERVED:
        raise AlgorithmError(f"{shown} is a keyword of process() itself; give it another name")
    if parameter.name.startswith("_") or hasattr(pydantic.BaseModel, parameter.name):
        raise AlgorithmError(f"{shown} has a name that pydantic keeps; give it another one")
    if parameter.annotation is parameter.empty:
        raise AlgorithmError(f"{shown} needs a type")


def _types(
    name: str, function: Callable[..., Any], parameters: list[inspect.Parameter]
) -> dict[str, Any]:
    """Return the types of parameters, also of those that are written as texts."""
    written = SimpleNamespace(__annotations__={each.name: each.annotation for each in parameters})
    known = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return get_type_hints(written, globalns=known, include_extras=True)
    except NameError as error:
        raise AlgorithmError(
            f"{name}: a type is not known when the algorithm is declared ({error}); import it "
            "outside of 'if TYPE_CHECKING'"
        ) from error


def _check_defaults(name: str, fields: Mapping[str, tuple[Any, Any]]) -> None:
    for parameter, (annotation, default) in fields.items():
        if default is ...:
            continue
        try:
            pydantic.TypeAdapter(annotation).validate_python(default)
        except pydantic.ValidationError as error:
            raise AlgorithmError(
                f"{name}: the default of {parameter!r} cannot be {_shown(default)}: "
                f"{error.errors()[0]['msg']}"
            ) from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
