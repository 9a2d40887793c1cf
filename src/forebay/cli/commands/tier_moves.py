"""``forebay tier move``, ``cancel``, ``plan`` and ``apply``: moving runs, by hand and by policy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.agreement import agree
from forebay.cli.errors import OptionError, TierProblemError
from forebay.cli.moves import move_fields, move_line
from forebay.cli.output import print_json, print_table, seconds, size
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    Session,
    SharedResultsOption,
    session,
    user_name,
)
from forebay.cli.signals import stop_on_signals
from forebay.cli.tiers import (
    RunArgument,
    configured_tiers,
    found_to_move,
    not_there,
    opened_catalogue,
    opened_tiers,
    published_in,
    take_in_all,
)

if TYPE_CHECKING:
    from forebay.tiering.catalogue.catalogue import Catalogue
    from forebay.tiering.catalogue.records import MoveRecord, RunRecord
    from forebay.tiering.policy import Suggestion
    from forebay.tiering.storage.tiers import Tiers

ToOption = Annotated[str, typer.Option("--to", help="The tier: its name in the configuration.")]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep the copy in the tier that it comes from.")
]


def move(
    context: typer.Context,
    run: RunArgument,
    to: ToOption,
    keep: KeepOption = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="The tier that it is moved from; that of its folder if not given."
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to what it costs to recall it from an archive.")
    ] = False,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a run, or a result, into a tier: copy, read back, send readers there, delete.

    Of a run that is still recorded, all blocks but the newest are moved.

    The old copy goes when its grace is over, by 'forebay tier apply'. A move that was interrupted
    goes on where it was when it is asked for again.
    """
    from forebay.tiering.catalogue.moves import Moves

    call = session(context)
    _ = configured_tiers(call)[to]
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        moves = Moves(catalogue.database)
        asked: list[tuple[MoveRecord, RunRecord]] = []
        for found in not_there(
            catalogue, found_to_move(call, catalogue, run, runs, results), to, keep=keep
        ):
            planned = moves.plan(
                found, tier=to, keep=keep, why=f"asked for by {user_name()}", source=source
            )
            _agree_to_recall(catalogue, tiers, planned, found, yes=yes)
            moves.retry(planned.move)
            asked.append((planned, found))
        _work(call, catalogue, tiers)
        now = [moves.get(planned.move) for planned, _ in asked]
    _tell(now, {found.run_id: found.shown for _, found in asked}, as_json=as_json)


def cancel(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="MOVE", help="Number of the move.")],
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a move off whose new copy is not published yet."""
    from forebay.tiering.catalogue.moves import Moves

    with opened_catalogue(session(context), ledger, results, runs) as catalogue:
        Moves(catalogue.database).cancel(number)
    if as_json:
        print_json({"move": number, "state": "cancelled"})
    else:
        typer.echo(f"move {number} is cancelled")


def plan(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the policies would move, and what it costs; nothing is moved."""
    call = session(context)
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        wanted, waiting = _wanted(call, catalogue, tiers)
    _print_suggestions(wanted, as_json=as_json)
    for line in waiting:
        typer.echo(line, err=as_json)


