"""``forebay dead``: units that were given up, why, and what to do with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.completion import complete_failures
from forebay.cli.commands.job_options import ParameterOption
from forebay.cli.commands.ledgers import opened
from forebay.cli.commands.process import parameters
from forebay.cli.commands.standing import told, when
from forebay.cli.errors import OptionError, TargetError, TargetExistsError
from forebay.cli.output import print_facts, print_json, print_table
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    Session,
    SharedResultsOption,
    session,
    user,
)

if TYPE_CHECKING:
    from forebay.engine.execution.submit import SubmittedJob
    from forebay.engine.queue.database import Database
    from forebay.engine.queue.dead import DeadLetter

app = typer.Typer(help="Dead letters: units that were given up.", no_args_is_help=True)

UnitArgument = Annotated[
    str, typer.Argument(metavar="UNIT", help="The unit, or how its identity begins.")
]
UnitsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="UNIT", help="Units, or how their identities begin."),
]
JobOption = Annotated[int | None, typer.Option("--job", help="Those of a job.")]
AlgorithmOption = Annotated[
    str | None,
    typer.Option("--algorithm", help="Those of an algorithm, or of one version (name-version)."),
]
FailureOption = Annotated[
    str | None,
    typer.Option(
        "--failure",
        help="Those of a class, such as raised or worker-lost.",
        autocompletion=complete_failures,
    ),
]
TextOption = Annotated[
    str | None, typer.Option("--text", help="Those whose error holds this text.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All that there are.")]


@app.command("list")
def list_dead(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    job: JobOption = None,
    algorithm: AlgorithmOption = None,
    failure: FailureOption = None,
    text: TextOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the newest first."""
    from forebay.engine.queue.dead import DeadLetters

    with opened(session(context), ledger, results, runs) as database:
        letters = DeadLetters(database).find(
            job=job, algorithm=algorithm, failure=failure, text=text, limit=limit
        )
    if as_json:
        for letter in letters:
            print_json(_fields(letter))
        return
    if not letters:
        typer.echo("there are no such dead letters")
        return
    print_table(
        ["unit", "run", "algorithm", "frames", "failure", "attempts", "when", "error"],
        [
            [
                letter.unit[:12],
                letter.target.job.run_name,
                f"{letter.target.job.algorithm}-{letter.target.job.version}",
                f"{letter.start} to {letter.stop - 1}",
                letter.failure,
                letter.attempts,
                when(letter.ended_at),
                letter.error[:120],
            ]
            for letter in letters
        ],
    )


