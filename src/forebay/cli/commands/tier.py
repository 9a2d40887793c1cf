"""``forebay tier``: which tiers there are, and what lies in them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.errors import TierProblemError
from forebay.cli.output import print_json, print_table, size
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)
from forebay.cli.tiers import configured_tiers, opened_tiers, published_in

if TYPE_CHECKING:
    from forebay.tiering.specification import TierSpecification

app = typer.Typer(help="Tiers: where runs lie, and moving them.", no_args_is_help=True)


@app.command("list")
def list_tiers(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the tiers that are configured."""
    specifications = session(context).settings.tiers
    rows = [
        {
            "tier": name,
            "url": each.shown,
            "capacity": each.capacity,
            "low": each.low,
            "high": each.high,
            "bandwidth": each.bandwidth,
            "pack_bytes": each.pack_bytes,
            "storage_class": each.storage_class,
            "encryption": each.encryption,
            "lock_days": each.lock_days,
            "cost_per_gb_month": each.cost_per_gb_month,
            "cost_per_gb_read": each.cost_per_gb_read,
        }
        for name, each in specifications.items()
    ]
    if as_json:
        for row in rows:
            print_json(row)
        return
    if not rows:
        typer.echo("no tiers are configured: they are the tables [tiers.NAME] of forebay.toml")
        return
    print_table(
        ("tier", "url", "kept as", "capacity", "per GB and month", "per GB read"),
        [
            (
                row["tier"],
                row["url"],
                _kept_as(specifications[str(row["tier"])]),
                "any" if row["capacity"] is None else size(float(str(row["capacity"]))),
                row["cost_per_gb_month"],
                row["cost_per_gb_read"],
            )
            for row in rows
        ],
    )


def _kept_as(tier: "TierSpecification") -> str:
    """Return how objects are kept in a tier, as far as it says so."""
    locked = None if tier.lock_days is None else f"locked for {tier.lock_days} days"
    return ", ".join(each for each in (tier.storage_class, tier.encryption, locked) if each) or "-"


@app.command()
def check(context: typer.Context, as_json: JsonOption = False) -> None:
    """Put an object into each tier, read it back and delete it."""
    from forebay.tiering.storage.probing import probe

    probes = [probe(tier) for tier in configured_tiers(session(context))]
    for each in probes:
        if as_json:
            print_json(asdict(each))
        else:
            free = "" if each.free_bytes is None else f", {size(each.free_bytes)} free"
            typer.echo(f"{each.tier}: {each.problem or f'works{free}'}")
    if problems := [each.tier for each in probes if each.problem]:
        raise TierProblemError(f"{', '.join(problems)} cannot be used: see above")


@app.command()
def scan(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make the catalogue say what lies in the tiers.")
    ] = False,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the catalogue with what lies in the tiers."""
    from forebay.tiering.scan import scan as look_through

    call = session(context)
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        anew = repair and not catalogue.runs()
        volumes = published_in(catalogue, tiers)
        unknown = volumes.unknown()
        if repair:
            # What was replaced is given up first, so that nobody takes it for lost.
            volumes.take_in()
        found = look_through(catalogue, tiers, repair=repair)
        found.taken_in += unknown
        if repair:
            entered, passed_over = volumes.enter_found()
            found.taken_in += [f"{each}: entered in the ledger" for each in entered]
            found.passed_over += [*passed_over, *volumes.take_in()]
    if as_json:
        print_json(found)
    else:
        did = "taken in" if repair else "not in the catalogue"
        for what, lines in (
            (did, found.taken_in),
            ("not whole", found.not_whole),
            ("left over", found.left_over),
            ("passed over", found.passed_over),
        ):
            for line in lines:
                typer.echo(f"{what}: {line}")
        if found.agrees:
            typer.echo("the catalogue says what lies in the tiers")
        if anew and found.taken_in:
            typer.echo(
                "the catalogue is new: if another one was lost, its pins and holds went with it; "
                "set them again before policies are applied"
            )
    if found.not_whole:
        raise TierProblemError(
            f"{len(found.not_whole)} copies are not whole: move the runs there again, or restore "
            "what is named above"
        )
