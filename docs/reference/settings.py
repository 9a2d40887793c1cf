"""Write the page of all settings: ``python docs/reference/settings.py`` makes it anew."""

import sys
import types
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from forebay.acquisition.reduction.steps import StepModel
from forebay.cli.sizes import size_written
from forebay.config import Settings

PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# Settings

Everything that `forebay.toml` may hold; [Configure](../how-to/configure.md) says how it is given there, or
in variables `FOREBAY_…`. `forebay config show` tells what is in force, and
`forebay config show KEY` what one setting is. `NAME` stands for a name of your choice, a title in
two pairs of brackets for a table that may be given several times.

This page is made from the code, by `docs/reference/settings.py`.
"""
KINDS = {str: "text", Path: "path", int: "integer", float: "number", bool: "`true` or `false`"}
BOUNDS = (("gt", "above {}"), ("ge", "{} or more"), ("lt", "below {}"), ("le", "{} at the most"))


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_section("", Settings, "What stands at the top of the file.")])


def _section(key: str, model: type[BaseModel], what: str) -> Iterator[str]:
    """Yield the lines on a table of the configuration, and on those in it."""
    kind = model.model_fields.get("kind")
    title = f"`{key}`" if key else "At the top"
    yield f"## {title}" + (f', `kind = "{kind.default}"`' if kind else "")
    yield f"\n{kind.description if kind else what}\n"
    yield "| setting | value | if not given | what it is |\n|---|---|---|---|"
    tables = []
    for name, field in model.model_fields.items():
        inner = list(_models(field.annotation))
        place = f"{key}.{field.alias or name}".removeprefix(".")
        tables += [(_titled(place, field.annotation), each, field.description) for each in inner]
        if not inner:
            cells = (_value(field), _default(field), (field.description or "").replace("|", "\\|"))
            yield f"| `{field.alias or name}` | {' | '.join(cells)} |"
    yield ""
    for place, each, told in tables:
        yield from _section(place, each, told or "")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in a type: each of them is a table, but steps, which are text."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not issubclass(annotation, StepModel):
            yield annotation
        return
    for each in get_args(getattr(annotation, "__value__", annotation)):
        yield from _models(each)


def _titled(key: str, annotation: Any) -> str:
    origin = get_origin(annotation)
    return f"{key}.NAME" if origin is dict else f"[[{key}]]" if origin is tuple else key


def _value(field: FieldInfo) -> str:
    """Return what may be given."""
    return ", ".join([_kind(field.annotation), *_bounds(field.metadata)])


def _bounds(metadata: Iterable[Any]) -> Iterator[str]:
    for given in metadata:
        for name, how in BOUNDS:
            if isinstance(bound := getattr(given, name, None), int | float):
                yield how.format(f"{bound:,}".replace(",", " ") if bound > 0 else f"{bound:g}")


def _kind(annotation: Any) -> str:
    annotation = getattr(annotation, "__value__", annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    told = KINDS.get(annotation, str(annotation))
    if origin is Annotated:
        told = ", ".join([_kind(parts[0]), *_bounds(parts[1:])])
    elif origin is Literal:
        told = ", ".join(f"`{each}`" for each in parts)
    elif origin in (Union, types.UnionType):
        kinds = [_kind(each) for each in parts if each is not type(None)]
        told = " or ".join(dict.fromkeys(kinds))
    elif origin in (tuple, list):
        told = f"list: {_kind(parts[0])}"
    elif origin is dict:
        told = f"table: {_kind(parts[1])} for each name"
    elif annotation is ByteSize:
        told = 'size, such as `"16 MiB"`'
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        told = ", ".join(f"`{each.value}`" for each in annotation)
    elif isinstance(annotation, type) and issubclass(annotation, StepModel):
        told = "[step](../how-to/reduce-on-the-instrument.md#the-steps)"
    return told


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "must be given"
    if default is None or default in ((), {}):
        return "–"
    if default == sys.executable:
        return "the one in use"
    if isinstance(default, tuple):
        return ", ".join(f"`{getattr(each, 'value', each)}`" for each in default)
    if isinstance(default, ByteSize):
        return f"`{size_written(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
