"""``forebay runs``: look at runs, check them, end what was left open."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.awaiting import log_shown, opened_run
from forebay.cli.commands.completion import complete_runs
from forebay.cli.errors import OptionError, VerificationError
from forebay.cli.output import print_facts, print_json, print_table, progress, seconds, size
from forebay.cli.session import JsonOption, ResultsOption, RunsOption, session
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from forebay.acquisition import Run, RunWriter
    from forebay.acquisition.run.recovery.repair import RepairReport

_SHOWN_LINES = 12
_ORDER_OF_RESULTS = ("algorithm", "version", "parameters")
_LABELS = {
    "run_id": "run id",
    "created": "made",
    "closed_because": "closed because",
    "frames_per_block": "frames per block",
    "stored_bytes": "stored",
    "first_frame": "first frame",
    "last_frame": "last frame",
    "duration_seconds": "duration",
    "dropped_frames": "dropped frames",
    "pixel_size_micrometer": "pixel size",
    "exposure_seconds": "exposure",
    "frame_rate_hertz": "frame rate",
}
"""What people are shown in the place of keys, whose units stand behind their values."""

app = typer.Typer(help="Look at runs, check them, and end what was left open.")

RunArgument = Annotated[
    str,
    typer.Argument(
        help="Name of the run in the folder of the runs, or its path or URL.",
        autocompletion=complete_runs,
    ),
]


@app.command("list")
def list_runs(context: typer.Context, runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """List the runs in the folder of the runs."""
    from forebay import find_runs

    folder = session(context).runs(runs)
    described = []
    for path in find_runs(folder):
        name = str(path.relative_to(folder))
        try:
            described.append({"name": name, **_summary(opened_run(path))})
        except ForebayError as error:
            described.append({"name": name, "state": "damaged", "error": str(error)})
    if as_json:
        for each in described:
            print_json(each)
        return
    if not described:
        typer.echo(f"no runs in {folder.absolute()}")
        return
    rows = [
        (
            each["name"],
            each["state"],
            each.get("frames", "-"),
            each.get("dropped", "-"),
            _moment(each["created"]) if "created" in each else each.get("error", "-"),
        )
        for each in described
    ]
    print_table(("run", "state", "frames", "dropped", "made"), rows)


@app.command()
def show(
    context: typer.Context,
    run: RunArgument,
    runs: RunsOption = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a run holds, also while it is being written."""
    from forebay import find_results

    call = session(context)
    opened = opened_run(call.location(run, runs))
    described = _description(opened)
    published = [_published(each) for each in find_results(opened, call.results(results))]
    published.sort(key=lambda each: [str(each.get(name, "")) for name in _ORDER_OF_RESULTS])
    if as_json:
        print_json({**described, "results": published})
        return
    facts = [(_LABELS.get(name, name), _shown(name, value)) for name, value in described.items()]
    facts += [("result", _result_line(each, opened.history.frames)) for each in published]
    print_facts(f"run {opened.name}", [(name, value) for name, value in facts if value != ""])


