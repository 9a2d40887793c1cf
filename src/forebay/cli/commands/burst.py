"""``forebay cluster reap``, ``load`` and ``simulate``: clusters that cost money."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.commands.completion import complete_clusters
from forebay.cli.commands.ledgers import opened
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
    from forebay.cluster.burst.load import LoadUnit
    from forebay.cluster.burst.simulation import Outcome, Own
    from forebay.cluster.paid import PaidModel

_NameArgument = Annotated[
    str,
    typer.Argument(
        help="Name of a cluster on AWS or Kubernetes.", autocompletion=complete_clusters
    ),
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
    """End the machines or pods of a cluster whose command is gone, and remove what else is left."""
    found = _paid(context, name).reap(name, any_site=any_site, dry_run=dry_run)
    if as_json:
        for each in found:
            print_json(each)
        return
    if found:
        rows = [(each.machine, each.kind, each.began, each.start) for each in found]
        print_table(("machine or resource", "what it is", "since", "start"), rows)
    with writing_output():
        verb = "would be ended" if dry_run else "ended"
        typer.echo(f"{len(found)} orphans of {name} {verb}")


def load(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,  # noqa: ARG001 (it is JSON in any case)
) -> None:
    """Print the work that a ledger has seen: a line of JSON for each unit, for 'simulate'."""
    from forebay.cluster.burst.load import load_lines

    units = _recorded(context, runs, results, ledger)
    with writing_output():
        for line in load_lines(units):
            typer.echo(line)


def simulate(
    context: typer.Context,
    name: _NameArgument,
    load: Annotated[
        Path | None,
        typer.Argument(
            help="A load, as 'forebay cluster load' prints it; the ledger's own if not given."
        ),
    ] = None,
    price_here: Annotated[
        float, typer.Option(min=0.0, help="What a thread-hour of the own cluster costs.")
    ] = 0.0,
    recorded: Annotated[
        bool,
        typer.Option(
            "--recorded",
            help="With the own threads that the cluster's decisions tell of, not those of the "
            "settings; and with what really came.",
        ),
    ] = False,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the burst rule of a cluster over a load, and show cost and latency with and without."""
    from dataclasses import replace

    from forebay.cluster.burst.history import as_it_was
    from forebay.cluster.burst.load import lying_there, read_load
    from forebay.cluster.burst.simulation import Site
    from forebay.cluster.burst.simulation import simulate as run

    specification = _paid(context, name)
    price = specification.cost_per_worker_hour
    if specification.burst is None or price is None:
        raise OptionError(
            f"the cluster {name} needs a table burst and cost_per_worker_hour to be simulated"
        )
    units = _recorded(context, runs, results, ledger) if load is None else read_load(load)
    if not units:
        raise OptionError("there is no work in that ledger: name a load, or another ledger")
    units = lying_there(units, specification.burst.data_there)
    rules = specification.burst.rules(
        maximum_workers=specification.maximum_workers, budget=specification.budget_per_day
    )
    site = Site(
        threads=specification.burst.threads_here,
        own=_own(specification, name, units) if recorded else (),
        price_there=price,
        price_besides=specification.cost_besides_per_hour,
        threads_per_worker=specification.threads_per_worker,
        look_seconds=specification.look_seconds,
        price_here=price_here,
        lanes=specification.burst.lanes,
    )
    outcomes = {
        "without": run(units, replace(site, burst=False), rules),
        "with": run(units, site, rules),
    }
    if recorded:
        was = as_it_was(units, specification.charges(name), site)
        outcomes = ({} if was is None else {"was": was}) | outcomes
    if as_json:
        print_json({which: _figures(each) for which, each in outcomes.items()})
        return
    rows = [
        (
            "as it was" if which == "was" else f"{which} burst",
            "-" if each.units_there is None else each.units_there,
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


def _recorded(
    context: typer.Context, runs: Path | None, results: Path | None, ledger: str | None
) -> "list[LoadUnit]":
    from forebay.cluster.burst.load import LoadUnit
    from forebay.engine.queue.load import recorded_load

    with opened(session(context), ledger, results, runs) as database:
        return [LoadUnit.model_validate(each) for each in recorded_load(database)]


def _own(specification: "PaidModel", name: str, units: "list[LoadUnit]") -> "tuple[Own, ...]":
    """Return how the own cluster stood while a load was there."""
    from forebay.cluster.burst.history import own_of
    from forebay.cluster.decisions import decisions_path, read_decisions

    path = decisions_path(specification.place, name)
    own = own_of(read_decisions(path))
    last = max(each.at if each.done is None else each.done for each in units)
    if not any(units[0].at <= each.at <= last for each in own):
        raise OptionError(
            f"{path} tells of no decision of the burst rule while that load was there: leave "
            "--recorded out"
        )
    return own


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


def _paid(context: typer.Context, name: str) -> "PaidModel":
    from forebay.cluster.paid import PaidModel

    specification = cluster_of(session(context), name)
    if not isinstance(specification, PaidModel):
        raise OptionError(
            f"{name!r} is no cluster on AWS or Kubernetes: only those cost by the hour here"
        )
    return specification
