"""Having recalled what a job needs of archives, before it is submitted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.session import Session

if TYPE_CHECKING:
    from forebay.acquisition import Run
    from forebay.engine import Algorithm

RecallOption = Annotated[
    bool,
    typer.Option(
        "--recall", help="Have recalled what lies in an archive, and agree to what that costs."
    ),
]


def have_recalled(
    call: Session,
    runs: "Sequence[Run]",
    algorithm: "Algorithm",
    values: Mapping[str, Any],
    *,
    results: Path,
    ledger: Path | str,
    live: bool = False,
    force: bool = False,
    agreed: bool,
) -> None:
    """Ask archives for what units of a job need that are not done, if that was agreed to.

    Raises
    ------
    ArchivedError
        If it was not: with what it costs, and how long it takes.
    """
    from forebay.engine.execution.recalls import needed_recalls
    from forebay.engine.execution.wanted import targets
    from forebay.tiering.errors import ArchivedError
    from forebay.tiering.specification import TierSpecification

    wanted = targets(
        runs, algorithm, algorithm.bind(values), results=results, ledger=ledger, live=live
    )
    needed = [
        (each, progress)
        for each in needed_recalls(runs, wanted, ledger=ledger, force=force)
        if (progress := each.recall.look()).away or agreed
    ]
    if not needed:
        return
    lines = [
        f"{len(progress.away)} objects of {each.run} are to be recalled from {each.tier!r}, "
        f"{each.recall.told(progress.away)}"
        for each, progress in needed
        if progress.away
    ]
    if lines and not agreed:
        cost = sum(each.recall.cost(progress.away) for each, progress in needed)
        more = (
            f" (and {len(lines) - 1} runs more, for about {cost:.2f} in all)" if lines[1:] else ""
        )
        raise ArchivedError(
            f"{lines[0]}{more}: give --recall if that is agreed to; the job then waits for them"
        )
    for line in lines:
        typer.echo(line, err=True)
    usual = TierSpecification.model_fields["recall_days"].default
    for each, _ in needed:
        tier = call.settings.tiers.get(each.tier)
        # Those that are near already stay so for as long.
        each.recall.request(days=usual if tier is None else tier.recall_days)
