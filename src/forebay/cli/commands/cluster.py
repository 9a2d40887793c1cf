"""``forebay cluster``: the clusters of the settings, and those that run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.commands.completion import complete_clusters
from forebay.cli.commands.process import cluster_of
from forebay.cli.errors import ClusterTimeoutError, OptionError
from forebay.cli.output import print_facts, print_json, print_table, writing_output
from forebay.cli.session import JsonOption, Session, session
from forebay.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from distributed import Client

    from forebay.cluster import ClusterSpecification, Plan
    from forebay.cluster.keeping.place import Place, Record

_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_LONGEST_NUMBER = 10
_LINE_BYTES = 400
"""What a line of a log takes, at the most and as a rule."""

app = typer.Typer(help="Where work is done: look at clusters, start, stop and size them.")

NameArgument = Annotated[
    str, typer.Argument(help="Name of a cluster in the settings.", autocompletion=complete_clusters)
]


@app.command("list")
def list_clusters(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the clusters of the settings."""
    call = session(context)
    default = call.settings.engine.cluster
    described: list[dict[str, Any]] = [
        {
            "name": name,
            "kind": each.kind,
            "default": name == default,
            "cost_per_worker_hour": each.cost_per_worker_hour,
            "running": record_of(each, name),
        }
        for name, each in call.settings.clusters.items()
    ]
    if as_json:
        for one in described:
            print_json(one)
        return
    rows = [
        (
            one["name"],
            one["kind"],
            "-" if one["cost_per_worker_hour"] is None else one["cost_per_worker_hour"],
            "the default" if one["default"] else "",
            f"{one['running'].address} on {one['running'].host}" if one["running"] else "-",
        )
        for one in described
    ]
    print_table(("cluster", "kind", "cost of a worker-hour", "", "kept running at"), rows)


