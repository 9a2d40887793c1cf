"""``forebay profile``: where the time of a unit goes."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.commands.completion import complete_jobs
from forebay.cli.commands.ledgers import opened
from forebay.cli.errors import OptionError, TargetError
from forebay.cli.output import print_json, print_table, seconds
from forebay.cli.session import (
    JsonOption,
    LedgerOption,
    RunsOption,
    SharedResultsOption,
    session,
)

if TYPE_CHECKING:
    from forebay.cluster.node.profiling.profiler import Profiler
    from forebay.engine.queue.database import Database
    from forebay.engine.queue.found import FoundUnit

_SHOWN = 12
"""Functions that are told on the screen."""


def profile(
    context: typer.Context,
    unit: Annotated[
        str | None,
        typer.Argument(metavar="UNIT", help="The unit, or how its identity begins."),
    ] = None,
    job: Annotated[
        int | None,
        typer.Option(
            "--job",
            help="Instead of a unit: the slowest one of a job.",
            autocompletion=complete_jobs,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="PROFILER",
            help="py-spy, perf or nsys; the first of py-spy and perf that is here, if not given.",
        ),
    ] = None,
    at_least: Annotated[
        float,
        typer.Option(
            "--seconds", min=0.0, max=3600.0, help="How long it is computed again and again."
        ),
    ] = 5.0,
    output: Annotated[
        Path | None, typer.Option(help="File to write; unit-UNIT.svg here if not given.")
    ] = None,
    runs: RunsOption = None,
    results: SharedResultsOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute a unit in one process under a profiler, and draw where its time goes.

    The unit may be done, failed or waiting: nothing of its job is changed. py-spy and perf draw a
    flame graph (SVG); nsys writes a report for Nsight Systems.
    """
    from forebay.cluster.node.profiling.profiler import found as profiler_found

    if (unit is None) == (job is None):
        raise OptionError("name a unit, or a job by --job: one of them")
    chosen, program = profiler_found(by)
    call = session(context)
    with opened(call, ledger, results, runs) as database:
        one, script = _script(database, unit, job, at_least, call.settings.engine.algorithm_modules)
    target = output or Path(f"unit-{one.unit[:12]}{chosen.ending}")
    with tempfile.TemporaryDirectory(prefix="forebay-profile-") as folder:
        told, hot = _profiled(chosen, program, script, Path(folder), target, one)
    if as_json:
        functions = [
            {"function": name, "itself": itself, "altogether": altogether}
            for name, itself, altogether in hot
        ]
        print_json(
            {
                "unit": one.unit,
                "profiler": chosen.name,
                "times": told["times"],
                "seconds": told["seconds"],
                "output": str(target),
                "functions": functions,
            }
        )
        return
    if hot:
        print_table(
            ("itself", "with what it calls", "function"),
            [(f"{itself:.1%}", f"{whole:.1%}", name) for name, itself, whole in hot],
        )
    typer.echo(
        f"unit {one.unit[:12]}, frames {one.start} to {one.stop - 1}: {seconds(told['seconds'])}, "
        f"computed {told['times']} times; {target} shows where that went, by {chosen.name}"
    )


def _script(
    database: "Database",
    unit: str | None,
    job: int | None,
    at_least: float,
    modules: tuple[str, ...],
) -> "tuple[FoundUnit, str]":
    """Return the unit, and the program that computes it."""
    from forebay.engine.execution.profiled import profiling_script
    from forebay.engine.queue.found import slowest_unit, unit_named
    from forebay.engine.queue.ledger import Ledger
    from forebay.engine.results.folder import ResultFolder

    if unit is not None:
        one = unit_named(database, unit)
    else:
        one = slowest_unit(database, -1 if job is None else job)
    before = None if one.before is None else Ledger(database).part(one.before)
    after = before and ResultFolder(Path(one.target.folder)).parts / before[0]
    return one, profiling_script(one, seconds=at_least, modules=modules, after=after or None)


def _profiled(
    chosen: "Profiler",
    program: str,
    script: str,
    folder: Path,
    target: Path,
    one: "FoundUnit",
) -> tuple[Mapping[str, Any], list[tuple[str, float, float]]]:
    """Run it, and write what came of it to the target."""
    from forebay.cluster.node.errors import ProfilerError
    from forebay.cluster.node.profiling.flame_graph import flame_graph
    from forebay.cluster.node.profiling.profiler import record
    from forebay.cluster.node.profiling.stacks import below, hottest
    from forebay.engine.errors import UnitsFailedError
    from forebay.engine.execution.profiled import FUNCTION

    path, figures = folder / "profiled.py", folder / "figures.json"
    raw = folder / f"recorded{'' if chosen.read else chosen.ending}"
    path.write_text(script, encoding="utf-8", errors="backslashreplace")
    record(chosen, program, path, [str(figures)], raw)
    try:
        told = json.loads(figures.read_bytes())
    except (OSError, ValueError) as error:
        raise ProfilerError(
            f"the unit's process ended before it was computed: 'forebay dead export' or "
            f"forebay.engine.reproduce show why ({chosen.name} went well)"
        ) from error
    # Where Python has told perf its functions' names, by a file that nobody else removes.
    Path(f"/tmp/perf-{told['process']}.map").unlink(missing_ok=True)  # noqa: S108 (perf looks there)
    if "error" in told:
        raise UnitsFailedError(
            f"the unit {one.unit[:12]} fails, so that there is nothing to profile: {told['error']}"
        )
    if chosen.read is None:
        _put(target, raw)
        return told, []
    began, ended = told["during"]
    seen = chosen.read(program, raw, (began, ended))
    stacks = below(seen, FUNCTION, script=path.name, rest=chosen.rest)
    if not stacks:
        raise ProfilerError(
            f"{chosen.name} has seen nothing of the unit, which takes {seconds(told['seconds'])}: "
            "compute it for longer (--seconds)"
        )
    job = one.target.job
    title = f"{job.algorithm} {job.version}, frames {one.start} to {one.stop - 1} of {job.run_name}"
    drawn = folder / "drawn.svg"
    drawn.write_text(flame_graph(stacks, title=title), encoding="utf-8")
    _put(target, drawn)
    return told, hottest(stacks, _SHOWN)


def _put(target: Path, source: Path) -> None:
    """Put a file in its place in one step, also in the place of an earlier one."""
    aside = target.with_name(f".{target.name}.tmp")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, aside)
        aside.replace(target)
    except OSError as error:
        raise TargetError(f"{target} cannot be written: {error.strerror}") from error
