"""``forebay tier costs``: what runs cost where they lie, and what they would cost by policies."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.errors import OptionError
from forebay.cli.output import print_json, print_table, size
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    Session,
    SharedResultsOption,
    session,
)
from forebay.cli.sizes import size_given
from forebay.cli.tiers import configured_tiers, opened_catalogue

if TYPE_CHECKING:
    from forebay.tiering.simulation.course import Course
    from forebay.tiering.simulation.laboratory import Laboratory
    from forebay.tiering.specification import PolicySpecification

_MOST_RUNS = 200_000


def costs(
    context: typer.Context,
    instruments: Annotated[
        int | None,
        typer.Option(
            min=1, help="Simulate a laboratory with so many instruments, policy by policy."
        ),
    ] = None,
    years: Annotated[float, typer.Option(min=0.05, max=50, help="For so many years.")] = 2.0,
    rate: Annotated[
        str, typer.Option(help="What each instrument records in a day, such as '200 GB'.")
    ] = "100 GB",
    step: Annotated[
        float, typer.Option(min=0.5, max=90, help="Days from one decision to the next.")
    ] = 7.0,
    read_days: Annotated[
        float, typer.Option(min=0, help="Days for which a run is read after it was closed.")
    ] = 30.0,
    read_again: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the older runs that is read in a month.")
    ] = 0.0,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the simulation into this file, as PNG.")
    ] = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what runs cost in each tier; or simulate what they would cost by policy, over years.

    The simulation goes by the policies and tiers of the configuration, and reads no run. It tells
    what it costs if nothing is moved, by each policy alone, and by all of them.
    """
    call = session(context)
    if instruments is None:
        if picture is not None:
            raise OptionError("--picture draws a simulation: give --instruments")
        _print_now(_costs_now(call, ledger, results, runs), as_json=as_json)
        return
    from forebay.tiering.simulation.laboratory import Laboratory

    laboratory = Laboratory(
        instruments=instruments,
        bytes_per_day=size_given("--rate", rate),
        years=years,
        step_days=step,
        read_days=read_days,
        read_again=read_again,
    )
    if (count := laboratory.steps * instruments) > _MOST_RUNS:
        raise OptionError(
            f"that makes {count} runs, and {_MOST_RUNS} are the most: give a longer --step"
        )
    courses = _simulated(call, laboratory)
    _print_courses(courses, as_json=as_json)
    if picture is not None:
        from forebay.cli.cost_picture import draw_costs

        draw_costs(picture, courses)
        if not as_json:
            typer.echo(f"drawn in {picture}")


def _costs_now(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> list[dict[str, Any]]:
    from forebay.tiering.catalogue.records import READABLE
    from forebay.tiering.policy import read_cost

    tiers = configured_tiers(call)
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        used = catalogue.used()
        known = {each.run_id: each for each in catalogue.runs()}
        to_read = dict.fromkeys((tier.name for tier in tiers), 0.0)
        for shelf in catalogue.shelves():
            # A tier may have been taken out of the configuration.
            if shelf.state in READABLE and shelf.tier in to_read:
                kept_in = tiers[shelf.tier].specification
                to_read[shelf.tier] += read_cost(known[shelf.run_id], kept_in)
    return [
        {
            "tier": tier.name,
            "bytes": used.get(tier.name, 0),
            "cost_per_month": used.get(tier.name, 0) / 1e9 * tier.specification.cost_per_gb_month,
            "cost_to_read": to_read[tier.name],
        }
        for tier in tiers
    ]


def _print_now(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        ("tier", "used", "per month", "to read all"),
        [
            (
                row["tier"],
                size(row["bytes"]),
                f"{row['cost_per_month']:.2f}",
                f"{row['cost_to_read']:.2f}",
            )
            for row in rows
        ],
    )
    typer.echo(f"in all {sum(row['cost_per_month'] for row in rows):.2f} in each month")


def _simulated(call: Session, laboratory: "Laboratory") -> "list[Course]":
    from forebay.tiering.simulation.course import simulate

    configured_tiers(call)
    tiering = call.settings.tiering
    sets: dict[str, Sequence[PolicySpecification]] = {"nothing moves": ()}
    if len(tiering.policies) > 1:
        sets |= {f"{each.name!r} alone": (each,) for each in tiering.policies}
    if tiering.policies:
        sets["as configured"] = tiering.policies
    return [
        simulate(name, chosen, call.settings.tiers, laboratory, min_copies=tiering.min_copies)
        for name, chosen in sets.items()
    ]


def _print_courses(courses: "Sequence[Course]", *, as_json: bool) -> None:
    if as_json:
        for each in courses:
            print_json(
                {
                    "policies": each.policies,
                    "cost": each.cost,
                    "storing": each.storing,
                    "reading": each.reading,
                    "moved_bytes": each.moved_bytes,
                    "full_days": each.full_days,
                    "points": each.points,
                }
            )
        return
    names = list(courses[0].points[-1].bytes)
    print_table(
        ("policies", "in all", "storing", "reading", "last month", *names, "days full"),
        [
            (
                each.policies,
                f"{each.cost:.2f}",
                f"{each.storing:.2f}",
                f"{each.reading:.2f}",
                f"{each.points[-1].cost_per_month:.2f}",
                *(size(each.points[-1].bytes[name]) for name in names),
                ", ".join(f"{name}: {days:.0f}" for name, days in each.full_days.items()) or "none",
            )
            for each in courses
        ],
    )