@app.command()
def check(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Say what starting a cluster would ask for, and what is missing; nothing is started."""
    plan = specification_of(session(context), name).plan(name)
    if as_json:
        print_json(
            {
                "name": name,
                "facts": dict(plan.facts),
                "submitted": plan.submitted,
                "cost_per_hour": plan.cost_per_hour,
                "problems": plan.problems,
            }
        )
    else:
        _print(name, plan)
    if plan.problems:
        from forebay.cluster import ClusterError

        number = len(plan.problems)
        raise ClusterError(
            f"the cluster {name} cannot be started: {plan.problems[0]}"
            + (f" (and {number - 1} more, above)" if number > 1 else "")
        )


@app.command()
def start(
    context: typer.Context,
    name: NameArgument,
    workers: Annotated[
        int | None, typer.Option(help="Keep so many; else as many as the work needs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a cluster running for others to use, until Ctrl-C, SIGTERM or 'cluster stop'.

    Its scheduler runs in this process, and workers come as work is submitted to it.
    """
    from forebay.cluster.keeping.talk import scale as scaled
    from forebay.cluster.start import quiet

    specification = specification_of(session(context), name)
    with (
        stop_on_signals("its workers are sent home") as stop,
        quiet(),
        specification.kept(name, stop.set) as client,
    ):
        if workers is not None:
            scaled(client, workers)
        address = client.scheduler_info()["address"]
        if as_json:
            print_json({"event": "ready", "name": name, "address": address})
        else:
            typer.echo(f"{name} runs at {address}; 'forebay cluster stop {name}' ends it")
        stop.wait()


@app.command()
def stop(context: typer.Context, name: NameArgument) -> None:
    """End a cluster that is kept running, and its workers."""
    from forebay.cluster.keeping.talk import stop as ended

    place, record = _running(session(context), name)
    with joined_to(place, record) as client:
        ended(client)
    deadline = time.monotonic() + _STOP_SECONDS
    while place.is_taken:
        if time.monotonic() > deadline:
            raise ClusterTimeoutError(
                f"{name} has been told to end, and process {record.process} on {record.host} "
                f"has not done so within {_STOP_SECONDS:g} s"
            )
        time.sleep(_LOOK_SECONDS)
    typer.echo(f"{name} has ended")


@app.command()
def scale(
    context: typer.Context,
    name: NameArgument,
    workers: Annotated[
        str, typer.Argument(help="How many to keep, or 'auto' for as many as the work needs.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Let a cluster that is kept running have so many workers; tries again what had failed."""
    from forebay.cluster.keeping.talk import scale as scaled

    if workers != "auto" and not (workers.isdecimal() and len(workers) < _LONGEST_NUMBER):
        raise OptionError(f"{workers!r} is neither a number of workers nor 'auto'")
    place, record = _running(session(context), name)
    with joined_to(place, record) as client:
        answer = scaled(client, None if workers == "auto" else int(workers))
    if as_json:
        print_json({"name": name, **answer})
        return
    there = answer["working"] + answer["starting"] + answer["waiting"]
    wanted = "as many workers as the work needs" if workers == "auto" else f"workers: {workers}"
    typer.echo(f"{name} is to have {wanted}; jobs that are there: {there}")


@app.command()
def logs(
    context: typer.Context,
    name: NameArgument,
    lines: Annotated[int, typer.Option(min=1, help="Last lines of each worker's log.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show what has happened to a cluster lately, and what workers of its last start have said."""
    from forebay.cluster.keeping.place import passing_places, standing_place
    from forebay.cluster.keeping.talk import standing

    specification = specification_of(session(context), name)
    if specification.place is None:
        raise OptionError(
            f"the cluster {name} of kind {specification.kind} keeps no logs: what its workers say "
            "goes where the command that uses it says it"
        )
    place = standing_place(specification.place, name)
    record = place.read()
    notes: list[str] = []
    if record is not None:
        with joined_to(place, record) as client:
            told = standing(client)
        notes = [*told["notes"], *filter(None, [told["stopped_because"]])]
    earlier, logs = place.split_logs()
    for each in passing_places(specification.place, name):
        logs += each.split_logs()[1]
    if as_json:
        for note in notes:
            print_json({"event": "noted", "text": note})
        for log in logs:
            print_json({"event": "log", "file": log, "lines": list(last_lines(log, lines))})
        return
    with writing_output():
        for note in notes:
            typer.echo(note)
        if earlier:
            typer.echo(f"logs of earlier starts, in {place.logs}: {len(earlier)}")
        for log in logs:
            typer.echo(f"== {log}")
            for line in last_lines(log, lines):
                typer.echo(line)
        if record is None and not logs:
            typer.echo(f"no workers of {name} have said anything in {specification.place}")


def record_of(specification: "ClusterSpecification", name: str) -> "Record | None":
    """Return what is written of a cluster that is kept running; None if none is."""
    from forebay.cluster.keeping.place import standing_place

    if specification.place is None:
        return None
    return standing_place(specification.place, name).read()


def _running(call: Session, name: str) -> "tuple[Place, Record]":
    from forebay.cluster import ClusterError
    from forebay.cluster.keeping.place import standing_place

    specification = specification_of(call, name)
    record = record_of(specification, name)
    if record is None or specification.place is None:
        raise ClusterError(
            f"no cluster {name} is kept running here: 'forebay cluster start {name}' starts it"
        )
    return standing_place(specification.place, name), record


@contextmanager
def joined_to(place: "Place", record: "Record") -> "Iterator[Client]":
    """Join a cluster that is kept running."""
    from forebay.cluster.keeping.joining import join_standing
    from forebay.cluster.start import quiet

    with quiet(), join_standing(place, record) as client:
        yield client


def last_lines(path: Path, number: int) -> list[str]:
    """Return the last lines of a file, which may be long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - number * _LINE_BYTES))
        return file.read().decode(errors="replace").splitlines()[-number:]


def specification_of(call: Session, name: str) -> "ClusterSpecification":
    """Return the cluster of a name; the process that runs a job is none."""
    specification = cluster_of(call, name)
    if specification is None:
        raise OptionError(f"{name!r} is no cluster: it means the process that runs a job")
    return specification


def _print(name: str, plan: "Plan") -> None:
    facts = list(plan.facts)
    cost = plan.cost_per_hour
    if cost is not None:
        fewest, most = cost
        shown = f"{most:g}" if fewest == most else f"{fewest:g} to {most:g}"
        facts.append(("cost per hour", shown))
    print_facts(name, facts)
    with writing_output():
        if plan.submitted:
            typer.echo(f"\n{plan.submitted.rstrip()}")
        # The first is the error.
        for problem in plan.problems[1:]:
            typer.echo(f"missing: {problem}")
