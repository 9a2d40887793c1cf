"""What commands on tiers have in common: the tiers, the catalogue, and a run as it knows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.commands.completion import complete_runs
from forebay.cli.errors import OptionError
from forebay.cli.session import Session

if TYPE_CHECKING:
    from forebay.tiering.catalogue.catalogue import Catalogue
    from forebay.tiering.catalogue.records import RunRecord
    from forebay.tiering.storage.tiers import Tiers

RunArgument = Annotated[
    str,
    typer.Argument(
        help="Name of the run in the folder of the runs, or its path.",
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


def known_run(call: Session, catalogue: "Catalogue", run: str, runs: Path | None) -> "RunRecord":
    """Return a run as the catalogue knows it, taking it in where it does not."""
    from forebay.tiering.moving.taking_in import take_in

    location = call.location(run, runs)
    if isinstance(location, str):
        raise OptionError(f"{location} cannot be moved from here: only a run in a folder can be")
    if not location.is_dir():
        from forebay.acquisition.errors import RunNotFoundError

        raise RunNotFoundError(f"{location} is not a run: there is no such folder")
    return take_in(catalogue, configured_tiers(call), location)