@app.command()
def verify(
    context: typer.Context,
    run: RunArgument,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a whole run and compare every byte with what was committed.

    Ends with code 5 and names the blocks where something is missing or has changed.
    """
    from forebay.tiering.caching.in_force import read_through

    location = session(context).location(run, runs)
    # What is verified is what lies there, not what is kept near.
    read_through(None)
    opened = opened_run(location)
    with progress("blocks") as bars:
        task = bars.add_task(f"verifying {opened.name}", total=len(opened.blocks), note="")
        found = opened.verify(on_block=lambda _: bars.advance(task))
    if as_json:
        print_json(
            {
                "run": opened.location,
                "ok": found.ok,
                "closed": opened.closed,
                "blocks": found.blocks,
                "bytes": found.bytes,
                "problems": found.problems,
            }
        )
    else:
        for problem in found.problems:
            typer.echo(problem.what)
        if found.ok:
            open_still = "" if opened.closed else "; the run is not closed yet"
            typer.echo(
                f"{opened.location}: {found.blocks} block{'' if found.blocks == 1 else 's'}, {size(found.bytes)}: all as "
                f"committed{open_still}"
            )
    if not found.ok:
        blocks = sorted({each.block for each in found.problems if each.block is not None})
        where = f" in block {', '.join(str(each) for each in blocks)}" if blocks else ""
        count = len(found.problems)
        raise VerificationError(
            f"{opened.location} has {count} problem{'s' if count > 1 else ''}{where}: restore "
            "what is named above from a copy; the other blocks can be read"
        )


@app.command()
def close(
    context: typer.Context,
    run: RunArgument,
    runs: RunsOption = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Take the run from a writer that is there and cannot be stopped.",
        ),
    ] = False,
) -> None:
    """Close a run whose writer is gone, with everything that can still be saved.

    The run of the frames that were kept as they came, if there is one, is closed with it.

    In a bucket no lock tells whether it is gone: the run is watched first for as long as a writer
    would take for two blocks, unless --take-over is given.
    """
    from forebay.acquisition.service.raw_frames import earlier_raw

    location = session(context).location(run, runs)
    if isinstance(location, str):
        _end(_taken_over(location, at_once=take_over), location)
        return
    refusal = _end_if_open(location, take_over=take_over)
    raw = earlier_raw(opened_run(location))
    if raw is not None and raw.path is not None:
        # The writer may have died between the ends of the two.
        refusal = _end_if_open(raw.path, take_over=take_over) and refusal
    if refusal is not None:
        raise refusal


def _end_if_open(location: Path, *, take_over: bool) -> ForebayError | None:
    """Close a run, and put right what its writer has left; return why it cannot be closed again."""
    from forebay import RunWriter
    from forebay.acquisition.errors import RunExistsError

    try:
        with log_shown(location) as read:
            writer = RunWriter.resume(location, take_over=take_over, on_read=read)
        _end(writer, location)
    except RunExistsError as error:
        return error
    return None


def _end(writer: "RunWriter", location: Path | str) -> None:
    writer.close(reason="closed by the operator; its writer was gone")
    typer.echo(f"{writer.path or location} is closed with {writer.committed} frames")


def _taken_over(url: str, *, at_once: bool) -> "RunWriter":
    from forebay import RunWriter
    from forebay.acquisition.run.writing.quiet import check_quiet
    from forebay.tiering import open_bucket

    store = open_bucket(url)
    if not at_once:
        typer.echo(f"looking whether {url} has a writer", err=True)
        check_quiet(store)
    return RunWriter.take_over(store)


@app.command()
def repair(
    context: typer.Context,
    run: RunArgument,
    runs: RunsOption = None,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside",
            help="Put damaged blocks into the quarantine, and write their frames down as "
            "dropped; blocks behind them move up, so frames change their place.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a damaged log anew from the lines that can be read and from the blocks."""
    from dataclasses import asdict

    from forebay.acquisition.run.recovery.repair import repair_run
    from forebay.tiering.reading.block_volumes import BLOCK_VOLUMES
    from forebay.tiering.reading.signpost import SIGNPOST

    location = session(context).location(run, runs)
    if isinstance(location, str):
        raise OptionError(f"{location} cannot be repaired from here: only a run in a folder can be")
    moved = location / BLOCK_VOLUMES
    if (location / SIGNPOST).exists() or (moved.is_dir() and any(moved.iterdir())):
        raise OptionError(
            f"{location} lies in other tiers too: move it back first ('forebay tier move')"
        )
    report = repair_run(location, set_aside=set_aside)
    if as_json:
        print_json(asdict(report))
    else:
        print_facts(f"run {location}", _repaired(report))


def _repaired(report: "RepairReport") -> list[tuple[str, object]]:
    """Return what became of a run; of what there was nothing, nothing is said."""
    state = "closed" if report.closed else "open"
    if not report.needed:
        return [("log", "agrees with the blocks: nothing to repair"), ("frames", report.frames)]
    found = [
        ("frames", report.frames),
        ("state", state),
        ("blocks kept", report.kept),
        ("blocks rebuilt", ", ".join(map(str, report.rebuilt))),
        ("lines lost", report.lines_lost),
        ("frames dropped without a reason", report.unexplained),
        ("old log", report.old_log),
        *(("damaged", each) for each in report.damaged),
        *(("set aside", each) for each in report.set_aside),
    ]
    return [(name, value) for name, value in found if value]


def _published(folder: Path) -> dict[str, Any]:
    """Return what is published in a folder; a result that cannot be read hides nothing else."""
    from forebay import open_result

    try:
        result = open_result(folder)
    except ForebayError as error:
        return {"path": str(folder), "error": " ".join(str(error).split())}
    return {
        "path": str(result.path),
        "algorithm": result.job.algorithm,
        "version": result.job.version,
        "parameters": result.job.parameters,
        "frames": result.frames,
        "failed_units": [
            {"start": unit.start, "stop": unit.stop, "error": unit.error} for unit in result.failed
        ],
    }


def _result_line(published: dict[str, Any], frames: int) -> str:
    if "error" in published:
        told = str(published["error"])
        return told if published["path"] in told else f"{published['path']}: {told}"
    failed = published["failed_units"]
    chosen = ", ".join(f"{name}={value}" for name, value in published["parameters"].items())
    line = (
        f"{published['algorithm']}-{published['version']}({chosen}): "
        f"{published['frames']} of {frames} frames"
    )
    if failed:
        line += f", {len(failed)} failed, first: {failed[0]['error']}"
    return f"{line}\n{published['path']}"


def _state(run: "Run") -> str:
    if run.history.closed is not None:
        return "closed"
    if run.path is None:
        # A bucket has no lock that ends with its holder.
        return "open"
    return "being written" if run.writer else "open, without a writer"


def _summary(run: "Run") -> dict[str, Any]:
    return {
        "state": _state(run),
        "frames": run.history.frames,
        "dropped": sum(each.count for each in run.dropped),
        "created": run.layout.created,
    }


def _description(run: "Run") -> dict[str, Any]:
    layout, metadata = run.layout, run.layout.metadata
    closed = run.history.closed
    blocks = run.blocks
    times = (blocks[0].timestamps[0], blocks[-1].timestamps[1]) if blocks else None
    return {
        "location": run.location,
        "run_id": run.run_id,
        **_summary(run),
        "writer": run.writer,
        "accounts": _accounts(run),
        "closed_because": closed.reason if closed else None,
        "dims": list(layout.dims),
        "shape": [run.history.frames, *layout.geometry.shape],
        "dtype": str(layout.geometry.dtype),
        "blocks": len(blocks),
        "frames_per_block": layout.frames_per_block,
        "compression": layout.compression.name,
        "stored_bytes": run.history.blocks.stored_bytes,
        "first_frame": times and _iso(times[0]),
        "last_frame": times and _iso(times[1]),
        "duration_seconds": times and (times[1] - times[0]) / 1e9,
        "dropped_frames": [
            {"first": each.first, "last": each.last, "reason": each.reason, "at": _iso(each.at)}
            for each in run.dropped
        ],
        "notes": [
            {
                "at": _iso(each.at),
                "topic": each.topic,
                "text": each.text,
                "counter": each.counter,
            }
            for each in run.notes
        ],
        "pixel_size_micrometer": metadata.pixel_size,
        "exposure_seconds": metadata.exposure,
        "frame_rate_hertz": metadata.frame_rate,
        "channels": list(metadata.channels),
        "instrument": dict(metadata.instrument),
        "provenance": dict(layout.provenance),
    }


def _accounts(run: "Run") -> str:
    """Return the sum that always agrees."""
    committed, dropped = run.history.frames, sum(each.count for each in run.dropped)
    return f"{committed} committed + {dropped} dropped = {committed + dropped} counted"


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")


def _moment(iso: str) -> str:
    """Return a moment for people, to the millisecond where it is known."""
    when = datetime.fromisoformat(iso).astimezone(UTC).replace(tzinfo=None)
    return f"{when.isoformat(' ', 'milliseconds').removesuffix('.000')} UTC"


def _shown(name: str, value: Any) -> str:
    """Return a value for people; nothing where it is not known."""
    if value is None or value in ([], {}, ()):
        return ""
    match name:
        case "dims" | "channels":
            return ", ".join(value)
        case "shape":
            return " × ".join(str(each) for each in value)
        case "created" | "first_frame" | "last_frame":
            return _moment(value)
        case "pixel_size_micrometer":
            return f"{' × '.join(f'{each:g}' for each in value)} µm"
        case "exposure_seconds":
            return f"{value * 1000:g} ms"
        case "frame_rate_hertz":
            return f"{value:g} Hz"
        case "stored_bytes":
            return size(value)
        case "duration_seconds":
            return seconds(value)
        case "dropped_frames":
            return _some([f"{_extent(each)}: {each['reason']}" for each in value])
        case "notes":
            return _some(
                [f"{_moment(each['at'])} {each['topic']}: {each['text']}" for each in value]
            )
        case "provenance":
            return ", ".join(value)
        case "instrument":
            return _some([f"{key}: {_told(each)}" for key, each in value.items()])
    return str(value)


def _told(value: Any) -> str:
    """Return what is known of an instrument, by its names."""
    if value is None:
        return "not known"
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{key}={each}" for key, each in value.items())


def _extent(dropped: Mapping[str, Any]) -> str:
    """Return which frames were dropped."""
    first, last = dropped["first"], dropped["last"]
    return str(first) if first == last else f"{first} to {last}"


def _some(lines: list[str]) -> str:
    """Return lines for people: the last ones, where there are many."""
    left_out = len(lines) - _SHOWN_LINES
    begin = [f"({left_out} more before; --json has them all)"] if left_out > 0 else []
    return "\n".join([*begin, *lines[-_SHOWN_LINES:]])
