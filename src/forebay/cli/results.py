"""The results of a run that go along where it is handed over."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.errors import OptionError
from forebay.cli.session import Session

if TYPE_CHECKING:
    from forebay.tiering.handoff.contents import Contents
    from forebay.tiering.handoff.results import ResultContents

ResultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--result",
        help="A result that goes along: the name of its folder, with '*' for any text; again "
        "for more of them.",
    ),
]


def results_of(
    call: Session, contents: "Contents", patterns: list[str], results: Path | None
) -> "list[ResultContents]":
    """Return those of a run's results that fit one of the patterns.

    Raises
    ------
    OptionError
        If none fits one of them.
    """
    if not patterns:
        return []
    from forebay import find_results
    from forebay.engine.results.bundles import contents_of_result
    from forebay.tiering.handoff.results import handed_over

    run = contents.run
    found: dict[str, Path | ResultContents] = {
        each.name: each for each in find_results(run, call.results(results))
    }
    if run.path is None:
        # In an object store they lie with the run that they came with.
        found |= handed_over(contents.own_shelf)
    chosen = set()
    for pattern in patterns:
        fitting = {name for name in found if fnmatchcase(name, pattern)}
        if not fitting:
            known = ", ".join(found) or "none"
            raise OptionError(f"the run {run.name} has no result {pattern!r}; it has {known}")
        chosen |= fitting
    return [
        contents_of_result(each) if isinstance(each, Path) else each
        for name, each in found.items()
        if name in chosen
    ]