def apply(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move what the policies say, and go on with every move that is due."""
    from forebay.tiering.catalogue.moves import Moves
    from forebay.tiering.errors import MoveRefusedError

    call = session(context)
    with opened_tiers(call, ledger, results, runs) as (catalogue, tiers):
        wanted, waiting = _wanted(call, catalogue, tiers)
        moves = Moves(catalogue.database)
        for line in waiting:
            typer.echo(f"passed over: {line}", err=True)
        for each in wanted:
            try:
                moves.plan(
                    each.run,
                    tier=each.target,
                    keep=each.keep,
                    why=each.why,
                    source=each.source,
                )
            except MoveRefusedError as error:
                typer.echo(f"passed over: {error}", err=True)
        names = {each.run_id: each.shown for each in catalogue.runs()}
        done = _work(call, catalogue, tiers)
        left = len(moves.find())
    _tell(done, names, as_json=as_json, left=left)


def _agree_to_recall(
    catalogue: "Catalogue", tiers: "Tiers", move: "MoveRecord", run: "RunRecord", *, yes: bool
) -> None:
    """Show what it costs to recall what a move reads from an archive; call it off if refused."""
    from forebay.tiering.archive.copies import keys_of, recall_of
    from forebay.tiering.catalogue.moves import Moves

    (source,) = [each for each in catalogue.shelves(run.run_id) if each.shelf == move.source]
    if move.state != "planned" or tiers[source.tier].specification.recall is None:
        return
    recall = recall_of(catalogue, tiers, source, keys_of(catalogue, tiers, run, None))
    if recall is None or not (away := recall.look().away):
        return
    try:
        agree(f"{run.shown} is recalled from {source.tier!r}, {recall.told(away)}", yes=yes)
    except OptionError:
        Moves(catalogue.database).cancel(move.move)
        raise


def _wanted(
    call: Session, catalogue: "Catalogue", tiers: "Tiers"
) -> "tuple[list[Suggestion], list[str]]":
    """Take in what may move; return what policies want, by what will have come until it is free.

    And which of them have something wait that costs too much to be recalled now.
    """
    from forebay.tiering.continuous.outlook import expected_bytes
    from forebay.tiering.wanted import wanted_now

    settings = call.settings
    fillings = take_in_all(call, catalogue, tiers)
    expected = expected_bytes(tiers, fillings, settings.tiering)
    found, limit = wanted_now(catalogue, settings.tiers, settings.tiering, expected=expected)
    return list(found), limit.told()


def _work(call: Session, catalogue: "Catalogue", tiers: "Tiers") -> "list[MoveRecord]":
    from forebay.tiering.moving.mover import Mover

    with stop_on_signals("the object that is being copied is finished") as stop:
        work = published_in(catalogue, tiers)
        mover = Mover(catalogue.database, tiers, call.settings.tiering, stop=stop, work=work)
        return mover.work()


def _print_suggestions(wanted: "list[Suggestion]", *, as_json: bool) -> None:
    if as_json:
        for each in wanted:
            print_json({**asdict(each), "run": each.run.shown, "bytes": each.run.bytes})
        return
    if not wanted:
        typer.echo("the policies move nothing now")
        return
    print_table(
        (
            "run or result",
            "size",
            "from",
            "to",
            "policy",
            "cost to read",
            "more per month",
            "takes",
        ),
        [
            (
                each.run.shown,
                size(each.run.bytes),
                each.source,
                each.target,
                each.policy,
                f"{each.cost:.2f}",
                f"{each.cost_per_month:+.2f}",
                _takes([each]),
            )
            for each in wanted
        ],
    )
    total = sum(each.run.bytes for each in wanted)
    cost = sum(each.cost for each in wanted)
    month = sum(each.cost_per_month for each in wanted)
    typer.echo(
        f"{len(wanted)} runs and results, {size(total)}; {cost:.2f} to read, {month:+.2f} in each "
        f"month; at the least: {_takes(wanted)}"
    )


def _takes(wanted: "Sequence[Suggestion]") -> str:
    """Return how long it takes to move some runs, one after the other, recalled together.

    What has no bandwidth is copied as fast as can be, which nobody knows before.
    """
    recalling = max(each.recall_seconds for each in wanted)
    copying = sum(each.copy_seconds or 0.0 for each in wanted)
    parts = [f"{seconds(recalling)} to recall"] if recalling else []
    if copying:
        parts.append(f"{seconds(copying)} to copy")
    return ", ".join(parts) or "-"


def _tell(
    moves: "Sequence[MoveRecord]",
    names: Mapping[str, str],
    *,
    as_json: bool,
    left: int | None = None,
) -> None:
    """Tell how it is with each of some moves, and then whether some do not go on."""
    for move in moves:
        if as_json:
            print_json(move_fields(move, names[move.run_id]))
        else:
            typer.echo(move_line(move, names[move.run_id]))
    if left is not None and not as_json:
        typer.echo(f"moves that are not over: {left}")
    given_up = [str(each.move) for each in moves if each.state == "failed"]
    stuck = [str(each.move) for each in moves if each.error and each.attempts]
    stuck = [each for each in stuck if each not in given_up]
    problems = []
    if stuck:
        later = "'forebay tier apply' tries again when it is due"
        problems.append(f"move {', '.join(stuck)} does not go on, see above: {later}")
    if given_up:
        problems.append(f"move {', '.join(given_up)} was given up, see above: ask for it again")
    if problems:
        raise TierProblemError("; ".join(problems))
