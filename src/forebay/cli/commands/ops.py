"""``forebay ops``: which operations there are, and what one of them does to a frame."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.awaiting import opened_run
from forebay.cli.commands.completion import (
    complete_operation_parameters,
    complete_operations,
    complete_runs,
)
from forebay.cli.commands.process import parameters
from forebay.cli.errors import OptionError
from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, RunsOption, session

if TYPE_CHECKING:
    from forebay.ops.catalogue import Operation

app = typer.Typer(help="Operations on frames.", no_args_is_help=True)


@app.command("list")
def list_operations(as_json: JsonOption = False) -> None:
    """List the operations, and their parameters."""
    from forebay.cli.written_types import described
    from forebay.ops.catalogue import operations

    found = sorted(operations().values(), key=lambda each: (each.family, each.name))
    if as_json:
        for each in found:
            print_json(
                {
                    "name": each.name,
                    "family": each.family,
                    "parameters": {name: described(one) for name, one in each.parameters.items()},
                    "summary": each.summary,
                }
            )
        return
    rows = [(each.name, each.family, _shown(each), each.summary.replace("`", "")) for each in found]
    print_table(("operation", "family", "parameters", "what it does"), rows)


@app.command("try")
def try_operation(
    context: typer.Context,
    operation: Annotated[
        str,
        typer.Argument(
            help="Name of the operation; see 'forebay ops list'.",
            autocompletion=complete_operations,
        ),
    ],
    run: Annotated[
        str,
        typer.Argument(
            help="Name of a run in the folder of the runs, or its path or URL.",
            autocompletion=complete_runs,
        ),
    ],
    frame: Annotated[int, typer.Option(min=0, help="The frame to show.")] = 0,
    around: Annotated[
        int, typer.Option(min=0, help="Frames before and behind it that the operation sees too.")
    ] = 0,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="NAME=VALUE",
            help="A parameter of it; may be repeated.",
            autocompletion=complete_operation_parameters,
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="PNG file to write; OPERATION-FRAME.png if not given.")
    ] = None,
    runs: RunsOption = None,
) -> None:
    """Apply OPERATION to one frame of RUN, and draw it before and after."""
    from forebay.cli.comparison import draw_comparison
    from forebay.engine.suggestion import nearest
    from forebay.ops.catalogue import operations

    chosen = operations().get(operation)
    if chosen is None:
        raise OptionError(
            f"there is no operation {operation!r}{nearest(operation, list(operations()))} "
            "('forebay ops list' shows those there are)"
        )
    given = {name: _value(text) for name, text in parameters(parameter or []).items()}
    unknown = sorted(given.keys() - chosen.parameters.keys())
    if unknown:
        raise OptionError(
            f"{operation} has no parameter {unknown[0]!r}"
            f"{nearest(unknown[0], chosen.parameters)}; it has {', '.join(chosen.parameters)}"
        )
    missing = [
        name
        for name, each in chosen.parameters.items()
        if each.default is each.empty and name not in given
    ]
    if missing:
        raise OptionError(f"{operation} needs the parameter {missing[0]!r}: give it with -p")
    opened = opened_run(session(context).location(run, runs))
    total = opened.history.frames
    if frame >= total:
        raise OptionError(f"there is no frame {frame}: {opened.location} has {total} frames")
    seen = opened.frames.isel(t=slice(max(0, frame - around), frame + around + 1)).load()
    result = chosen.function(seen, **given)
    target = picture or Path(f"{operation}-{frame}.png")
    draw_comparison(target, seen.sel(t=frame), result, title=_title(chosen, given, frame))
    typer.echo(f"{target} shows frame {frame} before and after {operation}")


def _shown(operation: "Operation") -> str:
    shown = []
    for name, each in operation.parameters.items():
        shown.append(name if each.default is each.empty else f"{name} = {each.default!r}")
    return "\n".join(shown)


def _value(text: str) -> Any:
    """Return a value as JSON has it, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _title(operation: "Operation", given: dict[str, Any], frame: int) -> str:
    told = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"{operation.name}({told}), frame {frame}"
