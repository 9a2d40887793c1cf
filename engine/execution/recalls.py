"""What a job needs of archives: the blocks of those of its units that are not done yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.acquisition import Run
from forebay.engine.queue.database import Database
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.states import UnitState
from forebay.engine.queue.submission import Target
from forebay.engine.unit import plan
from forebay.tiering.archive.recall import Recall
from forebay.tiering.archive.signposted import archived_objects


@dataclass(frozen=True, slots=True)
class NeededRecall:
    """Objects of a run that have to be recalled for a job."""

    run: str
    """Name of the run."""
    tier: str
    """Name of the tier that they are recalled from."""
    recall: Recall
    """The objects, in the order in which units need them."""


def needed_recalls(
    runs: Sequence[Run], wanted: Sequence[Target], *, ledger: Path | str, force: bool
) -> list[NeededRecall]:
    """Return what a job would have to have recalled.

    Parameters
    ----------
    runs
        The runs.
    wanted
        What is wanted of each of them.
    ledger
        Where it is entered what is done.
    force
        Whether that is computed as well.
    """
    return [
        NeededRecall(run.name, each.tier, each.recall)
        for run, target in zip(runs, wanted, strict=True)
        for each in archived_objects(run.location, _needed(run, target, ledger=ledger, force=force))
    ]


def _needed(run: Run, target: Target, *, ledger: Path | str, force: bool) -> Iterator[str]:
    """Yield the keys of what units read that are to be computed, in their order."""
    done = frozenset() if force else _done(target, ledger)
    for unit, blocks in plan(run, target.job):
        if unit.identity not in done:
            yield from (each.key for block in blocks for each in block.objects)


def _done(target: Target, ledger: Path | str) -> frozenset[str]:
    if isinstance(ledger, Path) and not ledger.is_file():
        return frozenset()
    with Database(ledger) as database:
        units = Ledger(database).units(target.job.identity)
    return frozenset(each.unit for each in units if each.state == UnitState.DONE)
