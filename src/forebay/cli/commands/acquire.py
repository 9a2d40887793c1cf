"""``forebay acquire``: record a source into a new run."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forebay.cli.commands.completion import complete_sources
from forebay.cli.errors import OptionError
from forebay.cli.output import print_facts, print_json, seconds, size
from forebay.cli.session import JsonOption, RunsOption, session
from forebay.cli.signals import stop_on_signals
from forebay.errors import ExitCode, ForebayError

if TYPE_CHECKING:
    from forebay.acquisition import AcquisitionStatus, FrameSource, ImageMetadata
    from forebay.acquisition.settings import AcquisitionSettings

Compression = Literal["none", "blosc-lz4", "blosc-zstd", "zstd"]
Overload = Literal["block", "spill", "reduce", "drop-oldest", "drop-newest", "decimate"]
Durability = Literal["block", "frame"]


def acquire(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Where frames come from: a folder of PNG or TIFF files, a TIFF, .npy, Zarr or "
            "HDF5 file (path::array), 'simulated:emitters=50,seed=3', a GigE Vision camera as "
            "'camera:192.168.7.20,ExposureTime=5000', 'network:tcp://127.0.0.1:5555', or "
            "'shm:NAME' for a program that writes into shared memory.",
            autocompletion=complete_sources,
        ),
    ],
    run: Annotated[
        str, typer.Argument(help="Name of the run to make, or its URL: s3://bucket/runs/water.")
    ],
    runs: RunsOption = None,
    together_with: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="SOURCE",
            help="Another camera on the same trigger; its frames are a further channel.",
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="With --with: names of the cameras' channels."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run RUN, whose writer is gone."),
    ] = False,
    armed: Annotated[
        bool,
        typer.Option(
            "--armed", help="Wait for 'forebay control RUN start' before the first frame."
        ),
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(help="Frames per second; without it, as fast as they can be recorded."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames to take; a recording is repeated as often as needed. All if not given.",
        ),
    ] = None,
    frames_per_block: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames that are committed together; else by the setting 'acquisition.block_bytes'.",
        ),
    ] = None,
    compression: Annotated[
        Compression | None,
        typer.Option(help="How the pixels are packed; else the setting 'acquisition.compression'."),
    ] = None,
    overload: Annotated[
        Overload | None,
        typer.Option(help="What to do when frames come faster than they can be recorded."),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=99,
            help="Which recordings come first while their disk is too slow for all: those of a "
            "higher number.",
        ),
    ] = None,
    spill: Annotated[
        Path | None,
        typer.Option(help="With --overload spill: a folder on another disk.", file_okay=False),
    ] = None,
    durability: Annotated[
        Durability | None,
        typer.Option(
            help="What a power cut may not take: whole blocks, or each frame; else the setting "
            "'acquisition.durability'."
        ),
    ] = None,
    reduce: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP",
            help="Reduce each frame before it is recorded, as by 'bin:2'; may be repeated.",
        ),
    ] = None,
    keep_raw: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Record every Nth frame as it came into a run RUN.raw."
        ),
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="Side of a pixel in the sample, micrometres.")
    ] = None,
    exposure: Annotated[float | None, typer.Option(help="Exposure of a frame, seconds.")] = None,
    instrument: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A fact about the instrument; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record frames from SOURCE into the new run RUN, block by block, until the source ends.

    Ctrl-C, SIGTERM, a terminal that goes, and 'forebay control RUN stop' commit what has come and
    close the run in order.
    """
    from forebay.acquisition.service.prepare import (
        prepare,
        prepare_again,
        prepare_again_in,
        prepare_in,
    )
    from forebay.cli.live import LiveStatus
    from forebay.tiering import open_bucket

    call = session(context)
    bucket = "://" in run
    target = Path(run) if bucket else call.target(run, runs)
    if "results" in PurePosixPath(run).parts and not bucket and call.results(None) is None:
        raise OptionError(
            f"{target} is where results of other runs go: give the run another name, "
            "or set 'results'"
        )
    settings = _settings(
        call.settings.acquisition,
        frames_per_block=frames_per_block,
        compression=compression,
        overload=overload,
        priority=priority,
        spill=spill,
        durability=durability,
        steps=reduce,
        keep_raw_every=keep_raw,
    )
    known = _metadata(pixel_size, exposure, rate, instrument or [])
    with stop_on_signals("the frames that have come are being committed") as stop:
        sources = [source, *(together_with or [])]
        with _stopped_while_opening(stop):
            opening = _opening(sources, channels, rate, frames, known, stop)
        with opening as opened:
            if bucket and resume:
                typer.echo(f"looking whether {run} has a writer", err=True)
                acquisition = prepare_again_in(
                    opened, open_bucket(run), settings=settings, cancelled=stop
                )
            elif bucket:
                acquisition = prepare_in(opened, open_bucket(run), target.name, settings=settings)
            elif resume:
                acquisition = prepare_again(opened, target, settings=settings)
            else:
                acquisition = prepare(
                    opened, target, name=run, settings=settings, expected_frames=frames
                )
            if armed:
                typer.echo(f"armed: 'forebay control {run} start' begins the recording", err=True)
            with LiveStatus() as live:

                def show(status: "AcquisitionStatus") -> None:
                    if as_json:
                        print_json({"event": "committed", **_described(status)})
                    live.show(status)

                wanted = None if bucket or resume else target
                try:
                    status = acquisition.run(armed=armed, stop=stop, on_status=show)
                except BaseException:
                    try:
                        _save_truth(opened, wanted)
                    except ForebayError as error:
                        # What ended the recording is the one to be told last.
                        typer.echo(f"forebay: {error}", err=True)
                    raise
                truth = _save_truth(opened, wanted)
    if as_json:
        print_json({"event": "closed", **_described(status), "truth": truth})
    else:
        _print(status, truth)


