"""``forebay jobs``: submit jobs to a service, watch them, change them."""

import datetime
import getpass
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.commands.completion import complete_algorithms, complete_jobs, complete_runs
from forebay.cli.commands.process import parameters
from forebay.cli.errors import LedgerNotFoundError, OptionError
from forebay.cli.output import print_facts, print_json, print_table, progress, seconds
from forebay.cli.recalling import RecallOption, have_recalled
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    Session,
    SharedResultsOption,
    session,
)
from forebay.cli.signals import stop_on_signals
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from forebay.acquisition import Run
    from forebay.engine import Algorithm, SubmittedJob
    from forebay.engine.queue.database import Database
    from forebay.engine.queue.explain import Explanation
    from forebay.engine.queue.jobs import JobRecord, Progress

app = typer.Typer(help="Jobs for a service: submit, watch, change.", no_args_is_help=True)

JobArgument = Annotated[
    int,
    typer.Argument(metavar="JOB", help="Number of the job.", autocompletion=complete_jobs),
]
LaneOption = Annotated[
    str | None, typer.Option(help="realtime, validation or reprocess; reprocess if not given.")
]
PriorityOption = Annotated[int | None, typer.Option(help="Within the lane, higher first.")]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="May be repeated."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("-l", "--label", metavar="NAME=VALUE", help="May be repeated."),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for its end; Ctrl-C ends the waiting, not the job.")
]


@app.command()
def submit(
    context: typer.Context,
    algorithm: Annotated[
        str,
        typer.Argument(
            help="Name of the algorithm, or name-version; see 'forebay algorithms list'.",
            autocompletion=complete_algorithms,
        ),
    ],
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Names of runs in the folder of the runs, or their paths or URLs.",
            autocompletion=complete_runs,
        ),
    ],
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    parameter: ParameterOption = None,
    lane: LaneOption = None,
    priority: PriorityOption = None,
    label: LabelOption = None,
    after: Annotated[
        list[int] | None, typer.Option(help="A job that must be done before; may be repeated.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Take each block as it is committed.")
    ] = False,
    keep_up: Annotated[
        int,
        typer.Option(
            min=1,
            help="With --follow: when late, take every so-manieth block at once, and the others "
            "when there is time; 1 for all in their order.",
        ),
    ] = 1,
    reduce_at: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --follow: blocks that may wait before the acquisition is asked to reduce "
            "its frames.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute also what is done already.")
    ] = False,
    failures_allowed: Annotated[
        int | None, typer.Option(help="Dead letters after which it is given up; any if not given.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Submitting again with this key finds the same job.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The only cluster that may compute it; any if not given.")
    ] = None,
    recall: RecallOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit ALGORITHM over one RUN or several, for a service to work on."""
    from forebay import open_run

    call = session(context)
    job = submitted(
        call,
        algorithm,
        lambda: [open_run(call.location(each, runs)) for each in run],
        results=call.shared_results(results, runs),
        ledger=call.ledger(ledger, results, runs),
        given=parameter,
        label=label,
        recall=recall,
        lane=lane or ("realtime" if follow else "reprocess"),
        priority=priority or 0,
        after=after or [],
        live=follow,
        keep_up=keep_up,
        reduce_at=reduce_at,
        force=force,
        failures_allowed=failures_allowed,
        key=key,
        cluster=cluster,
    )
    told(job, as_json=as_json)
    if wait:
        watched(job, as_json=as_json)


@app.command("list")
def list_jobs(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    state: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    label: LabelOption = None,
    owner: Annotated[str | None, typer.Option(help="Jobs of one person.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    from forebay.engine.queue.jobs import Jobs
    from forebay.engine.queue.lanes import Lane
    from forebay.engine.queue.states import JobState, UnitState

    unknown = set(state or []) - set(JobState)
    if unknown:
        raise OptionError(f"there is no state {min(unknown)!r}; there are {', '.join(JobState)}")
    rows = []
    with opened(session(context), ledger, results, runs) as database:
        jobs = Jobs(database)
        for record in jobs.find(
            states=state or (), labels=labels_of(label), owner=owner, limit=limit
        ):
            done = jobs.progress(record.job)
            if as_json:
                print_json(as_fields(record, done))
                continue
            rows.append(
                [
                    record.job,
                    record.state,
                    Lane(record.lane).label,
                    f"{record.algorithm}-{record.version}",
                    done.results,
                    f"{done.count(UnitState.DONE)} of {done.total}",
                    done.count(UnitState.DEAD),
                    record.owner,
                    when(record.created_at),
                ]
            )
    if not as_json:
        if not rows:
            typer.echo("there are no such jobs")
            return
        print_table(
            ["job", "state", "lane", "algorithm", "runs", "units", "dead", "owner", "submitted"],
            rows,
        )


@app.command()
def show(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a job: what is asked for, how its units stand, where its results lie."""
    from forebay.engine.queue.explain import explain as explained
    from forebay.engine.queue.jobs import Jobs
    from forebay.engine.queue.lanes import Lane

    with opened(session(context), ledger, results, runs) as database:
        found = explained(database, job)
        wanted = Jobs(database).results(job)
    record, done = found.job, found.progress
    folders = [each.folder for each in wanted]
    if as_json:
        print_json({**as_fields(record, done), "results": folders, "reasons": found.reasons})
        return
    given = ", ".join(f"{name}={value}" for name, value in record.parameters.items())
    facts: list[tuple[str, object]] = [
        ("state", record.state),
        ("why", "; ".join(found.reasons) or "-"),
        ("parameters", given or "none"),
        ("lane", f"{Lane(record.lane).label}, priority {record.priority}"),
        ("cluster", record.cluster or "any"),
        ("labels", ", ".join(f"{k}={v}" for k, v in record.labels.items()) or "none"),
        ("owner", record.owner or "-"),
        ("submitted", when(record.created_at)),
        ("ended", when(record.ended_at)),
        ("runs", f"{done.results}, {done.planned} of them planned"),
        ("units", ", ".join(f"{number} {state}" for state, number in done.units.items()) or "none"),
        ("frames", ", ".join(f"{n} {state}" for state, n in done.frames.items()) or "none"),
        ("worked", seconds(done.seconds)),
    ]
    print_facts(f"job {job}: {record.algorithm}-{record.version}", facts)
    for folder in folders[:20]:
        typer.echo(f"  {folder}")
    if len(folders) > 20:
        typer.echo(f"  and {len(folders) - 20} more (--json lists them)")


