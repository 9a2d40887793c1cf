"""``forebay demo``: the main job from end to end, on real frames."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli.commands.process import JobProgress, cluster_client
from forebay.cli.errors import DemonstrationError
from forebay.cli.output import print_facts, print_json, progress
from forebay.cli.session import JsonOption, session
from forebay.cli.signals import stop_on_signals
from forebay.errors import ExitCode

if TYPE_CHECKING:
    from rich.progress import Progress

    from forebay.cli.demonstration.summary import Summary

FRAMES = Path("examples/data/bulk_water")
PARTICLES: dict[str, Any] = {"diameter": 11, "minmass": 150, "invert": True}
_BEGIN_SECONDS = 60.0


def demo(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(help="Frames to replay; else the real ones in the checkout's examples."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where runs, results and the picture go.")] = Path(
        "demo"
    ),
    rate: Annotated[float, typer.Option(min=0.1, help="Frames per second.")] = 24.0,
    frames: Annotated[int, typer.Option(min=16, help="Frames to record.")] = 240,
    as_json: JsonOption = False,
) -> None:
    """Replay a camera into a new run, find particles live, and draw what came of it.

    A recording in a process of its own, a live job on the local Dask cluster of the settings,
    and a batch job when the run closes. Ctrl-C ends all of it in order.
    """
    name = f"bulk-water-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    recorded = _frames(source)
    with (
        stop_on_signals("the run is being closed and the cluster ended") as stop,
        progress("frames") as bars,
    ):
        summary = _demonstrate(
            context, recorded, folder, name, rate=rate, frames=frames, stop=stop, bars=bars
        )
    if summary is None:
        run = folder / "runs" / name
        recorded_until = (
            f"what was recorded is in {run}" if run.is_dir() else "nothing was recorded"
        )
        typer.echo(f"stopped; {recorded_until}", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED)
    if as_json:
        print_json(summary)
    else:
        from forebay.cli.demonstration.summary import facts

        print_facts(f"{name}: {rate:g} frames/s for {frames / rate:.0f} s", facts(summary))


def _frames(given: Path | None) -> Path:
    """Return where the frames are: as given, or in the checkout that this package runs from."""
    import forebay

    if given is not None:
        return given
    checkout = Path(forebay.__file__).resolve().parents[2]
    for folder in (Path.cwd(), checkout):
        if (folder / FRAMES).is_dir():
            return folder / FRAMES
    raise DemonstrationError(
        f"the frames of the demonstration, {FRAMES}, are not here: run it in a checkout of the "
        "repository, or name a folder of frames ('forebay demo FOLDER')"
    )


def _demonstrate(
    context: typer.Context,
    source: Path,
    folder: Path,
    name: str,
    *,
    rate: float,
    frames: int,
    stop: threading.Event,
    bars: "Progress",
) -> "Summary | None":
    """Run all of it; None if it was stopped."""
    from forebay import open_run, process
    from forebay.cli.demonstration.picture import draw_picture
    from forebay.cli.demonstration.recording import Recording
    from forebay.cli.demonstration.summary import summarise
    from forebay.engine.errors import JobInterruptedError
    from forebay.engine.execution.events import JobEvent, UnitPublished

    call = session(context)
    folder = folder.absolute()
    runs = folder / "runs"
    _step("starting the local Dask cluster")
    with cluster_client(call, "local") as client:
        if stop.is_set():
            return None
        slots = sum(client.nthreads().values())
        _step(f"recording {frames} frames at {rate:g} frames/s, finding particles in each block")
        recording_bar = bars.add_task("recorded", total=frames, note="")
        spent: list[float] = []

        def show_recording(status: dict[str, Any]) -> None:
            dropped = f"{status['dropped']} dropped" if status["dropped"] else ""
            bars.update(recording_bar, completed=status["committed"], note=dropped)

        live = JobProgress(bars, "processed")

        def show_live(event: JobEvent) -> None:
            live(event)
            if isinstance(event, UnitPublished):
                spent.append(event.seconds)

        arguments = [str(source), name, "--runs", str(runs), "--rate", str(rate)]
        arguments += ["--frames", str(frames), "--frames-per-block", "8"]
        arguments += ["--compression", "blosc-lz4", "--pixel-size", "0.351"]
        try:
            with Recording(arguments, on_status=show_recording) as recording:
                if not recording.wait_until_begun(stop, timeout=_BEGIN_SECONDS):
                    return None
                run = open_run(runs / name)
                results = folder / "results"
                particles = process(
                    run,
                    "find-particles",
                    client=client,
                    results=results,
                    follow=True,
                    stop=stop,
                    on_event=show_live,
                    **PARTICLES,
                )
                recording.finish()
            if stop.is_set():
                return None
            _step("the run is closed; its background and power spectrum, in batch")
            batch = JobProgress(bars, "background-spectrum")
            run = run.refresh()
            spectrum = process(
                run,
                "background-spectrum",
                client=client,
                results=results,
                stop=stop,
                on_event=batch,
            )
        except JobInterruptedError:
            return None
    if stop.is_set():
        return None
    _step("drawing")
    picture = folder / f"{name}.png"
    draw_picture(picture, run, particles, spectrum)
    return summarise(
        run, particles, spectrum, picture=picture, compute_seconds=sum(spent), slots=slots
    )


def _step(what: str) -> None:
    typer.echo(f"{time.strftime('%H:%M:%S')}  {what}", err=True)
