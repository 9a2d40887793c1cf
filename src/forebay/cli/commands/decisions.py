"""``forebay cluster decisions``: what was decided about a cluster, and what it comes from."""

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.cluster import NameArgument
from forebay.cli.commands.process import cluster_of
from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, session

if TYPE_CHECKING:
    from forebay.cluster import ClusterSpecification
    from forebay.cluster.burst.rule import BurstRules


def decisions(
    context: typer.Context,
    name: NameArgument,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest ones.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the last decisions about a cluster's workers, and what the burst rule would say now.

    JSON has the figures that each comes from.
    """
    from forebay.cluster.decisions import decisions_path, read_decisions

    specification = cluster_of(session(context), name)
    place = None if specification is None else specification.place
    found = deque(read_decisions(decisions_path(place, name)), maxlen=last)
    if as_json:
        for each in found:
            print_json(each.model_dump(mode="json"))
        return
    if not found:
        typer.echo(f"no decision about {name} was written down yet")
        return
    rules = _rules_of(specification)
    rows = []
    for each in found:
        again = None if rules is None else each.again(rules)
        rows.append(
            (
                datetime.fromtimestamp(each.at, UTC)
                .isoformat(" ", "seconds")
                .removesuffix("+00:00"),
                each.event,
                "-" if each.workers is None else each.workers,
                f"{each.change:+d}" if each.change else "",
                each.reason,
                "" if again is None or again.workers == each.workers else again.workers,
            )
        )
    print_table(("when, in UTC", "decision", "workers", "change", "why", "as set now"), rows)


def _rules_of(specification: "ClusterSpecification | None") -> "BurstRules | None":
    """Return the bounds of the burst rule as they stand in the settings; None where there are none."""
    from forebay.cluster.paid import PaidModel

    if not isinstance(specification, PaidModel) or specification.burst is None:
        return None
    return specification.burst.rules(
        maximum_workers=specification.maximum_workers, budget=specification.budget_per_day
    )
