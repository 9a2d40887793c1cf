"""``forebay config``: the settings in force."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, session

if TYPE_CHECKING:
    from forebay.acquisition.reduction import Step

app = typer.Typer(help="The settings in force.")


@app.callback()
def _group() -> None:
    """Keep ``show`` a command of its own."""


@app.command()
def show(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Only this key, or the keys below it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show every setting, its value, and where it comes from."""
    origins = session(context).loaded.origins
    wanted = {
        name: origin
        for name, origin in origins.items()
        if key is None or name == key or name.startswith(f"{key}.")
    }
    if not wanted:
        from forebay.config import ConfigError
        from forebay.engine.suggestion import nearest

        raise ConfigError(f"there is no setting {key!r}{nearest(str(key), list(origins))}")
    if as_json:
        for name, origin in wanted.items():
            print_json({"key": name, "value": _plain(origin.value), "source": origin.source})
        return
    rows = [(name, _plain(origin.value), origin.source) for name, origin in wanted.items()]
    print_table(("key", "value", "where it comes from"), rows)


def _plain(value: Any) -> Any:
    """Return a value as it is written in a configuration file."""
    from forebay.acquisition.reduction.grammar import step_text
    from forebay.acquisition.reduction.steps import StepModel

    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return step_text(cast("Step", value)) if isinstance(value, StepModel) else value
