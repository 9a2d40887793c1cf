"""``forebay reprocess``: an algorithm over many runs, chosen by what they are."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.awaiting import opened_run
from forebay.cli.commands.completion import complete_clusters
from forebay.cli.commands.job_options import (
    AlgorithmArgument,
    DeadlineOption,
    LabelOption,
    LaneOption,
    ParameterOption,
    PriorityOption,
    WaitOption,
)
from forebay.cli.commands.process import JobProgress, anything_left, cluster_client
from forebay.cli.commands.standing import tell_of_kept, told, watched
from forebay.cli.commands.submitting import bound, submitted
from forebay.cli.deadlines import deadline_given
from forebay.cli.errors import OptionError
from forebay.cli.output import print_json, print_table, progress, size
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
    Session,
    SharedResultsOption,
    session,
    user,
)
from forebay.cli.signals import stop_on_signals
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from forebay.acquisition import Run
    from forebay.engine import RecallAgreement, Report


def reprocess(
    context: typer.Context,
    algorithm: AlgorithmArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    parameter: ParameterOption = None,
    name: Annotated[
        str, typer.Option(help="Only runs with such a name; * and ? stand for any characters.")
    ] = "*",
    since: Annotated[
        datetime.datetime | None,
        typer.Option(help="Only runs whose first frame was taken then or later (UTC)."),
    ] = None,
    before: Annotated[
        datetime.datetime | None,
        typer.Option(help="Only runs whose first frame was taken before (UTC)."),
    ] = None,
    lane: LaneOption = None,
    priority: PriorityOption = None,
    deadline: DeadlineOption = None,
    label: LabelOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute also what is done already.")
    ] = False,
    failures_allowed: Annotated[
        int | None, typer.Option(help="Dead letters after which it is given up; any if not given.")
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Compute now, from here, without a service.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --here: name of a cluster in the settings, or 'none'.",
            autocompletion=complete_clusters,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which runs it would go over.")
    ] = False,
    recall: RecallOption = False,
    recall_cost: RecallCostOption = None,
    recall_ahead: RecallAheadOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run ALGORITHM over all runs in a folder, or those that the options choose.

    Units that are done already are left out, so that it can be stopped and called again at will.
    """
    call = session(context)
    for_service = {
        "--lane": lane,
        "--priority": priority,
        "--deadline": deadline,
        "--label": label,
        "--failures-allowed": failures_allowed,
        "--wait": wait or None,
    }
    _refuse(for_service if here else {"--cluster": cluster}, here=here)
    bound(call, algorithm, parameter)
    agreed = agreement(recall, recall_cost, recall_ahead)
    chosen, growing, unreadable = _choose(call.runs(runs), name, since, before)
    for path in growing:
        typer.echo(f"left out: {path}: it is not closed yet", err=True)
    for path, error in unreadable:
        typer.echo(f"left out: {path}: {error}", err=True)
    if not chosen:
        raise OptionError(
            f"no closed run in {call.runs(runs)} fits: look with 'forebay runs list', or choose "
            "others with --runs, --name, --since and --before"
        )
    if dry_run:
        _print_runs(chosen, as_json=as_json)
        return
    where = call.shared_results(results, runs)
    entered = call.ledger(ledger, results, runs)
    if here:
        _here(call, algorithm, chosen, where, entered, parameter, cluster, force, agreed, as_json)
        _tell_of_unreadable(unreadable)
        return
    until = deadline_given(deadline)
    job = submitted(
        call,
        algorithm,
        lambda: chosen,
        results=where,
        ledger=entered,
        given=parameter,
        label=label,
        recall=agreed,
        lane=lane or "reprocess",
        priority=priority or 0,
        deadline=until,
        force=force,
        failures_allowed=failures_allowed,
    )
    told(job, as_json=as_json)
    tell_of_kept(job, lane=lane, priority=priority, deadline=until)
    if wait:
        watched(job, as_json=as_json)
    _tell_of_unreadable(unreadable)


