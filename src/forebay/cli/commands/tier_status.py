"""``forebay tier status``: what lies where, what is moving, and what is kept where it is."""

from dataclasses import asdict
from typing import Annotated

import typer

from forebay.cli.cache import cache_fields, cache_line
from forebay.cli.moves import move_fields, move_line, when
from forebay.cli.outlook import (
    look_ahead,
    outlook_fields,
    outlook_rows,
    pace_fields,
    pace_line,
    unknown_lines,
)
from forebay.cli.output import print_json, print_table
from forebay.cli.pieces import piece_rows
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)
from forebay.cli.tiers import found_as, opened_tiers


def status(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(help="Only this run, or result.")] = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what lies where, what is moving, and what is kept where it is."""
    from forebay.tiering.caching.in_force import cache_in_force
    from forebay.tiering.catalogue.moves import Moves
    from forebay.tiering.catalogue.records import READABLE

    call = session(context)
    interval = call.settings.tiering.interval_seconds
    cache = cache_in_force()
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        known = {each.run_id: each for each in catalogue.runs()}
        if run is not None:
            known = {each.run_id: each for each in found_as(call, catalogue, run, runs, results)}
        moves = [each for each in Moves(catalogue.database).find() if each.run_id in known]
        filling, pace, unknown = look_ahead(call, catalogue.database, tiers)
        lies = {
            each: [shelf.tier for shelf in catalogue.shelves(each) if shelf.state in READABLE]
            for each in known
        }
        kept = [each for each in catalogue.protections() if each.run_id in known]
    if as_json:
        for tier in filling:
            print_json({**outlook_fields(tier), "unknown_runs": unknown.get(tier.tier, 0)})
        print_json(pace_fields(interval, pace))
        if cache is not None:
            print_json(cache_fields(cache))
        for each in known.values():
            fields = {"run": each.shown, "kind": each.kind, "bytes": each.bytes}
            print_json({**fields, "tiers": lies[each.run_id]})
        for move in moves:
            print_json(move_fields(move, known[move.run_id].shown))
        for protection in kept:
            print_json({**asdict(protection), "run": known[protection.run_id].shown})
        return
    print_table(
        ("tier", "used", "arriving", "of", "filling", "watermark in", "full in"),
        outlook_rows(filling),
    )
    for line in unknown_lines(unknown):
        typer.echo(line)
    typer.echo(pace_line(interval, pace))
    if cache is not None:
        typer.echo(cache_line(cache))
    print_table(
        ("run or result", "size", "lies in"),
        list(piece_rows(known.values(), lies, together=run is None)),
    )
    for move in moves:
        typer.echo(move_line(move, known[move.run_id].shown))
    for protection in kept:
        until = "" if protection.until is None else f" until {when(protection.until)}"
        where = "" if protection.tier is None else f" in {protection.tier}"
        typer.echo(
            f"{protection.kind}: {known[protection.run_id].shown}{where}{until}, "
            f"{protection.owner}: {protection.reason}"
        )