@app.command()
def explain(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a job waits, what is before it, and when it should be done."""
    from forebay.engine.queue.explain import explain as explained

    with opened(session(context), ledger, results, runs) as database:
        found = explained(database, job)
    if as_json:
        print_json(
            {
                "job": job,
                "state": found.job.state,
                "reasons": found.reasons,
                "place": found.place,
                "units_before": found.units_before,
                "starts_in_seconds": found.starts_in,
                "ends_in_seconds": found.ends_in,
            }
        )
        return
    for line in explanation(found):
        typer.echo(line)


@app.command()
def watch(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a job until it ends; Ctrl-C ends the watching, not the job."""
    from forebay.engine import SubmittedJob

    call = session(context)
    where = _existing(call, ledger, results, runs)
    watched(SubmittedJob(where, job), as_json=as_json)


@app.command()
def cancel(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Compute nothing more for a job, also what is running; what is published stays."""
    from forebay.engine.queue.jobs import Jobs

    with opened(session(context), ledger, results, runs) as database:
        Jobs(database).cancel(job, reason=f"cancelled by {_user()}")
    typer.echo(f"job {job} is cancelled; what is published stays")


@app.command()
def pause(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Begin no more units of a job until it is resumed."""
    from forebay.engine.queue.jobs import Jobs

    with opened(session(context), ledger, results, runs) as database:
        Jobs(database).pause(job)
    typer.echo(f"job {job} is paused; units that are being computed are still published")


@app.command()
def resume(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Go on with a job that was paused."""
    from forebay.engine.queue.jobs import Jobs

    with opened(session(context), ledger, results, runs) as database:
        Jobs(database).resume(job)
        state = Jobs(database).get(job).state
    typer.echo(f"job {job} is {state}")


@app.command()
def retry(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Try the dead letters of a job again, and go on with one that was cancelled."""
    from forebay.engine.queue.jobs import Jobs

    with opened(session(context), ledger, results, runs) as database:
        number = Jobs(database).retry(job)
        state = Jobs(database).get(job).state
    typer.echo(f"dead letters that are tried again: {number}; job {job} is {state}")


@app.command()
def prioritise(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    lane: LaneOption = None,
    priority: PriorityOption = None,
) -> None:
    """Put a job into another lane, or at another place in it."""
    from forebay.engine.queue.jobs import Jobs
    from forebay.engine.queue.lanes import Lane

    if lane is None and priority is None:
        raise OptionError("say what to change: --lane, --priority or both")
    with opened(session(context), ledger, results, runs) as database:
        jobs = Jobs(database)
        jobs.reprioritise(job, lane=Lane.of(lane) if lane else None, priority=priority)
        record = jobs.get(job)
    typer.echo(f"job {job} is in the lane {Lane(record.lane).label}, priority {record.priority}")


def submitted(
    call: Session,
    algorithm: str,
    runs: "Callable[[], list[Run]]",
    *,
    results: Path,
    ledger: Path | str,
    given: list[str] | None,
    label: list[str] | None,
    recall: bool = False,
    **options: Any,
) -> "SubmittedJob":
    """Submit a job for a service, once what it needs of archives was asked for."""
    from forebay import submit as submit_job

    chosen, values = bound(call, algorithm, given)
    labels, found = labels_of(label), runs()
    have_recalled(
        call,
        found,
        chosen,
        values,
        results=results,
        ledger=ledger,
        live=options.get("live", False),
        force=options.get("force", False),
        agreed=recall,
    )
    return submit_job(
        found,
        chosen,
        ledger=ledger,
        results=results,
        owner=_user(),
        labels=labels,
        **options,
        **values,
    )


def bound(
    call: Session, algorithm: str, given: list[str] | None
) -> "tuple[Algorithm, dict[str, Any]]":
    """Return an algorithm and its parameters, which are checked."""
    from forebay.engine import REGISTRY

    REGISTRY.load(call.settings.engine.algorithm_modules)
    chosen = REGISTRY.get(algorithm)
    values: dict[str, Any] = dict(parameters(given or []))
    chosen.bind(values)
    return chosen, values


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Return labels as they were given on the command line."""
    labels: dict[str, str] = {}
    for text in given or []:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise OptionError(f"-l {text!r} lacks a part: give it as -l NAME=VALUE")
        if name in labels:
            raise OptionError(f"-l {name} is given twice: leave one out")
        labels[name] = value
    return labels


@contextmanager
def opened(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> "Iterator[Database]":
    """Open a ledger that is there."""
    from forebay.engine.queue.database import Database

    with Database(_existing(call, ledger, results, runs), create=False) as database:
        yield database


def _existing(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> Path | str:
    where = call.ledger(ledger, results, runs)
    if isinstance(where, Path) and not where.is_file():
        raise LedgerNotFoundError(
            f"there is no ledger {where}: no job was submitted to it yet; choose another with "
            "--runs, --results or --ledger"
        )
    return where


def told(job: "SubmittedJob", *, as_json: bool) -> None:
    """Tell of a job that was submitted."""
    found = job.explain()
    if as_json:
        print_json({"job": job.number, "new": job.new, "state": found.job.state})
        return
    again = "" if job.new else " was submitted already and"
    typer.echo(f"job {job.number}{again} is {found.job.state}")
    for line in explanation(found)[1:]:
        typer.echo(f"  {line}")


def explanation(found: "Explanation") -> list[str]:
    """Return an explanation in lines."""
    lines = [f"it is {found.job.state}", *found.reasons]
    if found.place is not None and found.units_before:
        lines.append(f"served before it: {found.place - 1} jobs, {found.units_before} units")
    if found.starts_in:
        lines.append(f"it should start in {seconds(found.starts_in)}")
    if found.ends_in:
        lines.append(f"it should be done in {seconds(found.ends_in)}")
    return lines


def watched(job: "SubmittedJob", *, as_json: bool) -> None:
    """Watch a job to its end, and exit with what that tells."""
    from forebay.engine.queue.states import JobState, UnitState

    last: dict[str, Any] = {}

    with (
        _stopping() as stop,
        progress("units") as bars,
    ):
        task = bars.add_task(f"job {job.number}", total=None, note="")

        def show_progress(record: "JobRecord", done: "Progress") -> None:
            finished = done.count(UnitState.DONE, UnitState.DEAD, UnitState.CANCELLED)
            dead = done.count(UnitState.DEAD)
            note = record.state + (f", {dead} dead letters" if dead else "")
            bars.update(task, total=done.total or None, completed=finished, note=note)
            fields = as_fields(record, done)
            if as_json and fields != last:
                last.clear()
                last.update(fields)
                print_json(fields)

        record = job.wait(stop=stop, on_progress=show_progress)
    if not as_json:
        done = job.progress()
        typer.echo(
            f"job {job.number} is {record.state}: {done.count(UnitState.DONE)} of {done.total} "
            f"units are published, {done.count(UnitState.DEAD)} are dead letters"
        )
        for error in [*done.errors, *([record.error] if record.error else [])]:
            typer.echo(f"  {error}")
    if record.state != JobState.DONE:
        raise typer.Exit(ExitCode.INCOMPLETE)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    with stop_on_signals("the job goes on") as stop:
        yield stop


def as_fields(record: "JobRecord", done: "Progress") -> dict[str, Any]:
    """Return a job for machines."""
    from forebay.engine.queue.lanes import Lane

    return {
        "job": record.job,
        "state": record.state,
        "lane": Lane(record.lane).label,
        "priority": record.priority,
        "algorithm": record.algorithm,
        "version": record.version,
        "parameters": record.parameters,
        "owner": record.owner,
        "labels": record.labels,
        "runs": done.results,
        "planned": done.planned,
        "units": dict(done.units),
        "frames": dict(done.frames),
        "worked_seconds": done.seconds,
        "errors": done.errors,
        "error": record.error,
    }


def when(at: int | None) -> str:
    """Return a time for people, in the time zone of this machine."""
    if at is None:
        return "-"
    return datetime.datetime.fromtimestamp(at / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
