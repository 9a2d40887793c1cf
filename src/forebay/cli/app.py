"""The commands, and what is common to all of them."""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from forebay.cli.commands import (
    acquire,
    algorithms,
    bundles,
    burst,
    cameras,
    cluster,
    cluster_status,
    config,
    control,
    dead,
    decisions,
    demo,
    doctor,
    jobs,
    ops,
    process,
    profile,
    protect,
    recall,
    reprocess,
    runs,
    scrub,
    serve,
    tier,
    tier_costs,
    tier_moves,
    tier_status,
    transfer,
    tune,
)
from forebay.cli.logs import log_to_stderr
from forebay.cli.session import Session
from forebay.errors import ExitCode, ForebayError

# What typer raises for words that it does not understand has no public name of its own.
UsageError: Any = typer.BadParameter.__base__


def _tell(message: str) -> None:
    line = " ".join(message.split())
    # Where the terminal has gone nobody can be told; the exit code still is what it is.
    with suppress(OSError):
        sys.stderr.write(f"forebay: error: {line}\n")


@contextmanager
def _mistakes_told() -> Iterator[None]:
    """Tell of a mistake or an error of ours in one line, and end with its exit code."""
    try:
        yield
    except ForebayError as error:
        _tell(str(error))
        raise typer.Exit(error.exit_code) from error
    except PermissionError as error:
        # Somebody else's run, or ledger: which of its files is met first does not matter.
        _tell(f"{error.filename or error}: permission is denied; let this user read it")
        raise typer.Exit(ExitCode.STORAGE) from error
    except UsageError as error:
        said = error.format_message().replace(": Value error, ", ": ").rstrip(".")
        # Of a group without a command, its help has been shown.
        if said:
            _tell(f"{said}; see '{_asked(error)} --help'")
        raise typer.Exit(ExitCode.USAGE) from error


def _asked(error: Any) -> str:
    """Return the command in whose words there is a mistake."""
    return "forebay" if error.ctx is None else str(error.ctx.command_path)


class _Commands(TyperGroup):
    """Tells of a mistake in one line, be it in its own words or in those of a command."""

    def make_context(self, *words: Any, **options: Any) -> Any:
        with _mistakes_told():
            return super().make_context(*words, **options)

    def invoke(self, ctx: Any) -> Any:
        with _mistakes_told():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help="Camera frames, continuously, from the instrument to the result.",
    epilog="Exit codes: 0 done, 1 defect, 2 usage, 3 input, 4 conflict, 5 damage, 6 incomplete, "
    "7 storage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(acquire.acquire)
app.command()(process.process)
app.command()(reprocess.reprocess)
app.command()(serve.serve)
app.add_typer(jobs.app, name="jobs")
app.add_typer(dead.app, name="dead")
app.command()(profile.profile)
app.command()(cameras.cameras)
app.add_typer(control.app, name="control")
runs.app.command("export")(bundles.export)
runs.app.command("import")(bundles.import_)
runs.app.command("check-bundle")(bundles.check_bundle)
app.add_typer(runs.app, name="runs")
tier.app.command()(tier_status.status)
tier.app.command()(tier_moves.move)
tier.app.command()(tier_moves.cancel)
tier.app.command()(tier_moves.plan)
tier.app.command()(tier_moves.apply)
tier.app.command()(protect.pin)
tier.app.command()(protect.unpin)
tier.app.command()(protect.hold)
tier.app.command()(protect.release)
tier.app.command()(recall.recall)
tier.app.command()(tier_costs.costs)
app.add_typer(tier.app, name="tier")
app.command()(scrub.scrub)
app.command()(transfer.transfer)
app.add_typer(algorithms.app, name="algorithms")
app.add_typer(ops.app, name="ops")
cluster.app.command()(burst.reap)
cluster.app.command()(burst.load)
cluster.app.command()(burst.simulate)
cluster.app.command()(decisions.decisions)
cluster.app.command()(cluster_status.status)
app.add_typer(cluster.app, name="cluster")
app.add_typer(config.app, name="config")
app.command()(doctor.doctor)
app.command()(tune.tune)
app.command()(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        import forebay

        typer.echo(f"forebay {forebay.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration file; else the forebay.toml here or in a folder above."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell on stderr what is being done.")
    ] = False,
    version: Annotated[  # noqa: ARG001 (answered by its callback)
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    log_to_stderr(verbose=verbose)
    context.obj = Session(config)


@functools.cache
def commands() -> Any:
    """Return all commands, ready to be called; to make them takes longer than most of them do."""
    made = typer.main.get_command(app)
    _fit_for_help(made)
    return made


def _fit_for_help(command: Any) -> None:
    """Let help flow in its paragraphs, and name arguments as its sentences do.

    Flags take no value, so that none is named there.
    """
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for word in [*command.params, command.get_help_option(typer.Context(command))]:
        if word.param_type_name == "argument":
            word.metavar = word.metavar or word.name.upper()
        elif word.is_flag:
            word.metavar = ""
    for each in getattr(command, "commands", {}).values():
        _fit_for_help(each)
