"""``forebay control``: ask, tell and stop the acquisition that is writing a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from forebay.cli.awaiting import opened_run
from forebay.cli.commands.completion import complete_runs
from forebay.cli.output import print_facts, print_json, seconds, size, writing_output
from forebay.cli.session import JsonOption, RunsOption, session
from forebay.cli.signals import stop_on_signals
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from forebay.acquisition import Run
    from forebay.acquisition.control import ControlClient, Event


class _CommandsOfRun(TyperGroup):
    """Shows the help of a command also where RUN is left out in front of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[1:] == ["--help"] and args[0] in self.commands:
            args = ["RUN", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_CommandsOfRun,
    help="Ask, tell and stop the acquisition that is writing a run on this machine.",
    no_args_is_help=True,
)


@app.callback()
def _common(
    run: Annotated[
        str,
        typer.Argument(
            help="Name of the run in the folder of the runs, or its path.",
            autocompletion=complete_runs,
        ),
    ],
) -> None:
    """Keep the run in front of the commands."""


@app.command()
def status(context: typer.Context, runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """Show how the acquisition is doing."""
    with _connected(context, runs) as (run, client):
        found = client.request("status")
    if as_json:
        print_json(found)
        return
    facts = [(name.replace("_", " "), _shown(name, value)) for name, value in found.items()]
    print_facts(f"run {run.name}, being written", facts)


@app.command()
def stop(
    context: typer.Context,
    reason: Annotated[
        str | None, typer.Option(help="Why; it is kept as the reason for which the run ended.")
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Commit what has come and close the run; returns when that has begun."""
    fields = {} if reason is None else {"reason": reason}
    _ask(context, runs, "is asked to stop", as_json, "stop", **fields)


@app.command()
def start(context: typer.Context, runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """Begin to record, where the acquisition is armed and waits for that."""
    _ask(context, runs, "records", as_json, "start")


@app.command()
def annotate(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to write down.")],
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write TEXT down in the run, with the time and the camera's counter."""
    _ask(context, runs, "has the annotation", as_json, "annotate", text=text)


@app.command()
def mark(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What happens now, such as 'pump on'.")],
    text: Annotated[str | None, typer.Argument(help="What else there is to say.")] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write down in the run that something happens now."""
    _ask(context, runs, "has the mark", as_json, "mark", name=name, text=text)


@app.command()
def reduce(
    context: typer.Context,
    level: Annotated[
        int,
        typer.Argument(
            min=0, max=8, help="How many of the steps; 0 takes an earlier request back."
        ),
    ],
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600.0, help="For how long, unless it is asked again.")
    ] = 10.0,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reduce frames for some time, by the steps that are declared for times of overload."""
    _ask(context, runs, "is asked to", as_json, "reduce", level=level, seconds=seconds)


@app.command()
def follow(context: typer.Context, runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """Show what is committed and what happens, until the run is closed."""
    with (
        stop_on_signals("the recording goes on") as stopped,
        _connected(context, runs) as (_, client),
    ):
        for event in client.events(stopped):
            if as_json:
                print_json(event.model_dump(mode="json", exclude={"version"}))
            else:
                with writing_output():
                    typer.echo(described(event))
    if stopped.is_set():
        raise typer.Exit(ExitCode.INTERRUPTED)


@contextmanager
def _connected(context: typer.Context, runs: Any) -> "Iterator[tuple[Run, ControlClient]]":
    """Connect to what is writing the run that the group was given."""
    from forebay.acquisition.control import ControlClient
    from forebay.acquisition.errors import ControlError

    if context.parent is None:
        raise RuntimeError("the command was called without its group")
    run = opened_run(session(context).location(context.parent.params["run"], runs))
    if run.closed:
        raise ControlError(f"{run.location} is closed: no acquisition is writing it")
    if run.writer is None:
        raise ControlError(
            f"nobody is writing {run.location} on this machine: if its writer has died, "
            "'forebay runs close' ends it"
        )
    with ControlClient(run.run_id) as client:
        yield run, client


def _ask(
    context: typer.Context, runs: Any, done: str, as_json: bool, request: str, **fields: Any
) -> None:
    with _connected(context, runs) as (run, client):
        client.request(request, **fields)
    if as_json:
        print_json({"request": request, "run": run.location, "ok": True})
    else:
        typer.echo(f"{run.name} {done}")


def described(event: "Event") -> str:
    """Return what an acquisition has told, in a line for people."""
    from forebay.acquisition.control import ClosedEvent, CommittedEvent, NotedEvent, StateEvent

    match event:
        case CommittedEvent():
            blocks = f"{event.blocks} block{'' if event.blocks == 1 else 's'}"
            return (
                f"committed: {event.frames} frames in {blocks}, {event.dropped} dropped of "
                f"{event.counted}"
            )
        case StateEvent(flow=flow):
            return f"state: {flow}"
        case NotedEvent():
            at = event.at and datetime.fromtimestamp(event.at / 1e9, UTC).isoformat("T", "seconds")
            where = "" if event.counter is None else f" before frame {event.counter}"
            return f"{event.topic}{where}{f' at {at}' if at else ''}: {event.text}"
        case ClosedEvent(reason=reason):
            return f"closed: {reason}"


def _shown(name: str, value: Any) -> str:
    """Return a value of a status for people; its name says what it is."""
    match value:
        case None:
            return "-"
        case dict():
            return ", ".join(f"{key} {_shown(name, each)}" for key, each in value.items()) or "-"
        case list():
            return "; ".join(str(each) for each in value) or "-"
        case int() | float() if name.endswith("bytes_per_second"):
            return f"{size(value)}/s"
        case int() | float() if name.endswith("bytes"):
            return size(value)
        case int() | float() if name.startswith("seconds") or name.endswith("_seconds"):
            return seconds(value)
        case float():
            return f"{value:.1f}"
    return str(value)
