"""``forebay cluster reap``, ``load`` and ``simulate``: clusters that cost money."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.commands.completion import complete_clusters
from forebay.cli.commands.process import cluster_of
from forebay.cli.errors import OptionError
from forebay.cli.output import print_json, print_table, seconds, writing_output
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)

if TYPE_CHECKING:
    from forebay.cluster.aws.specification import AwsModel
    from forebay.cluster.burst.simulation import Outcome

_NameArgument = Annotated[
    str, typer.Argument(help="Name of a cluster on AWS.", autocompletion=complete_clusters)
]


def reap(
    context: typer.Context,
    name: _NameArgument,
    any_site: Annotated[
        bool,
        typer.Option(
            "--any-site", help="Also what other sites have started, whether they use it or not."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """End the machines of a cluster whose command is gone, and remove what else it has left."""
    from forebay.cluster.aws.reap import reap as reaped

    found = reaped(_on_aws(context, name), name, any_site=any_site, dry_run=dry_run)
    if as_json:
        for each in found:
            print_json(each)
        return
    if found:
        rows = [(each.machine, each.kind, each.began, each.start) for each in found]
        print_table(("machine", "what it is", "since", "start"), rows)
    with writing_output():
        verb = "would be ended" if dry_run else "ended"
        typer.echo(f"{len(found)} machines of {name} {verb}")


def load(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Print the work that a ledger has seen: a line of JSON for each unit, for 'simulate'."""
    from forebay.cluster.burst.load import LoadUnit, load_lines
    from forebay.engine.queue.database import Database
    from forebay.engine.queue.load import recorded_load

    call = session(context)
    with Database(call.ledger(ledger, results, runs), create=False) as database:
        units = [LoadUnit.model_validate(each) for each in recorded_load(database)]
    with writing_output():
        for line in load_lines(units):
            typer.echo(line)


def simulate(
    context: typer.Context,
    name: _NameArgument,
    load: Annotated[Path, typer.Argument(help="A load, as 'forebay cluster load' prints it.")],
    price_here: Annotated[
        float, typer.Option(min=0.0, help="What a thread-hour of the own cluster costs.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Run the burst rule of a cluster over a load, and show cost and latency with and without."""
    from dataclasses import replace

    from forebay.cluster.burst.load import read_load
    from forebay.cluster.burst.simulation import Site
    from forebay.cluster.burst.simulation import simulate as run

    specification = _on_aws(context, name)
    price = specification.cost_per_worker_hour
    if specification.burst is None or price is None:
        raise OptionError(
            f"the cluster {name} needs a table burst and cost_per_worker_hour to be simulated"
        )
    units = read_load(load)
    rules = specification.burst.rules(
        maximum_workers=specification.maximum_workers, budget=specification.budget_per_day
    )
    site = Site(
        threads=specification.burst.threads_here,
        price_there=price,
        threads_per_worker=specification.threads_per_worker,
        price_here=price_here,
    )
    outcomes = {
        "without": run(units, replace(site, burst=False), rules),
        "with": run(units, site, rules),
    }
    if as_json:
        print_json({which: _figures(each) for which, each in outcomes.items()})
        return
    rows = [
        (
            f"{which} burst",
            each.units_there,
            seconds(each.makespan),
            seconds(each.mean),
            seconds(each.worst),
            each.late,
            f"{each.cost:.2f}",
        )
        for which, each in outcomes.items()
    ]
    columns = ("", f"of {len(units)} there", "all done", "mean", "worst", "late", "cost")
    print_table(columns, rows)
    with writing_output():
        for at, decision in outcomes["with"].decisions:
            typer.echo(f"after {seconds(at)}: {decision.workers} workers, {decision.reason}")


def _figures(outcome: "Outcome") -> dict[str, Any]:
    return {
        "units": outcome.units,
        "units_there": outcome.units_there,
        "makespan": outcome.makespan,
        "mean": outcome.mean,
        "median": outcome.median,
        "worst": outcome.worst,
        "late": outcome.late,
        "cost": outcome.cost,
        "decisions": [
            {"at": at, "workers": each.workers, "reason": each.reason, "figures": each.figures}
            for at, each in outcome.decisions
        ],
    }


def _on_aws(context: typer.Context, name: str) -> "AwsModel":
    from forebay.cluster.aws.specification import AwsModel

    specification = cluster_of(session(context), name)
    if not isinstance(specification, AwsModel):
        raise OptionError(f"{name!r} is no cluster on AWS: only those cost by the hour here")
    return specification
