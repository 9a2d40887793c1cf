"""Jobs as they are given on the command line: submitting them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forebay.cli.commands.process import parameters
from forebay.cli.errors import OptionError
from forebay.cli.session import Session, user

if TYPE_CHECKING:
    from forebay.acquisition import Run
    from forebay.engine import Algorithm, SubmittedJob


def submitted(
    call: Session,
    algorithm: str,
    runs: "Callable[[], list[Run]]",
    *,
    results: Path,
    ledger: Path | str,
    given: list[str] | None,
    label: list[str] | None,
    **options: Any,
) -> "SubmittedJob":
    """Submit a job for a service."""
    from forebay import submit as submit_job

    chosen, values = bound(call, algorithm, given)
    job = submit_job(
        runs(),
        chosen,
        ledger=ledger,
        results=results,
        owner=user(),
        labels=labels_of(label),
        **options,
        **values,
    )
    for line in job.recalled:
        typer.echo(line, err=True)
    return job


def bound(
    call: Session, algorithm: str, given: list[str] | None
) -> "tuple[Algorithm, dict[str, Any]]":
    """Return an algorithm and its parameters, which are checked."""
    from forebay.engine import REGISTRY

    REGISTRY.load(call.settings.engine.algorithm_modules)
    chosen = REGISTRY.get(algorithm)
    values: dict[str, Any] = dict(parameters(given or []))
    chosen.bind(values)
    return chosen, values


def labels_of(given: list[str] | None) -> dict[str, str]:
    """Return labels as they were given on the command line."""
    labels: dict[str, str] = {}
    for text in given or []:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise OptionError(f"-l {text!r} lacks a part: give it as -l NAME=VALUE")
        if name in labels:
            raise OptionError(f"-l {name} is given twice: leave one out")
        labels[name] = value
    return labels
