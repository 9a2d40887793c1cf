"""What the commands that concern tiers share: the catalogue, and what is in it by which name."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.completion import complete_runs
from forebay.cli.errors import OptionError
from forebay.cli.session import Session

if TYPE_CHECKING:
    from forebay.engine.results.volumes import ResultVolumes
    from forebay.tiering.catalogue.catalogue import Catalogue
    from forebay.tiering.catalogue.records import RunRecord
    from forebay.tiering.continuous.filling import Filling
    from forebay.tiering.moving.open_runs import OpenRuns
    from forebay.tiering.storage.tiers import Tiers

RunArgument = Annotated[
    str,
    typer.Argument(
        help="Name of the run in the folder of the runs, or of a result in the folder of the results; "
        "or its path or URL.",
        autocompletion=complete_runs,
    ),
]


def configured_tiers(call: Session) -> "Tiers":
    """Return the tiers of the configuration."""
    from forebay.tiering.storage.tiers import Tiers

    if not call.settings.tiers:
        raise OptionError(
            "no tiers are configured: they are the tables [tiers.NAME] of forebay.toml"
        )
    return Tiers(call.settings.tiers)


def known_tiers(call: Session, catalogue: "Catalogue") -> "Tiers":
    """Return the tiers of the configuration, by the names that the catalogue knows them by."""
    from forebay.tiering.catalogue.places import tiers_as_known

    return tiers_as_known(catalogue, call.settings.tiers)


@contextmanager
def opened_catalogue(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> "Iterator[Catalogue]":
    """Open the catalogue that a command means."""
    from forebay.engine.queue.database import Database
    from forebay.tiering.catalogue.catalogue import Catalogue

    # No ledger is made where a command was given in the wrong folder.
    configured_tiers(call)
    database: Database
    with Database(call.ledger(ledger, results, runs)) as database:
        yield Catalogue(database)


@contextmanager
def opened_tiers(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> "Iterator[tuple[Catalogue, Tiers]]":
    """Open the catalogue that a command means, and give the tiers by the names that it knows."""
    with opened_catalogue(call, ledger, results, runs) as catalogue:
        yield catalogue, known_tiers(call, catalogue)


def found_as(
    call: Session, catalogue: "Catalogue", name: str, runs: Path | None, results: Path | None
) -> "list[RunRecord]":
    """Return a run and its volumes, or those of a result, as the catalogue knows them by now."""
    return _found_as(call, catalogue, name, runs, results, lambda known, at: known.pieces(at))


def found_to_move(
    call: Session, catalogue: "Catalogue", name: str, runs: Path | None, results: Path | None
) -> "list[RunRecord]":
    """Return the same; of an open run, with all blocks in it that may be moved."""
    return _found_as(
        call, catalogue, name, runs, results, lambda known, at: known.pieces_to_move(at)
    )


def _found_as(
    call: Session,
    catalogue: "Catalogue",
    name: str,
    runs: Path | None,
    results: Path | None,
    pieces: "Callable[[OpenRuns, Path | str], list[RunRecord]]",
) -> "list[RunRecord]":
    from forebay.acquisition.errors import RunNotFoundError
    from forebay.engine.results.folder import DESCRIPTION
    from forebay.tiering.moving.open_runs import OpenRuns

    tiers = known_tiers(call, catalogue)
    location = call.location(name, runs)
    if isinstance(location, str):
        return pieces(OpenRuns(catalogue, tiers, call.settings.tiering), location)
    for result in (location, call.shared_results(results, runs) / name):
        if (result / DESCRIPTION).is_file():
            return published_in(catalogue, tiers).of_folder(result)
    if not location.is_dir():
        raise RunNotFoundError.no_folder(location)
    return pieces(OpenRuns(catalogue, tiers, call.settings.tiering), location)


def published_in(catalogue: "Catalogue", tiers: "Tiers") -> "ResultVolumes":
    """Return what takes results into a catalogue, which lies in the ledger's database."""
    from forebay.engine.queue.database import Database
    from forebay.engine.results.volumes import ResultVolumes

    if not isinstance(catalogue.database, Database):
        raise TypeError("the catalogue does not lie in the database of a ledger")
    return ResultVolumes(catalogue, catalogue.database, tiers)


def not_there(
    catalogue: "Catalogue", found: "list[RunRecord]", tier: str, *, keep: bool
) -> "list[RunRecord]":
    """Return those pieces of a run or a result that do not lie in a tier, and in none else, yet."""
    from forebay.tiering.catalogue.records import ShelfState

    left = []
    for each in found:
        lies = {
            shelf.tier
            for shelf in catalogue.shelves(each.run_id)
            if shelf.state is ShelfState.AVAILABLE
        }
        if tier not in lies or not (keep or lies == {tier}):
            left.append(each)
    # Of what is there already, the refusal tells.
    return left or found[:1]


def take_in_all(call: Session, catalogue: "Catalogue", tiers: "Tiers") -> "Mapping[str, Filling]":
    """Take in what may move, say what cannot be, and return how fast tiers fill."""
    from forebay.tiering.continuous.filling import FillingWatch
    from forebay.tiering.moving.open_runs import OpenRuns
    from forebay.tiering.scan import take_in_runs

    watch = FillingWatch(tiers, catalogue)
    watch.search()
    results = published_in(catalogue, tiers).take_in()
    closed = take_in_runs(catalogue, tiers, open_runs=watch.open_runs)
    still_open = OpenRuns(catalogue, tiers, call.settings.tiering).take_in_all(watch.open_runs)
    for passed_over in (*closed, *still_open, *results):
        typer.echo(f"passed over: {passed_over}", err=True)
    return watch.look()
