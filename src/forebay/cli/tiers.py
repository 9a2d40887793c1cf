"""What the commands that concern tiers share: the catalogue, and what is in it by which name."""

from collections.abc import Iterator
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
    from forebay.tiering.storage.tiers import Tiers

RunArgument = Annotated[
    str,
    typer.Argument(
        help="Name of the run in the folder of the runs, or of a result in the folder of the results; "
        "or its path.",
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


@contextmanager
def opened_catalogue(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> "Iterator[Catalogue]":
    """Open the catalogue that a command means."""
    from forebay.engine.queue.database import Database
    from forebay.tiering.catalogue.catalogue import Catalogue

    database: Database
    with Database(call.ledger(ledger, results, runs)) as database:
        yield Catalogue(database)


def found_as(
    call: Session, catalogue: "Catalogue", name: str, runs: Path | None, results: Path | None
) -> "list[RunRecord]":
    """Return a run, or the volumes of a result, as the catalogue knows them by now."""
    from forebay.acquisition.errors import RunNotFoundError
    from forebay.engine.results.folder import DESCRIPTION
    from forebay.tiering.moving.taking_in import take_in

    tiers = configured_tiers(call)
    location = call.location(name, runs)
    if isinstance(location, str):
        raise OptionError(f"{location} cannot be moved from here: only a run in a folder can be")
    for result in (location, call.shared_results(results, runs) / name):
        if (result / DESCRIPTION).is_file():
            return published_in(catalogue, tiers).of_folder(result)
    if not location.is_dir():
        raise RunNotFoundError(f"{location} is not a run: there is no such folder")
    return [take_in(catalogue, tiers, location)]


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
    """Return those of the volumes of a result that do not lie in a tier, and in none else, yet."""
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


def take_in_all(catalogue: "Catalogue", tiers: "Tiers") -> None:
    """Take in what is closed or published, and say what cannot be."""
    from forebay.tiering.scan import take_in_runs

    results = published_in(catalogue, tiers).take_in()
    for passed_over in (*take_in_runs(catalogue, tiers), *results):
        typer.echo(f"passed over: {passed_over}", err=True)
