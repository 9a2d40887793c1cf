"""The ledger that a command looks into."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.cli.errors import LedgerNotFoundError
from forebay.cli.session import Session

if TYPE_CHECKING:
    from forebay.engine.queue.database import Database


@contextmanager
def opened(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> "Iterator[Database]":
    """Open a ledger that is there."""
    from forebay.engine.queue.database import Database

    with Database(existing(call, ledger, results, runs), create=False) as database:
        yield database


def existing(
    call: Session, ledger: str | None, results: Path | None, runs: Path | None
) -> Path | str:
    """Return the place of a ledger that is there."""
    where = call.ledger(ledger, results, runs)
    if isinstance(where, Path) and not where.is_file():
        elsewhere = _entered_in(call.shared_results(results, runs))
        if elsewhere is not None:
            raise LedgerNotFoundError(
                f"there is no ledger {where}: results in its folder are entered in {elsewhere}; "
                f"give --ledger {elsewhere}"
            )
        raise LedgerNotFoundError(
            f"there is no ledger {where}: no job was submitted to it yet; choose another with "
            "--runs, --results or --ledger"
        )
    return where


def _entered_in(results: Path) -> Path | str | None:
    """Return the ledger in which a result of a folder is entered; None where there is no result."""
    from forebay.engine.results.folder import DESCRIPTION, ResultFolder

    described = next(results.rglob(DESCRIPTION), None)
    return None if described is None else ResultFolder(described.parent).ledger
