"""``forebay jobs``: submit jobs to a service, watch them, change them."""

from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.awaiting import opened_once_made, opened_run
from forebay.cli.commands.completion import complete_clusters, complete_runs
from forebay.cli.commands.job_options import (
    AlgorithmArgument,
    DeadlineOption,
    JobArgument,
    LabelOption,
    LaneOption,
    ParameterOption,
    PriorityOption,
    WaitOption,
)
from forebay.cli.commands.ledgers import existing, opened
from forebay.cli.commands.standing import as_fields, explanation, tell_of_kept, told, watched, when
from forebay.cli.commands.steering import cancel, pause, prioritise, resume, retry
from forebay.cli.commands.submitting import labels_of, submitted
from forebay.cli.deadlines import deadline_given
from forebay.cli.errors import OptionError
from forebay.cli.output import print_facts, print_json, print_table, seconds
from forebay.cli.recalling import (
    RecallAheadOption,
    RecallCostOption,
    RecallOption,
    agreement,
)
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)
from forebay.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

    from forebay.acquisition import Run

app = typer.Typer(help="Jobs for a service: submit, watch, change.", no_args_is_help=True)


@app.command()
def submit(
    context: typer.Context,
    algorithm: AlgorithmArgument,
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
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
    deadline: DeadlineOption = None,
    label: LabelOption = None,
    after: Annotated[
        list[int] | None, typer.Option(help="A job that must be done before; may be repeated.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Take each block as it is committed; wait for the run if it is not there yet.",
        ),
    ] = False,
    keep_up: Annotated[
        int,
        typer.Option(
            min=1,
            help="With --follow: while late, take every Nth block at once, and the others when "
            "there is time; 1 for all in their order.",
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
        str | None, typer.Option(help="Submitting the same again with this key finds the same job.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The only cluster that may compute it; any if not given.",
            autocompletion=complete_clusters,
        ),
    ] = None,
    recall: RecallOption = False,
    recall_cost: RecallCostOption = None,
    recall_ahead: RecallAheadOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit ALGORITHM over one RUN or several, for a service to work on."""
    if not follow and (keep_up != 1 or reduce_at is not None):
        raise OptionError("--keep-up and --reduce-at are for jobs that follow a run: give --follow")
    call = session(context)
    until = deadline_given(deadline)
    locations = [call.location(each, runs) for each in run]
    job = submitted(
        call,
        algorithm,
        lambda: _opened(locations, wait=follow),
        results=call.shared_results(results, runs),
        ledger=call.ledger(ledger, results, runs),
        given=parameter,
        label=label,
        recall=agreement(recall, recall_cost, recall_ahead),
        lane=lane or ("realtime" if follow else "reprocess"),
        priority=priority or 0,
        deadline=until,
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
    tell_of_kept(job, lane=lane, priority=priority, deadline=until)
    if wait:
        watched(job, as_json=as_json)


def _opened(locations: "list[str | Path]", *, wait: bool) -> "list[Run]":
    """Open runs; with `wait`, once they are there."""
    if not wait:
        return [opened_run(each) for each in locations]
    with stop_on_signals("nothing is submitted") as stop:
        return [opened_once_made(each, stop) for each in locations]


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
        found = jobs.find(states=state or (), labels=labels_of(label), owner=owner, limit=limit)
        if as_json:
            standing = jobs.progresses([record.job for record in found])
            for record in found:
                print_json(as_fields(record, standing[record.job]))
            return
        tallies = jobs.tallies([record.job for record in found])
        for record in found:
            done = tallies[record.job]
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
        ("deadline", when(record.deadline)),
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

    call = session(context)
    with opened(call, ledger, results, runs) as database:
        found = explained(database, job, ageing_seconds=call.settings.engine.ageing_seconds)
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
                "deadline_in_seconds": found.deadline_in,
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
    where = existing(call, ledger, results, runs)
    watched(SubmittedJob(where, job), as_json=as_json)


for each in (cancel, pause, resume, retry, prioritise):
    app.command()(each)
