"""``forebay config``: the settings in force."""

import json
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from forebay.cli.commands.completion import complete_settings
from forebay.cli.output import print_facts, print_json, print_table
from forebay.cli.session import JsonOption, session
from forebay.cli.sizes import size_written

if TYPE_CHECKING:
    from forebay.acquisition.reduction import Step

app = typer.Typer(help="The settings in force.")


@app.callback()
def _group() -> None:
    """Keep ``show`` a command of its own."""


@app.command()
def show(
    context: typer.Context,
    key: Annotated[
        str | None,
        typer.Argument(
            help="Only this key, or the keys below it.", autocompletion=complete_settings
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show every setting, its value, and where it comes from; of a single one, what it is."""
    loaded = session(context).loaded
    origins = loaded.origins
    wanted = {
        name: origin
        for name, origin in origins.items()
        if key is None or name == key or name.startswith(f"{key}.")
    }
    if not wanted:
        from forebay.config import ConfigError
        from forebay.engine.suggestion import nearest

        # Those of a group are shown by its name, too.
        names = {
            ".".join(parts[:length])
            for parts in (name.split(".") for name in origins)
            for length in range(1, len(parts) + 1)
        }
        raise ConfigError(f"there is no setting {key!r}{nearest(str(key), sorted(names))}")
    if as_json:
        for name, origin in wanted.items():
            print_json({"key": name, "value": _plain(origin.value), "source": origin.source})
        return
    rows = [(name, _cell(origin.value), origin.source) for name, origin in wanted.items()]
    columns = ("key", "value", "where it comes from")
    if key is not None and key in wanted:
        from forebay.config.settings import meaning

        facts = zip(columns[1:], rows[0][1:], strict=True)
        print_facts(key, [*facts, ("what it is", meaning(loaded.settings, key))])
    else:
        print_table(columns, rows)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, with the keys of a configuration file."""
    from pydantic import BaseModel

    from forebay.acquisition.reduction.grammar import step_text
    from forebay.acquisition.reduction.steps import StepModel
    from forebay.config.showing import shown

    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, StepModel):
        return step_text(cast("Step", value))
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return shown(value) if isinstance(value, str) else value


def _cell(value: Any) -> str:
    """Return a value as people write it: each table of a list on a line of its own."""
    from pydantic import ByteSize

    if value is None:
        return "-"
    if isinstance(value, ByteSize):
        return size_written(value)
    value = _plain(value)
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return "\n".join(_written(each) for each in value)
    return _written(value) if isinstance(value, bool | list | dict) else str(value)


def _written(value: Any) -> str:
    """Return a plain value as it is written in a configuration file."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {_written(each)}" for key, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_written(each) for each in value)}]"
    return json.dumps(value, default=str, ensure_ascii=False)
