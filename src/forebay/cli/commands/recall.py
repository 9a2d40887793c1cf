"""``forebay tier recall``: have objects of a run back from an archive, to be read."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.agreement import agree
from forebay.cli.errors import OptionError
from forebay.cli.output import print_json
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)
from forebay.cli.signals import stop_on_signals
from forebay.cli.tiers import RunArgument, found_as, opened_tiers

if TYPE_CHECKING:
    from forebay.acquisition.format.record import Extent
    from forebay.tiering.archive.recall import Progress, Recall

_RANGE = re.compile(r"(\d+):(\d+)")


def recall(
    context: typer.Context,
    run: RunArgument,
    frames: Annotated[
        str | None, typer.Option(help="Only the blocks that hold the frames A to B - 1, as 'A:B'.")
    ] = None,
    tier: Annotated[
        str | None, typer.Option(help="The archive; the first that has a copy if not given.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days for which they stay readable.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they can be read.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Hours after which waiting ends; the request stands.")
    ] = 72.0,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to what it costs.")] = False,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a run, or a result, that lies in an archive recalled, so that it can be read for some days.

    The cost is shown first. Asking again costs nothing: what was asked for already is only looked
    at.
    """
    from forebay.tiering.archive.copies import archived_copy, keys_of, recall_of
    from forebay.tiering.errors import MoveRefusedError

    call = session(context)
    wanted = None if frames is None else _extent(frames)
    recalls: list[tuple[str, str, Recall]] = []
    refused: list[MoveRefusedError] = []
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        for found in found_as(call, catalogue, run, runs, results):
            try:
                shelf = archived_copy(catalogue, tiers, found, tier=tier)
            except MoveRefusedError as error:
                # Of a result, some parts may be near.
                refused.append(error)
                continue
            keys = keys_of(catalogue, tiers, found, wanted)
            work = recall_of(catalogue, tiers, shelf, keys)
            if work is None:
                raise OptionError(f"the tier {shelf.tier!r} is no archive any more")
            recalls.append((found.name, shelf.tier, work))
    if not recalls:
        raise refused[0]
    for name, place, work in recalls:
        progress = work.look()
        if progress.away:
            count = f"{len(progress.away)} objects of {name}"
            agree(f"{count} are recalled from {place!r}, {work.told(progress.away)}", yes=yes)
        # Those that are near already stay so for as long, which costs nothing but the request.
        work.request(days=days)
    for name, place, work in recalls:
        progress = work.look()
        if wait and not progress.over:
            progress = _waited_for(work, timeout)
        _show(name, place, work, progress, as_json=as_json)


def _waited_for(work: "Recall", timeout: float) -> "Progress":
    pause = min(900.0, max(5.0, work.archive.terms.hours * 3600 / 50))
    with stop_on_signals("the recall goes on by itself") as stop:
        return work.wait(
            timeout=timeout * 3600, pause=pause, stop=stop, on_look=lambda each: _tell(each)
        )


def _show(name: str, tier: str, work: "Recall", progress: "Progress", *, as_json: bool) -> None:
    if as_json:
        print_json({"run": name, "tier": tier, **asdict(progress)})
    elif progress.over:
        typer.echo(f"{name} can be read: {len(progress.near)} objects are near")
    else:
        typer.echo(
            f"{name} was asked for: {len(progress.near)} objects are near, and "
            f"{len(progress.coming) + len(progress.away)} come in about "
            f"{work.archive.terms.hours:.3g} hours"
        )


def _tell(progress: "Progress") -> None:
    total = len(progress.near) + len(progress.coming) + len(progress.away)
    typer.echo(f"{len(progress.near)} of {total} objects are near", err=True)


def _extent(given: str) -> "Extent":
    from forebay.acquisition.format.record import Extent

    found = _RANGE.fullmatch(given)
    if found is None or int(found[1]) >= int(found[2]):
        raise OptionError(
            f"--frames {given!r} is no range: give the first frame and the one "
            "after the last, such as 0:100"
        )
    return Extent(int(found[1]), int(found[2]))