def _settings(settings: "AcquisitionSettings", **given: Any) -> "AcquisitionSettings":
    """Return the settings with what the options say in their place."""
    from pydantic import ValidationError

    from forebay.acquisition.reduction import parse_step

    steps, keep_raw_every = given.pop("steps"), given.pop("keep_raw_every")
    changes = {name: value for name, value in given.items() if value is not None}
    if changes.get("spill") is not None:
        changes.setdefault("overload", "spill")
    reduction = settings.reduction
    if steps:
        parsed = tuple(parse_step(step) for step in steps)
        reduction = reduction.model_copy(update={"steps": parsed})
    if keep_raw_every is not None:
        reduction = reduction.model_copy(update={"keep_raw_every": keep_raw_every})
    try:
        known = {name: getattr(settings, name) for name in type(settings).model_fields}
        return type(settings).model_validate({**known, **changes, "reduction": reduction})
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise OptionError(what) from error


@contextlib.contextmanager
def _stopped_while_opening(stop: threading.Event) -> Iterator[None]:
    """End as what is interrupted does, where a source was not there before the user gave it up."""
    from forebay.acquisition.errors import SourceError

    try:
        yield
    except SourceError as error:
        if not stop.is_set():
            raise
        typer.echo(f"forebay: {error}", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from error


def _opening(
    texts: list[str],
    channels: str | None,
    rate: float | None,
    frames: int | None,
    metadata: "ImageMetadata",
    stop: threading.Event,
) -> "FrameSource":
    """Open one source, or several that are triggered together."""
    from forebay.acquisition.sources import SynchronisedSource, open_source

    names = [f"camera-{number}" for number in range(1, len(texts) + 1)]
    if channels is not None:
        names = [name.strip() for name in channels.split(",")]
        if len(names) != len(texts) or len(texts) == 1 or not all(names):
            raise OptionError(
                f"--channels {channels!r} names {len(names)} channels for {len(texts)} sources: "
                "give each source after the first one by --with, and a name for each"
            )
    sources: list[FrameSource] = []
    with contextlib.ExitStack() as opened:
        for text in texts:
            source = open_source(text, rate=rate, frames=frames, metadata=metadata, cancelled=stop)
            # Where a later one cannot be had, its camera and its socket are given back.
            opened.push(source)
            sources.append(source)
        together = sources[0] if len(sources) == 1 else SynchronisedSource(sources, names=names)
        opened.pop_all()
    return together


def _metadata(
    pixel_size: float | None, exposure: float | None, rate: float | None, facts: list[str]
) -> "ImageMetadata":
    from forebay.acquisition import ImageMetadata

    numbers = {"--pixel-size": pixel_size, "--exposure": exposure, "--rate": rate}
    for option, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise OptionError(f"{option} is {number:g}; give a number above 0")
    instrument: dict[str, Any] = {}
    for fact in facts:
        name, separator, value = fact.partition("=")
        if not separator or not name:
            raise OptionError(f"--instrument {fact!r} lacks a part: give it as NAME=VALUE")
        instrument[name] = _value(value)
    return ImageMetadata(
        pixel_size=None if pixel_size is None else (pixel_size, pixel_size),
        exposure=exposure,
        frame_rate=rate,
        instrument=instrument,
    )


def _value(text: str) -> Any:
    """Read a number, a list and so on as JSON, and anything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _save_truth(source: "FrameSource", target: Path | None) -> Path | None:
    """Save beside the run what is known of every particle, where the frames are simulated."""
    from forebay.acquisition.sources import SimulatedSource

    if target is None or not isinstance(source, SimulatedSource):
        return None
    path = target.with_name(f"{target.name}.truth.parquet")
    source.write_truth(path)
    return path


def _described(status: "AcquisitionStatus") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(status)


def _print(status: "AcquisitionStatus", truth: Path | None) -> None:
    from forebay.cli.live import latency_text

    rate = status.received_per_second
    # Not what was taken by the time that all took: the first frame may have been long in coming.
    came = f"; frames came at {rate:.1f}/s" if rate else ""
    facts: list[tuple[str, object]] = [
        ("frames counted", status.counted),
        ("committed", f"{status.committed} ({size(status.bytes)})"),
        ("dropped", status.dropped),
        *((f"  {count}", reason) for reason, count in status.dropped_by_reason.items()),
        ("took", f"{seconds(status.seconds)}{came}"),
        ("ring", f"{status.ring_highest} of {status.ring_slots} frames at most"),
    ]
    if status.latency_seconds:
        facts.append(("latency", f"{latency_text(status.latency_seconds)} from ring to commit"))
    if truth is not None:
        facts.append(("truth", truth))
    print_facts(f"run {status.run}, closed", facts)
