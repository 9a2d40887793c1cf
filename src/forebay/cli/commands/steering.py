"""``forebay jobs cancel|pause|resume|retry|prioritise``: changing jobs."""

import typer

from forebay.cli.commands.job_options import (
    DeadlineOption,
    JobArgument,
    LaneOption,
    PriorityOption,
)
from forebay.cli.commands.ledgers import opened
from forebay.cli.commands.standing import when
from forebay.cli.deadlines import deadline_given
from forebay.cli.errors import OptionError
from forebay.cli.session import LedgerOption, RunsOption, SharedResultsOption, session, user


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
        Jobs(database).cancel(job, reason=f"cancelled by {user()}")
    typer.echo(f"job {job} was cancelled; what is published stays")


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
    typer.echo(f"job {job} is paused; units already being computed will still be published")


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
        told = Jobs(database).get(job).told
    typer.echo(f"job {job} {told}")


def retry(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Try the dead letters of a job again, and go on with one that was cancelled."""
    from forebay.engine.queue.jobs import Jobs
    from forebay.engine.queue.states import OPEN_UNITS
    from forebay.engine.wording import counted

    with opened(session(context), ledger, results, runs) as database:
        jobs = Jobs(database)
        number = jobs.retry(job)
        told, left = jobs.get(job).told, jobs.tallies([job])[job].count(*OPEN_UNITS)
    more = f", with {counted(left, 'unit')} to compute" if left else ""
    typer.echo(f"dead letters to be tried again: {number}; job {job} {told}{more}")


def prioritise(
    context: typer.Context,
    job: JobArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    lane: LaneOption = None,
    priority: PriorityOption = None,
    deadline: DeadlineOption = None,
) -> None:
    """Put a job into another lane, or at another place in it."""
    from forebay.engine.queue.jobs import Jobs
    from forebay.engine.queue.lanes import Lane

    if lane is None and priority is None and deadline is None:
        raise OptionError("say what to change: --lane, --priority or --deadline")
    until = deadline_given(deadline)
    with opened(session(context), ledger, results, runs) as database:
        jobs = Jobs(database)
        chosen = Lane.of(lane) if lane else None
        jobs.reprioritise(job, lane=chosen, priority=priority, deadline=until)
        record = jobs.get(job)
    by = "" if record.deadline is None else f", to be done by {when(record.deadline)}"
    typer.echo(
        f"job {job} is in the lane {Lane(record.lane).label}, priority {record.priority}{by}"
    )
