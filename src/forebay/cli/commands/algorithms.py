"""``forebay algorithms``: which algorithms there are."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from forebay.cli.output import print_json, print_table
from forebay.cli.session import JsonOption, session

if TYPE_CHECKING:
    from forebay.engine import Algorithm

app = typer.Typer(help="Which algorithms there are.")


@app.callback()
def _group() -> None:
    """Keep ``list`` a command of its own."""


@app.command("list")
def list_algorithms(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the algorithms that a run can be processed with, and their parameters."""
    from forebay.engine import REGISTRY

    REGISTRY.load(session(context).settings.engine.algorithm_modules)
    if as_json:
        for each in REGISTRY:
            print_json(_described(each))
        return
    rows = [
        (each.name, each.version, _needs(each), _parameters(each), each.summary)
        for each in REGISTRY
    ]
    print_table(("algorithm", "version", "works on", "parameters", "what it does"), rows)


def _described(algorithm: "Algorithm") -> dict[str, Any]:
    return {
        "name": algorithm.name,
        "version": algorithm.version,
        "needs": {"kind": type(algorithm.needs).__name__, **asdict(algorithm.needs)},
        "parameters": algorithm.parameters.model_json_schema(),
        "summary": algorithm.summary,
    }


def _needs(algorithm: "Algorithm") -> str:
    from forebay.engine import Sequential, WholeRun

    if isinstance(algorithm.needs, WholeRun):
        return "whole runs"
    if isinstance(algorithm.needs, Sequential):
        return "blocks, one after the other"
    halo = algorithm.needs.halo_frames
    return f"blocks, {halo} frames around" if halo else "blocks"


def _parameters(algorithm: "Algorithm") -> str:
    shown = []
    for name, field in algorithm.parameters.model_fields.items():
        kind = getattr(field.annotation, "__name__", str(field.annotation))
        given = "" if field.is_required() else f" = {field.default}"
        shown.append(f"{name}: {kind}{given}")
    return "\n".join(shown)
