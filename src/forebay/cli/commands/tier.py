"""``forebay tier``: where runs lie, and moving them from one storage to another."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.agreement import agree
from forebay.cli.cache import cache_fields, cache_line
from forebay.cli.errors import OptionError, TierProblemError
from forebay.cli.outlook import (
    look_ahead,
    outlook_fields,
    outlook_rows,
    pace_fields,
    pace_line,
    unknown_lines,
)
from forebay.cli.output import print_json, print_table, seconds, size
from forebay.cli.pieces import piece_rows
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
    found_as,
    found_to_move,
    not_there,
    opened_catalogue,
    published_in,
    take_in_all,
)

if TYPE_CHECKING:
    from forebay.tiering.catalogue.catalogue import Catalogue
    from forebay.tiering.catalogue.records import MoveRecord, RunRecord
    from forebay.tiering.continuous.filling import Filling
    from forebay.tiering.policy import Suggestion
    from forebay.tiering.specification import TierSpecification
    from forebay.tiering.storage.tiers import Tiers

app = typer.Typer(help="Tiers: where runs lie, and moving them.", no_args_is_help=True)

ToOption = Annotated[str, typer.Option("--to", help="The tier: its name in the configuration.")]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep the copy in the tier that it comes from.")
]


@app.command("list")
def list_tiers(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the tiers that are configured."""
    specifications = session(context).settings.tiers
    rows = [
        {
            "tier": name,
            "url": each.shown,
            "capacity": each.capacity,
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
    tiers = configured_tiers(call)
    interval = call.settings.tiering.interval_seconds
    cache = cache_in_force()
    with opened_catalogue(call, ledger, results, runs) as catalogue:
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
            print_json(_move_fields(move, known[move.run_id].shown))
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
        typer.echo(_move_line(move, known[move.run_id].shown))
    for protection in kept:
        until = "" if protection.until is None else f" until {_when(protection.until)}"
        where = "" if protection.tier is None else f" in {protection.tier}"
        typer.echo(
            f"{protection.kind}: {known[protection.run_id].shown}{where}{until}, "
            f"{protection.owner}: {protection.reason}"
        )


@app.command()
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
    tiers = configured_tiers(call)
    _ = tiers[to]
    with opened_catalogue(call, ledger, results, runs) as catalogue:
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


@app.command()
def cancel(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="MOVE", help="Number of the move.")],
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Call a move off whose new copy is not published yet."""
    from forebay.tiering.catalogue.moves import Moves

    with opened_catalogue(session(context), ledger, results, runs) as catalogue:
        Moves(catalogue.database).cancel(number)
    typer.echo(f"move {number} is cancelled")


@app.command()
def plan(
    context: typer.Context,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the policies would move, and what it costs; nothing is moved."""
    call = session(context)
    tiers = configured_tiers(call)
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        fillings = take_in_all(call, catalogue, tiers)
        wanted, waiting = _wanted(call, catalogue, tiers, fillings)
    _print_suggestions(wanted, as_json=as_json)
    for line in waiting:
        typer.echo(line, err=as_json)


@app.command()
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
    tiers = configured_tiers(call)
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        fillings = take_in_all(call, catalogue, tiers)
        moves = Moves(catalogue.database)
        wanted, waiting = _wanted(call, catalogue, tiers, fillings)
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
    tiers = configured_tiers(call)
    with opened_catalogue(call, ledger, results, runs) as catalogue:
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
    call: Session, catalogue: "Catalogue", tiers: "Tiers", fillings: "Mapping[str, Filling]"
) -> "tuple[list[Suggestion], list[str]]":
    """Return what policies want, by what will have come until it is free, as a service does.

    And which of them have something wait that costs too much to be recalled now.
    """
    from forebay.tiering.continuous.outlook import expected_bytes
    from forebay.tiering.wanted import wanted_now

    settings = call.settings
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
            print_json(_move_fields(move, names[move.run_id]))
        else:
            typer.echo(_move_line(move, names[move.run_id]))
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


def _move_line(move: "MoveRecord", run: str) -> str:
    line = f"move {move.move}: {run} to {move.tier}: {move.state}"
    if move.state == "grace" and move.not_before is not None:
        line += f"; it is read there, and the old copy goes after {_when(move.not_before)}"
    if move.holder is not None and move.lease_until is not None and not move.state.over:
        silent = f"if that says nothing more, it goes on after {_when(move.lease_until)}"
        line += f"; {move.holder.partition('/')[0]} is at it, and {silent}"
    return f"{line} ({move.error})" if move.error else line


def _move_fields(move: "MoveRecord", run: str) -> dict[str, object]:
    return {
        "move": move.move,
        "run": run,
        "to": move.tier,
        "state": move.state,
        "why": move.why,
        "attempts": move.attempts,
        "error": move.error,
    }


def _when(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="seconds")
