"""What stands in the way of a job where its runs and its results lie."""

from collections.abc import Iterable
from pathlib import Path

from forebay.acquisition import open_run
from forebay.engine.errors import ResultDamagedError, ResultLedgerError
from forebay.engine.queue.submission import Target
from forebay.engine.results.folder import ResultFolder
from forebay.errors import ForebayError


def hindrances(targets: Iterable[Target], *, ledger: Path | str, live: bool) -> list[str]:
    """Return what is wrong with folders of results, and with runs that are followed, in sentences.

    Parameters
    ----------
    targets
        What is asked for and not done.
    ledger
        The ledger that the job stands in.
    live
        Whether the job goes on while the runs grow.
    """
    found = []
    for target in targets:
        try:
            ResultFolder(Path(target.folder)).check(target.job, ledger=ledger)
        except (ResultDamagedError, ResultLedgerError) as error:
            found.append(str(error))
        if live and (problem := _not_written(target.location)):
            found.append(problem)
    return found


def _not_written(location: str) -> str | None:
    """Return a sentence about a run in which nothing will come; None if something may."""
    if "://" in location:
        # Of a run on another machine nobody can tell whether it has a writer.
        return None
    try:
        run = open_run(location)
    except (ForebayError, OSError) as error:
        return f"the run cannot be followed: {error}"
    if run.closed or run.writer is not None:
        return None
    return (
        f"it follows the run {run.location}, which is open, and nobody is writing it: if its "
        f"writer has died, 'forebay runs close {run.name}' lets the job end"
    )
