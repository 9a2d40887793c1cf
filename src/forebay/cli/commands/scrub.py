"""``forebay scrub``: read copies of runs through, and put right what is damaged."""

from typing import Annotated

import typer

from forebay.cli.commands.completion import complete_runs
from forebay.cli.errors import TierProblemError, VerificationError
from forebay.cli.output import print_json, size
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)
from forebay.cli.sizes import size_given
from forebay.cli.tiers import configured_tiers, found_as, opened_tiers


def scrub(
    context: typer.Context,
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Names or paths of runs; all in the catalogue if not given.",
            autocompletion=complete_runs,
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Most that is read in a second, such as '100 MB'.")
    ] = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every copy of runs through, and put right what is damaged from another copy.

    Ends with code 5 and names the frames where no copy is whole.
    """
    from forebay.tiering.caching.in_force import cache_in_force
    from forebay.tiering.scrub import scrub as read_through

    call = session(context)
    configured_tiers(call)
    if (cache := cache_in_force()) is not None:
        cache.sweep()
    limit = None if rate is None else size_given("--rate", rate)
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        chosen = [
            found for each in run or () for found in found_as(call, catalogue, each, runs, results)
        ]
        found = read_through(catalogue, tiers, chosen or catalogue.runs(), bytes_per_second=limit)
    if as_json:
        print_json(found)
    else:
        for line in found.put_right:
            typer.echo(f"put right: {line}")
        for line in found.unreachable:
            typer.echo(f"not read: {line}")
        for line in found.put_away:
            typer.echo(f"in an archive, only lengths compared: {line}")
        for line in found.lost:
            typer.echo(f"lost: {line}")
        typer.echo(f"{found.copies} copies, {size(found.bytes)} read")
    if found.lost:
        raise VerificationError(
            f"{len(found.lost)} objects are damaged and no copy has them whole: restore them from "
            "elsewhere"
        )
    if found.unreachable:
        raise TierProblemError(f"{len(found.unreachable)} copies could not be read: see above")
