"""Saying in one line what is wrong with a value."""

import re
from collections.abc import Collection, Mapping
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from forebay.cluster import ClusterSpecification
from forebay.config.errors import ConfigError
from forebay.config.given import Entry
from forebay.config.settings import Key, Settings
from forebay.config.showing import shown
from forebay.engine.queue.retry import RetryRule
from forebay.engine.suggestion import nearest
from forebay.tiering.specification import CacheSpecification, PolicySpecification, TierSpecification

_KINDS: dict[str, type[BaseModel]] = {
    model.model_fields["kind"].default: model
    for model in get_args(get_args(ClusterSpecification)[0])
}

_WISHES = {
    "union_tag_not_found": f"it needs a kind, one of {', '.join(_KINDS)}",
    "union_tag_invalid": f"it must be one of {', '.join(_KINDS)}",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "it must be a table"),
    **dict.fromkeys(("byte_size", "byte_size_unit"), "it must be a size such as '64 MiB'"),
    "path_type": "it must be a path",
    "tuple_type": "it must be a list",
}
"""What pydantic says less well, by the type of its error."""


def refusal(error: ValidationError, entries: Mapping[Key, Entry]) -> ConfigError:
    """Return the error to raise for the first thing that pydantic refuses.

    Parameters
    ----------
    error
        What pydantic says.
    entries
        What was given.
    """
    entries = dict(entries)
    for above, one in [*entries.items()]:
        entries.update(one.within(above))
    details = error.errors(include_url=False)
    first = details[0]
    key = _key(first, entries)
    source = entries[key].source if key in entries else "the configuration"
    name = _name(key, entries)
    here = [each for each in details if _key(each, entries) == key]
    if first["type"] == "extra_forbidden":
        known = _known(first["loc"])
        return ConfigError(
            f"{source}: there is no setting {name}; known here are "
            f"{', '.join(known)}{nearest(key[-1], known)}"
        )
    if first["type"] == "missing":
        needed = [str(each["loc"][-1]) for each in here if each["type"] == "missing"]
        return ConfigError(f"{source}: {name} needs {' and '.join(needed)}")
    # The members of a union say one after the other what they would have liked.
    wishes = dict.fromkeys(map(_wish, here))
    entry = entries.get(key)
    if first["type"] == "tuple_type" and entry is not None and entry.is_table:
        wishes = dict.fromkeys([f"it must be a list of tables, each under [[{name}]]"])
    given = "" if entry is None or entry.is_table else entry.value
    said = f" = {shown(repr(given))}" if given != "" else ""
    return ConfigError(
        f"{source}: {name}{said}: {' or '.join(wishes)}{nearest(str(given), _allowed(first))}"
    )


def _key(detail: ErrorDetails, entries: Mapping[Key, Entry]) -> Key:
    """Return the key of what was given; pydantic puts the kinds of clusters and more in between."""
    location = [str(part) for part in detail["loc"]]
    if location[:1] == ["clusters"]:
        del location[2:3]
        if detail["type"].startswith("union_tag") and (*location, "kind") in entries:
            location.append("kind")
    while location and tuple(location) not in entries:
        location.pop()
    return tuple(location)


def _name(key: Key, entries: Mapping[Key, Entry]) -> str:
    """Return what something that was given is called: tables of a list by the names in them."""
    number = next((place for place, each in enumerate(key) if each.isdigit()), len(key))
    if key[: number + 1] not in entries or key[:number] not in entries or number == len(key):
        return ".".join(key)
    listed, below = ".".join(key[:number]), key[number + 1 :]
    named = entries.get((*key[: number + 1], "name"))
    if named is not None:
        return ".".join([f"{listed}[{named.value!r}]", *below])
    return " of ".join([*below[:1], f"number {int(key[number]) + 1}", listed])


def _known(location: tuple[int | str, ...]) -> Collection[str]:
    match location:
        case ("clusters", _, kind, _):
            return list(_KINDS[str(kind)].model_fields)
        case ("clusters", _, kind, table, _):
            nested = _KINDS[str(kind)].model_fields[str(table)].annotation
            models = [each for each in get_args(nested) if isinstance(each, type)]
            return [name for each in models for name in getattr(each, "model_fields", ())]
        case ("tiers", _, _):
            return list(TierSpecification.model_fields)
        case ("tiering", "policies", _, _):
            return [field.alias or name for name, field in PolicySpecification.model_fields.items()]
        case ("engine", "retries", _, _):
            return list(RetryRule.model_fields)
        case ("tiering", "cache", _):
            return list(CacheSpecification.model_fields)
        case (group, _):
            return list(type(Settings.model_fields[str(group)].default).model_fields)
        case _:
            return list(Settings.model_fields)


def _wish(detail: ErrorDetails) -> str:
    if detail["type"] in _WISHES:
        return _WISHES[detail["type"]]
    said = detail["msg"].removeprefix("Value error, ")
    return said.replace("Input should be", "it must be").replace("Input is", "it is")


def _allowed(detail: ErrorDetails) -> Collection[str]:
    if detail["type"] == "union_tag_invalid":
        return list(_KINDS)
    # 'a', 'b' or 'c'
    return re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
