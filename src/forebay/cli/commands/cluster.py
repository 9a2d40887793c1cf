"""``forebay cluster``: the clusters of the settings, and those that run."""

from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.completion import complete_clusters
from forebay.cli.commands.process import cluster_of
from forebay.cli.errors import OptionError
from forebay.cli.output import print_facts, print_json, print_table, writing_output
from forebay.cli.session import JsonOption, Session, session

if TYPE_CHECKING:
    from forebay.cluster import ClusterSpecification, Plan

app = typer.Typer(help="Where work is done: look at clusters, start, stop and size them.")

NameArgument = Annotated[
    str, typer.Argument(help="Name of a cluster in the settings.", autocompletion=complete_clusters)
]


@app.command("list")
def list_clusters(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the clusters of the settings."""
    call = session(context)
    default = call.settings.engine.cluster
    described = [
        {
            "name": name,
            "kind": each.kind,
            "default": name == default,
            "cost_per_worker_hour": each.cost_per_worker_hour,
        }
        for name, each in call.settings.clusters.items()
    ]
    if as_json:
        for one in described:
            print_json(one)
        return
    rows = [
        (
            one["name"],
            one["kind"],
            "-" if one["cost_per_worker_hour"] is None else one["cost_per_worker_hour"],
            "the default" if one["default"] else "",
        )
        for one in described
    ]
    print_table(("cluster", "kind", "cost of a worker-hour", ""), rows)


@app.command()
def check(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Say what starting a cluster would ask for, and what is missing; nothing is started."""
    plan = _specification(session(context), name).plan(name)
    if as_json:
        print_json(
            {
                "name": name,
                "facts": dict(plan.facts),
                "submitted": plan.submitted,
                "cost_per_hour": plan.cost_per_hour,
                "problems": plan.problems,
            }
        )
    else:
        _print(name, plan)
    if plan.problems:
        from forebay.cluster import ClusterError

        number = len(plan.problems)
        raise ClusterError(
            f"the cluster {name} cannot be started: {plan.problems[0]}"
            + (f" (and {number - 1} more, above)" if number > 1 else "")
        )


def _specification(call: Session, name: str) -> "ClusterSpecification":
    specification = cluster_of(call, name)
    if specification is None:
        raise OptionError(f"{name!r} is no cluster: it means the process that runs a job")
    return specification


def _print(name: str, plan: "Plan") -> None:
    facts = list(plan.facts)
    cost = plan.cost_per_hour
    if cost is not None:
        fewest, most = cost
        shown = f"{most:g}" if fewest == most else f"{fewest:g} to {most:g}"
        facts.append(("cost per hour", shown))
    print_facts(name, facts)
    with writing_output():
        if plan.submitted:
            typer.echo(f"\n{plan.submitted.rstrip()}")
        for problem in plan.problems:
            typer.echo(f"missing: {problem}")
