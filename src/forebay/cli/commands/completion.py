"""What the shell offers when TAB is pressed."""

from collections.abc import Iterator
from pathlib import Path

import typer

from forebay.cli.session import Session


def complete_sources(incomplete: str) -> Iterator[str]:
    """Offer the simulated camera; paths are the shell's own."""
    if "simulated:".startswith(incomplete):
        yield "simulated:"
    folder, _, beginning = incomplete.rpartition("/")
    base = Path(folder or ("/" if incomplete.startswith("/") else "."))
    if base.is_dir():
        for path in sorted(base.iterdir()):
            if path.name.startswith(beginning) and not path.name.startswith("."):
                yield f"{folder}/{path.name}" if "/" in incomplete else path.name


def complete_runs(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the runs in the folder of the runs."""
    from forebay.cli.catalogue import find_runs

    folder = Session(None).runs(context.params.get("runs"))
    for path in find_runs(folder):
        name = str(path.relative_to(folder))
        if name.startswith(incomplete):
            yield name, "a run"


def complete_algorithms(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the algorithms, with what they do."""
    from forebay.engine import REGISTRY

    REGISTRY.load(Session(None).settings.engine.algorithm_modules)
    for algorithm in REGISTRY:
        if algorithm.name.startswith(incomplete):
            yield algorithm.name, algorithm.summary
