"""``forebay process``: run an algorithm over a run, in batch or live."""

import importlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.awaiting import opened_once_made, opened_run
from forebay.cli.commands.completion import complete_runs
from forebay.cli.commands.job_options import AlgorithmArgument, ClusterOption, ParameterOption
from forebay.cli.errors import OptionError
from forebay.cli.output import print_facts, print_json, progress, seconds
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    ResultsOption,
    RunsOption,
    Session,
    session,
    user,
)
from forebay.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from rich.progress import Progress

    from forebay.acquisition import Run
    from forebay.cluster import ClusterSpecification
    from forebay.engine import Algorithm, Result
    from forebay.engine.execution.events import JobEvent
    from forebay.engine.unit import Unit

_OF_UNITS = ("forebay.engine.execution.work", "forebay.ops")
"""What a worker needs for any unit."""


def process(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            help="Name of the run in the folder of the runs, or its path or URL.",
            autocompletion=complete_runs,
        ),
    ],
    algorithm: AlgorithmArgument,
    runs: RunsOption = None,
    results: ResultsOption = None,
    ledger: LedgerOption = None,
    parameter: ParameterOption = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Take each block as it is committed; wait for the run if it is not there yet.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compute also what is done already.")
    ] = False,
    cluster: ClusterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run ALGORITHM over RUN and publish the result, one part for each block.

    What is done already is not computed again. Ctrl-C lets what is being computed be published.
    """
    from forebay import process as compute
    from forebay.engine import REGISTRY

    call = session(context)
    REGISTRY.load(call.settings.engine.algorithm_modules)
    chosen = REGISTRY.get(algorithm)
    given = parameters(parameter or [])
    location = call.location(run, runs)
    with stop_on_signals("what is being computed is still published") as stop:
        opened = opened_once_made(location, stop) if follow else opened_run(location)
        folder = call.results_of(opened, run, results, runs)
        entered = call.common_ledger(ledger)
        needed = follow or force or anything_left([opened], chosen, given, folder, entered)
        with cluster_client(call, cluster, needed=needed) as client, progress("frames") as bars:
            report = JobProgress(bars, f"{chosen.name} over {opened.name}", as_json=as_json)
            result = compute(
                opened,
                chosen,
                client=client,
                results=folder,
                ledger=entered,
                follow=follow,
                force=force,
                stop=stop,
                on_event=report,
                units_in_flight_per_worker=call.settings.engine.units_in_flight_per_worker,
                owner=user(),
                **given,
            )
    if as_json:
        print_json({"event": "done", **described(result)})
    else:
        _print(result, chosen.label)


def anything_left(
    runs: "Sequence[Run]",
    algorithm: "Algorithm",
    given: "Mapping[str, Any]",
    results: Path | None,
    ledger: Path | str | None,
) -> bool:
    """Tell whether anything is to be computed: if not, no cluster has to be started for it."""
    from forebay.engine.execution.wanted import anything_left as any_units
    from forebay.engine.execution.wanted import targets

    bound = algorithm.bind(given)
    return any_units(runs, targets(runs, algorithm, bound, results=results, ledger=ledger), ledger)


@contextmanager
def cluster_client(call: Session, name: str | None, *, needed: bool = True) -> Iterator[Any]:
    """Connect to a cluster of the settings; give None where this process computes, or nobody."""
    from forebay.cluster import LocalClusterSpecification, connect

    specification = cluster_of(call, name)
    if specification is None or not needed:
        yield None
        return
    called = name or call.settings.engine.cluster
    with connect(specification, name=called, modules=_OF_UNITS) as client:
        if isinstance(specification, LocalClusterSpecification) and specification.dashboard:
            _tell_of_dashboard(client)
        # What a unit needs takes a worker seconds to import; so it does before the first unit.
        # A worker that dies over it is the cluster's to replace.
        for module in _OF_UNITS:
            client.run(importlib.import_module, module, on_error="ignore")
        yield client


def _tell_of_dashboard(client: Any) -> None:
    """Say where the dashboard is, and what whoever sits at another machine has to do first."""
    port = client.scheduler_info()["services"]["dashboard"]
    typer.echo(
        f"Dask's dashboard is at http://127.0.0.1:{port}/status; from another machine, first: "
        f"ssh -N -L {port}:127.0.0.1:{port} {socket.gethostname()}",
        err=True,
    )


def cluster_of(call: Session, name: str | None) -> "ClusterSpecification | None":
    """Return the cluster of the settings that a name means; None for this process.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    from forebay.engine.settings import IN_PROCESS
    from forebay.engine.suggestion import nearest

    wanted = call.settings.engine.cluster if name is None else name
    if wanted == IN_PROCESS:
        return None
    clusters = call.settings.clusters
    if wanted not in clusters:
        known = [*clusters, IN_PROCESS]
        raise OptionError(
            f"there is no cluster {wanted!r}{nearest(wanted, known)}; the settings have "
            f"{', '.join(known)}"
        )
    return clusters[wanted]


