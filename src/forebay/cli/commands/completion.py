"""What the shell offers when TAB is pressed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import typer

from forebay.cli.session import Session
from forebay.errors import ForebayError


def complete_sources(incomplete: str) -> Iterator[str]:
    """Offer the simulated camera; paths are the shell's own."""
    if "simulated:".startswith(incomplete):
        yield "simulated:"


def complete_runs(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the runs in the folder of the runs."""
    from forebay import find_runs
    from forebay.acquisition.format.layout import check_run_name

    # A mistake in the settings is told when the command is run, not at the prompt.
    with contextlib.suppress(ForebayError):
        folder = Session(None).runs(context.params.get("runs"))
        for path in find_runs(folder):
            name = str(path.relative_to(folder))
            if name.startswith(incomplete):
                with contextlib.suppress(ForebayError):
                    yield check_run_name(name), "a run"


def complete_operations(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the operations, with what they do."""
    from forebay.ops.catalogue import operations

    for name, operation in operations().items():
        if name.startswith(incomplete):
            yield name, operation.summary


def complete_jobs(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the newest jobs, with what they compute and how they stand."""
    from forebay.engine.queue.database import Database
    from forebay.engine.queue.jobs import Jobs

    with contextlib.suppress(ForebayError):
        given = context.params
        where = Session(None).ledger(given.get("ledger"), given.get("results"), given.get("runs"))
        if isinstance(where, Path) and not where.is_file():
            return
        with Database(where, create=False) as database:
            for record in Jobs(database).find():
                if str(record.job).startswith(incomplete):
                    yield str(record.job), f"{record.algorithm}-{record.version}, {record.state}"


def complete_algorithms(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the algorithms, with what they do."""
    from forebay.engine import REGISTRY

    with contextlib.suppress(ForebayError):
        REGISTRY.load(Session(None).settings.engine.algorithm_modules)
        for algorithm in REGISTRY:
            if algorithm.name.startswith(incomplete):
                yield algorithm.name, algorithm.summary


def complete_settings(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the settings, with what they are."""
    from forebay.config.settings import meaning

    with contextlib.suppress(ForebayError):
        loaded = Session(None).loaded
        for key in loaded.origins:
            if key.startswith(incomplete):
                yield key, meaning(loaded.settings, key)


def complete_parameters(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the parameters of the algorithm that is named already."""
    from forebay.engine import REGISTRY

    with contextlib.suppress(ForebayError):
        REGISTRY.load(Session(None).settings.engine.algorithm_modules)
        # An option that lacks its value leaves the arguments before it as words.
        words = [context.params.get("algorithm"), *context.args]
        known = {name for each in REGISTRY for name in (each.name, each.label)}
        algorithm = REGISTRY.get(next((each for each in words if each in known), ""))
        for name, field in algorithm.parameters.model_fields.items():
            if name.startswith(incomplete):
                needed = "has to be given" if field.is_required() else f"{field.default} else"
                yield f"{name}=", needed


def complete_lanes(incomplete: str) -> Iterator[str]:
    """Offer the lanes."""
    from forebay.engine.queue.lanes import Lane

    yield from (lane.label for lane in Lane if lane.label.startswith(incomplete))


def complete_clusters(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the clusters of the settings, with their kinds."""
    with contextlib.suppress(ForebayError):
        for name, each in Session(None).settings.clusters.items():
            if name.startswith(incomplete):
                yield name, each.kind


def complete_compressions(incomplete: str) -> Iterator[str]:
    """Offer the ways in which pixels are packed."""
    from forebay.acquisition.format.codec import CompressionName

    yield from (name for name in get_args(CompressionName.__value__) if name.startswith(incomplete))


def complete_failures(incomplete: str) -> Iterator[str]:
    """Offer the classes of failures."""
    from forebay.engine.queue.retry import FailureClass

    yield from (each for each in FailureClass if each.startswith(incomplete))


def complete_operation_parameters(
    context: typer.Context, incomplete: str
) -> Iterator[tuple[str, str]]:
    """Offer the parameters of the operation that is named already."""
    from forebay.ops.catalogue import operations

    known = operations()
    # An option that lacks its value leaves the arguments before it as words.
    words = [context.params.get("operation"), *context.args]
    operation = known.get(next((each for each in words if each in known), ""))
    for name, each in operation.parameters.items() if operation else ():
        if name.startswith(incomplete):
            needed = "has to be given" if each.default is each.empty else f"{each.default} else"
            yield f"{name}=", needed
