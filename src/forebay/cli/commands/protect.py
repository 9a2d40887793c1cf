"""``forebay tier pin``, ``unpin``, ``hold`` and ``release``: what is kept where it is."""

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.output import print_json
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    Session,
    SharedResultsOption,
    session,
    user_name,
)
from forebay.cli.tiers import (
    RunArgument,
    configured_tiers,
    found_as,
    found_to_move,
    opened_catalogue,
)

ReasonOption = Annotated[str, typer.Option("--reason", help="What for; it is shown to others.")]


def pin(
    context: typer.Context,
    run: RunArgument,
    tier: Annotated[str, typer.Option("--tier", help="The tier that it stays in.")],
    reason: ReasonOption = "",
    days: Annotated[
        float | None, typer.Option(min=0, help="Days after which the pin ends by itself.")
    ] = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a run's copy in a tier."""
    from forebay.tiering.errors import MoveRefusedError

    call = session(context)
    _ = configured_tiers(call)[tier]
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        seconds = None if days is None else days * 86_400
        refused: list[MoveRefusedError] = []
        known = found_as(call, catalogue, run, runs, results)
        for found in known:
            try:
                catalogue.protect(
                    found.run_id,
                    kind="pin",
                    tier=tier,
                    owner=user_name(),
                    reason=reason,
                    seconds=seconds,
                )
            except MoveRefusedError as error:
                # A part of it may lie elsewhere by now.
                refused.append(error)
        if len(refused) == len(known):
            raise refused[0]
    if as_json:
        print_json({"run": found.name, "pinned": tier, "reason": reason, "seconds": seconds})
    else:
        typer.echo(f"{found.name} stays in {tier}")


def unpin(
    context: typer.Context,
    run: RunArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """End all pins of a run."""
    _end(session(context), run, "pin", ledger, results, runs, as_json=as_json)


def hold(
    context: typer.Context,
    run: RunArgument,
    reason: ReasonOption,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep every copy of a run until the hold is ended, whatever policies say."""
    call = session(context)
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        for found in found_to_move(call, catalogue, run, runs, results):
            catalogue.protect(
                found.run_id, kind="hold", tier=None, owner=user_name(), reason=reason, seconds=None
            )
    if as_json:
        print_json({"run": found.name, "held": True, "reason": reason})
    else:
        typer.echo(f"no copy of {found.name} is deleted until the hold is ended")


def release(
    context: typer.Context,
    run: RunArgument,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """End all holds on a run."""
    _end(session(context), run, "hold", ledger, results, runs, as_json=as_json)


def _end(
    call: Session,
    run: str,
    kind: str,
    ledger: str | None,
    results: Path | None,
    runs: Path | None,
    *,
    as_json: bool,
) -> None:
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        known = found_as(call, catalogue, run, runs, results)
        count = sum(catalogue.unprotect(each.run_id, kind=kind) for each in known)
    if as_json:
        print_json({"run": known[0].name, "kind": kind, "ended": count})
    else:
        typer.echo(f"{kind}s of {known[0].name} that are ended: {count}")