class JobProgress:
    """Shows what a job tells: as a bar for people, or as a line of JSON for each event."""

    def __init__(
        self, bars: "Progress", what: str, *, as_json: bool = False, total: int | None = None
    ) -> None:
        """Add a bar for the job; `total` is its number of frames, if it is over several runs."""
        self._bars = bars
        self._several = total is not None
        self._task = bars.add_task(what, total=total, note="")
        self._as_json = as_json
        self._failed = 0

    def __call__(self, event: "JobEvent") -> None:
        """Take in an event."""
        from forebay.engine.execution.events import (
            RunGrown,
            RunRecalled,
            UnitFailed,
            UnitPublished,
            UnitSkipped,
        )

        match event:
            case RunGrown(frames=frames) if not self._several:
                self._bars.update(self._task, total=frames)
            case RunRecalled(told=told):
                typer.echo(told, err=True)
            case UnitSkipped(unit=unit):
                self._bars.advance(self._task, len(unit.core.t))
            case UnitPublished(unit=unit, latency=latency):
                self._bars.update(self._task, advance=len(unit.core.t), note=self._note(latency))
                self._line("published", unit, rows=event.rows, latency_seconds=latency)
            case UnitFailed(unit=unit, error=error):
                self._failed += 1
                self._bars.update(self._task, note=self._note(None))
                self._line("failed", unit, error=error)

    def _note(self, latency: float | None) -> str:
        failed = f"{self._failed} units failed" if self._failed else ""
        recent = latency is not None and latency < 60
        return f"{seconds(latency)} behind {failed}" if recent else failed

    def _line(self, event: str, unit: "Unit", **fields: Any) -> None:
        if self._as_json:
            run = unit.job.run_name
            print_json({"event": event, "run": run, "unit": unit.label, **fields})


def described(result: "Result") -> dict[str, Any]:
    """Return what is published of a job, for machines."""
    return {
        "result": str(result.path),
        "run": result.job.run_name,
        "algorithm": result.job.algorithm,
        "version": result.job.version,
        "parameters": result.job.parameters,
        "frames": result.frames,
        "units": len(result.done),
        "computed": result.computed,
    }


def parameters(given: list[str]) -> dict[str, str]:
    """Return parameters as they were given on the command line.

    Raises
    ------
    OptionError
        If one lacks its name, or is given twice.
    """
    values: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise OptionError(f"-p {text!r} lacks a part: give it as -p NAME=VALUE")
        if name in values:
            raise OptionError(f"-p {name} is given twice: leave one out")
        values[name] = value
    return values


def _print(result: "Result", label: str) -> None:
    if not result.done:
        typer.echo(f"nothing to do: the run holds no frames yet ({result.path})")
        return
    if not result.computed:
        typer.echo(
            f"nothing to do: all {result.frames} frames are done already "
            f"({result.path}); --force computes them again"
        )
        return
    before = len(result.done) - result.computed
    rows = sum(unit.rows or 0 for unit in result.done)
    facts: list[tuple[str, object]] = [
        ("frames", result.frames),
        (
            "units computed",
            f"{result.computed}" + (f" ({before} were done already)" if before else ""),
        ),
        *([("rows", rows)] if rows else []),
        ("parameters", ", ".join(f"{k}={v}" for k, v in result.job.parameters.items()) or "none"),
        ("result", result.path),
    ]
    print_facts(f"{label} over {result.job.run_name}", facts)