def _tell_of_unreadable(runs: "list[tuple[Path, str]]") -> None:
    """End with the code of what is incomplete if there were such runs: they were told of."""
    if runs:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _refuse(options: dict[str, Any], *, here: bool) -> None:
    """Refuse options that would do nothing."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        only = "is for a service: leave it out, or --here" if here else "is for --here: add that"
        raise OptionError(f"{given[0]} {only}")


def _choose(
    folder: Path, name: str, since: datetime.datetime | None, before: datetime.datetime | None
) -> "tuple[list[Run], list[Path], list[tuple[Path, str]]]":
    """Return the closed runs that fit, those that still grow, and those that cannot be read."""
    import fnmatch

    from forebay import find_runs
    from forebay.errors import ForebayError

    low, high = (_nanoseconds(each) for each in (since, before))
    runs: list[Run] = []
    growing: list[Path] = []
    unreadable: list[tuple[Path, str]] = []
    for path in find_runs(folder):
        if not fnmatch.fnmatch(str(path.relative_to(folder)), name):
            continue
        try:
            run = opened_run(path)
        except ForebayError as error:
            unreadable.append((path, str(error)))
            continue
        if not run.closed:
            growing.append(path)
            continue
        taken = run.blocks[0].timestamps[0] if run.blocks else None
        early = low is not None and (taken is None or taken < low)
        late = high is not None and (taken is None or taken >= high)
        if not early and not late:
            runs.append(run)
    return runs, growing, unreadable


def _nanoseconds(at: datetime.datetime | None) -> int | None:
    if at is None:
        return None
    seconds = at.replace(tzinfo=at.tzinfo or datetime.UTC).timestamp()
    return round(seconds * 10**6) * 1000


def _print_runs(runs: "list[Run]", *, as_json: bool) -> None:
    rows = []
    for run in runs:
        stored = run.history.blocks.stored_bytes
        if as_json:
            print_json({"run": run.name, "frames": run.history.frames, "bytes": stored})
        else:
            rows.append([run.name, run.history.frames, len(run.blocks), size(stored)])
    if not as_json:
        print_table(["run", "frames", "blocks", "size"], rows)


def _here(
    call: Session,
    algorithm: str,
    runs: "list[Run]",
    results: Path,
    ledger: Path | str,
    given: list[str] | None,
    cluster: str | None,
    force: bool,
    recall: "RecallAgreement | None",
    as_json: bool,
) -> None:
    from forebay import reprocess as compute

    chosen, values = bound(call, algorithm, given)
    what = f"{chosen.name} over {len(runs)} runs"
    frames = sum(run.history.frames for run in runs)
    needed = force or anything_left(runs, chosen, values, results, ledger)
    with (
        stop_on_signals("what is being computed is still published") as stop,
        cluster_client(call, cluster, needed=needed) as client,
        progress("frames") as bars,
    ):
        report = compute(
            runs,
            chosen,
            client=client,
            results=results,
            ledger=ledger,
            force=force,
            stop=stop,
            on_event=JobProgress(bars, what, as_json=as_json, total=frames),
            units_in_flight_per_worker=call.settings.engine.units_in_flight_per_worker,
            recall=recall,
            owner=user(),
            **values,
        )
    _print_report(report, as_json=as_json)
    if not report.complete:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _print_report(report: "Report", *, as_json: bool) -> None:
    from forebay.engine.queue.states import UnitState

    done, total = report.progress.count(UnitState.DONE), report.progress.total
    if as_json:
        print_json(
            {
                "event": "done",
                "job": report.job,
                "complete": report.complete,
                "computed": report.computed,
                "units": dict(report.progress.units),
                "frames": dict(report.progress.frames),
                "worked_seconds": report.progress.seconds,
                "errors": report.progress.errors,
                "dead": [
                    {"unit": each.unit, "run": each.target.job.run_name, "error": each.error}
                    for each in report.dead
                ],
                "results": report.results,
            }
        )
        return
    typer.echo(
        f"{done} of {total} units are published, {report.computed} of them now; runs: "
        f"{report.progress.results}"
    )
    # A run that is gone has the same said of each of its units.
    alike: dict[tuple[str, str], list[str]] = {}
    for letter in report.dead:
        alike.setdefault((letter.target.job.run_name, letter.error), []).append(letter.label)
    for (run, error), labels in sorted(alike.items()):
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        typer.echo(f"missing: {run} {min(labels)}{more}: {error}")
    for error in report.progress.errors:
        typer.echo(f"missing: {error}")
