"""What may be had recalled from archives for a job, as it is given on the command line."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.errors import OptionError
from forebay.cli.sizes import size_given

if TYPE_CHECKING:
    from forebay.engine import RecallAgreement

RecallOption = Annotated[
    bool,
    typer.Option(
        "--recall", help="Have recalled what lies in an archive, and agree to what that costs."
    ),
]
RecallCostOption = Annotated[
    float | None,
    typer.Option(
        help="The same, if it costs no more than this in all; it is refused else, and later nothing "
        "is recalled that would cost more."
    ),
]
RecallAheadOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="With --recall or --recall-cost: how much is asked for ahead of what is computed, as "
        "'500 GB'; 1 TB if not given.",
    ),
]


def agreement(recall: bool, most_cost: float | None, ahead: str | None) -> "RecallAgreement | None":
    """Return what was agreed to; None for nothing.

    Raises
    ------
    OptionError
        If options do not go together, or cannot be what they are.
    """
    from forebay.engine import RecallAgreement

    if not recall and most_cost is None:
        if ahead is not None:
            raise OptionError("--recall-ahead does nothing without --recall or --recall-cost")
        return None
    agreed = RecallAgreement()
    if most_cost is not None:
        if not most_cost >= 0:
            raise OptionError(f"--recall-cost cannot be {most_cost}: give 0 or more")
        agreed = replace(agreed, most_cost=most_cost)
    if ahead is not None:
        agreed = replace(agreed, ahead_bytes=size_given("--recall-ahead", ahead))
    return agreed
