"""``forebay acquire``: record a source into a new run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forebay.cli.commands.completion import complete_sources
from forebay.cli.errors import OptionError
from forebay.cli.output import print_facts, print_json, progress, seconds, size
from forebay.cli.session import JsonOption, RunsOption, session
from forebay.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from forebay.acquisition import AcquisitionStatus, FrameSource, ImageMetadata

Compression = Literal["none", "blosc-lz4", "blosc-zstd", "zstd"]


def acquire(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Where frames come from: a folder of PNG or TIFF files, a TIFF, .npy, Zarr or "
            "HDF5 file (path::array), or 'simulated:emitters=50,seed=3'.",
            autocompletion=complete_sources,
        ),
    ],
    run: Annotated[str, typer.Argument(help="Name of the run to make.")],
    runs: RunsOption = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Frames per second; without it, as fast as they can be recorded."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames to take; a recording is repeated as often as needed."),
    ] = None,
    frames_per_block: Annotated[
        int | None, typer.Option(min=1, help="Frames that are committed together.")
    ] = None,
    compression: Annotated[
        Compression | None, typer.Option(help="How the pixels are packed.")
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

    Ctrl-C commits what has come and closes the run in order.
    """
    from forebay import acquire as record
    from forebay.acquisition.sources import open_source

    call = session(context)
    target = call.target(run, runs)
    if target.name == "results" and call.results(None) is None:
        raise OptionError(
            f"{target} is where the results of the runs beside it go: give the run another name, "
            "or set 'results'"
        )
    settings = call.settings.acquisition
    known = _metadata(pixel_size, exposure, rate, instrument or [])
    with (
        stop_on_signals("the frames that have come are being committed") as stop,
        open_source(source, rate=rate, frames=frames, metadata=known) as opened,
        progress("frames") as bars,
    ):
        task = bars.add_task(target.name, total=frames, note="")

        begun = False

        def show(status: "AcquisitionStatus") -> None:
            nonlocal begun
            begun = True
            if as_json:
                print_json({"event": "committed", **_described(status)})
            bars.update(task, completed=status.committed, note=_note(status))

        try:
            status = record(
                opened,
                target,
                frames_per_block=frames_per_block or settings.frames_for(opened.geometry),
                compression=compression or settings.compression,
                buffer_bytes=settings.buffer_bytes,
                stop=stop,
                on_status=show,
            )
        finally:
            truth = _save_truth(opened, target) if begun else None
    if as_json:
        print_json({"event": "closed", **_described(status), "truth": truth})
    else:
        _print(status, truth)


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


def _save_truth(source: "FrameSource", target: Path) -> Path | None:
    """Save beside the run what is known of every particle, where the frames are simulated."""
    from forebay.acquisition.sources import SimulatedSource

    if not isinstance(source, SimulatedSource):
        return None
    path = target.with_name(f"{target.name}.truth.parquet")
    source.write_truth(path)
    return path


def _described(status: "AcquisitionStatus") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(status)


def _note(status: "AcquisitionStatus") -> str:
    lost = f", {status.dropped} dropped" if status.dropped else ""
    return f"ring {status.ring_depth}/{status.ring_slots}{lost}"


def _print(status: "AcquisitionStatus", truth: Path | None) -> None:
    rate = status.committed / status.seconds if status.seconds else 0.0
    facts: list[tuple[str, object]] = [
        ("frames counted", status.counted),
        ("committed", f"{status.committed} ({size(status.bytes)})"),
        ("dropped", status.dropped),
        ("took", f"{seconds(status.seconds)}, {rate:.1f} frames/s"),
        ("ring", f"{status.ring_highest} of {status.ring_slots} frames at most"),
    ]
    if truth is not None:
        facts.append(("truth", truth))
    print_facts(f"run {status.run}, closed", facts)
