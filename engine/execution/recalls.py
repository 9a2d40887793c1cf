"""What a job needs of archives: the blocks of those of its units that are not done yet."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.acquisition import Run
from forebay.engine.errors import JobError
from forebay.engine.execution.wanted import done_units
from forebay.engine.given import check_fields
from forebay.engine.queue.submission import Target
from forebay.engine.unit import plan
from forebay.tiering.archive.recall import Recall
from forebay.tiering.archive.signposted import (
    ArchivedObject,
    archived_objects,
    lies_in_archive,
    recalls_of,
)
from forebay.tiering.errors import ArchivedError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallAgreement:
    """What of archives may be had recalled for a job.

    Examples
    --------
    >>> RecallAgreement(most_cost=20.0)
    RecallAgreement(most_cost=20.0, ahead_bytes=1000000000000)
    """

    most_cost: float = math.inf
    """What it may cost in all: a job that would cost more is refused, and nothing is asked for
    later that would."""
    ahead_bytes: int = 10**12
    """Bytes that are asked for ahead of what is computed; more than that is asked for as units are
    done."""

    def __post_init__(self) -> None:
        """Refuse what nothing could be recalled by."""
        check_fields(self, JobError)
        if not self.most_cost >= 0:
            raise JobError(f"what a recall may cost is 0 or more, not {self.most_cost}")
        if self.ahead_bytes < 1:
            raise JobError(f"what is asked for ahead is 1 byte or more, not {self.ahead_bytes}")

    @property
    def limit(self) -> float | None:
        """What it may cost, for the queue; None for any amount."""
        return None if math.isinf(self.most_cost) else self.most_cost


@dataclass(frozen=True, slots=True)
class NeededRecall:
    """Objects of a run that have to be recalled for a job."""

    run: str
    """Name of the run."""
    tier: str
    """Name of the tier that they are recalled from."""
    recall: Recall
    """The objects, in the order in which units need them."""


@dataclass(frozen=True, slots=True)
class UnitRecall:
    """What has to be recalled for a unit."""

    unit: str
    """Identity of the unit."""
    objects: tuple[ArchivedObject, ...]
    """The objects; others may need them too."""


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
    needed: list[NeededRecall] = []
    for run, target in zip(runs, wanted, strict=True):
        # Nearly no run lies in an archive, and units of long ones take long to be planned.
        if not lies_in_archive(run.location):
            continue
        units = unit_recalls(run, target, done_units(target, ledger, force=force))
        objects = (found for each in units for found in each.objects)
        needed += [NeededRecall(run.name, tier, recall) for tier, recall in recalls_of(objects)]
    return needed


def unit_recalls(run: Run, target: Target, done: Collection[str]) -> list[UnitRecall]:
    """Return what units of a result need of archives, in their order.

    Parameters
    ----------
    run
        The run.
    target
        The result.
    done
        Units that need nothing any more.
    """
    left = [
        (unit.identity, [each.key for block in blocks for each in block.objects])
        for unit, blocks in plan(run, target.job)
        if unit.identity not in done
    ]
    away = archived_objects(run.location, (key for _, keys in left for key in keys))
    needed = (
        UnitRecall(unit, tuple(dict.fromkeys(away[key] for key in keys if key in away)))
        for unit, keys in left
    )
    return [each for each in needed if each.objects]


def agreed_recalls(
    needed: Sequence[NeededRecall], agreement: RecallAgreement | None
) -> tuple[str, ...]:
    """Return what is recalled for a job, in a sentence for each run.

    Raises
    ------
    ArchivedError
        If that was not agreed to: with what it costs, and how long it takes.
    """
    looked = [(each, each.recall.look().away) for each in needed]
    lines = tuple(_told(each, away) for each, away in looked if away)
    if not lines:
        return ()
    cost = sum(each.recall.cost(away) for each, away in looked)
    more = f" (and {len(lines) - 1} runs more, for about {cost:.2f} in all)" if lines[1:] else ""
    if agreement is None:
        raise ArchivedError(
            f"{lines[0]}{more}: give --recall if that is agreed to (in Python, "
            "recall=RecallAgreement()); the job then waits for them"
        )
    if cost > agreement.most_cost:
        raise ArchivedError(
            f"{lines[0]}{more}: that is more than the {agreement.most_cost:.2f} that were agreed "
            "to; agree to more (--recall-cost), or choose fewer runs"
        )
    return lines


def _told(needed: NeededRecall, away: Sequence[str]) -> str:
    return (
        f"{len(away)} objects of {needed.run} are to be recalled from {needed.tier!r}, "
        f"{needed.recall.told(away)}"
    )