@app.command()
def show(
    context: typer.Context,
    unit: UnitArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a dead letter: its input, its attempts, where each of them failed."""
    from forebay.engine.queue.dead import DeadLetters

    with opened(session(context), ledger, results, runs) as database:
        letter, attempts = DeadLetters(database).get(unit)
    if as_json:
        print_json({**_fields(letter), "history": attempts})
        return
    job = letter.target.job
    given = ", ".join(f"{name}={value}" for name, value in job.parameters.items())
    facts: list[tuple[str, object]] = [
        ("run", f"{job.run_name}, {letter.target.location}"),
        ("frames", f"{letter.start} to {letter.stop - 1}"),
        ("algorithm", f"{job.algorithm}-{job.version}"),
        ("parameters", given or "none"),
        ("failure", letter.failure),
        ("error", letter.error),
        ("given up", when(letter.ended_at)),
        ("result", letter.target.folder),
    ]
    print_facts(f"unit {letter.unit}", facts)
    for attempt in attempts:
        where = f" on {attempt.worker}" if attempt.worker else ""
        typer.echo(f"\nattempt {attempt.attempt}{where}, {when(attempt.ended_at)}: {attempt.error}")
        typer.echo(attempt.traceback.rstrip() or "(no traceback)")
        if attempt.log:
            typer.echo(f"what was logged meanwhile:\n{attempt.log}")


@app.command()
def replay(
    context: typer.Context,
    unit: UnitsArgument = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    job: JobOption = None,
    algorithm: AlgorithmOption = None,
    failure: FailureOption = None,
    text: TextOption = None,
    everything: AllOption = False,
    version: Annotated[
        str | None, typer.Option(help="Compute their frames by another version.")
    ] = None,
    parameter: ParameterOption = None,
) -> None:
    """Try dead letters again: single ones, or those that the options choose.

    With --version or -p their frames are computed anew as a job of its own, whose result lies
    beside the other one; the dead letters stay.
    """
    from forebay.engine.queue.dead import DeadLetters

    call = session(context)
    with opened(call, ledger, results, runs) as database:
        units = _chosen(database, unit, job, algorithm, failure, text, everything=everything)
        if version is None and not parameter:
            number = DeadLetters(database).replay(units)
            typer.echo(f"dead letters to be tried again: {number}")
            return
        for submitted in _replayed(call, database, units, version, parameter):
            told(submitted, as_json=False)


@app.command()
def discard(
    context: typer.Context,
    unit: UnitsArgument = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    job: JobOption = None,
    algorithm: AlgorithmOption = None,
    failure: FailureOption = None,
    text: TextOption = None,
    everything: AllOption = False,
) -> None:
    """Give dead letters up for good: single ones, or those that the options choose."""
    from forebay.engine.queue.dead import DeadLetters

    with opened(session(context), ledger, results, runs) as database:
        units = _chosen(database, unit, job, algorithm, failure, text, everything=everything)
        number = DeadLetters(database).discard(units)
    typer.echo(f"dead letters discarded: {number}; their frames have no result")


@app.command()
def export(
    context: typer.Context,
    unit: UnitArgument,
    target: Annotated[
        Path | None, typer.Argument(help="File to write; on the screen if not given.")
    ] = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write a script that computes a dead letter's unit in one process, for a debugger."""
    from forebay.engine.execution.reproduce import script
    from forebay.engine.queue.dead import DeadLetters
    from forebay.engine.queue.ledger import Ledger
    from forebay.engine.results.folder import ResultFolder

    call = session(context)
    with opened(call, ledger, results, runs) as database:
        letter, attempts = DeadLetters(database).get(unit)
        before = None if letter.before is None else Ledger(database).part(letter.before)
    after = before and ResultFolder(Path(letter.target.folder)).parts / before[0]
    modules = call.settings.engine.algorithm_modules
    text = script(letter, attempts, modules=modules, after=after)
    if target is None:
        typer.echo(text)
        return
    try:
        with target.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError as error:
        raise TargetExistsError(f"{target} exists already: name another file") from error
    except OSError as error:
        raise TargetError(f"{target} cannot be written: {error.strerror}") from error
    typer.echo(f"{target} computes the unit: python {target}")


def _replayed(
    call: Session,
    database: "Database",
    units: list[str],
    version: str | None,
    given: list[str] | None,
) -> "list[SubmittedJob]":
    """Submit the frames of dead letters with another version or other parameters."""
    from forebay.engine import REGISTRY
    from forebay.engine.execution.replay import replay_with
    from forebay.engine.queue.dead import DeadLetters

    letters = [DeadLetters(database).get(each)[0] for each in units]
    if not letters:
        raise OptionError("there are no such dead letters")
    kinds = {(each.target.job.algorithm, each.target.job.version) for each in letters}
    if len(kinds) > 1:
        shown = ", ".join(sorted("-".join(each) for each in kinds))
        raise OptionError(f"these dead letters are of {shown}: choose those of one (--algorithm)")
    ((name, before),) = kinds
    REGISTRY.load(call.settings.engine.algorithm_modules)
    chosen = REGISTRY.get(name, version or before)
    return replay_with(database, letters, chosen, dict(parameters(given or [])), owner=user())


def _chosen(
    database: "Database",
    unit: list[str] | None,
    job: int | None,
    algorithm: str | None,
    failure: str | None,
    text: str | None,
    *,
    everything: bool,
) -> list[str]:
    from forebay.engine.queue.dead import DeadLetters

    letters = DeadLetters(database)
    options = (job, algorithm, failure, text)
    if unit and (everything or any(each is not None for each in options)):
        raise OptionError("give units, or options that choose them, not both")
    if unit:
        return [letters.get(each)[0].unit for each in unit]
    if not everything and all(each is None for each in options):
        raise OptionError("say which: units, --job, --algorithm, --failure, --text or --all")
    found = letters.find(job=job, algorithm=algorithm, failure=failure, text=text)
    return [letter.unit for letter in found]


def _fields(letter: "DeadLetter") -> dict[str, object]:
    job = letter.target.job
    return {
        "unit": letter.unit,
        "run": job.run_name,
        "location": letter.target.location,
        "algorithm": job.algorithm,
        "version": job.version,
        "parameters": job.parameters,
        "start": letter.start,
        "stop": letter.stop,
        "y": letter.y,
        "x": letter.x,
        "failure": letter.failure,
        "error": letter.error,
        "attempts": letter.attempts,
    }
