"""The picture of a demonstration."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from forebay.acquisition import Run, durable
from forebay.cli.demonstration.summary import latencies, particles_per_frame
from forebay.engine import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCENT = "#d1495b"
_LINE = "#30638e"


def draw_picture(path: Path, run: Run, particles: Result, spectrum: Result) -> None:
    """Write a picture of a run and what was found in it, as PNG.

    Parameters
    ----------
    path
        File to write, or to put in the place of an earlier one.
    run
        The closed run.
    particles
        The published particles.
    spectrum
        The published background and spectrum.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplot_mosaic(
        [
            ["frame", "frame", "counts"],
            ["frame", "frame", "latency"],
            ["still", "power", "profile"],
        ],
        height_ratios=[1, 1, 1.1],
    )
    _draw_frame(panels["frame"], run, particles)
    _draw_counts(panels["counts"], run, particles)
    _draw_latency(panels["latency"], run, particles)
    arrays = spectrum.arrays().compute()
    _draw_background(panels["still"], _first_image(arrays["background"]))
    _draw_spectrum(panels["power"], panels["profile"], _first_image(arrays["spectrum"]))
    figure.suptitle(f"{run.name}: {run.history.frames} frames, live on a local Dask cluster")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    with durable.storage_errors(f"the picture {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path.with_name(f".{path.name}.tmp"), path, content.getvalue())


def _first_image(array: xr.DataArray) -> xr.DataArray:
    """Return the first channel of an image that has some."""
    return array.isel(c=0) if "c" in array.dims else array


def _show(axes: "Axes", image: xr.DataArray, title: str, **options: Any) -> None:
    axes.imshow(image.to_numpy(), interpolation="nearest", **options)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_frame(axes: "Axes", run: Run, particles: Result) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle

    frame = _first_image(run.frames.isel(t=-1)).compute()
    table = particles.table()
    found = table[table["t"] == int(frame["t"])]
    chosen = particles.job.parameters
    title = (
        f"frame {int(frame['frame_id'])}: {len(found)} particles of mass > {chosen['minmass']:g}"
    )
    _show(axes, frame, title, cmap="gray")
    circles = [Circle((x, y), chosen["diameter"] / 2) for x, y in found[["x", "y"]].to_numpy()]
    marks = PatchCollection(circles, facecolor="none", edgecolor=_ACCENT, linewidth=1)
    axes.add_collection(marks, autolim=False)


def _elapsed(run: Run) -> Any:
    times = run.frames["timestamp"].to_numpy()
    return (times - times[0]) / np.timedelta64(1, "s")


def _draw_counts(axes: "Axes", run: Run, particles: Result) -> None:
    axes.plot(_elapsed(run), particles_per_frame(particles, run.history.frames), color=_LINE, lw=1)
    axes.set(xlabel="time (s)", ylabel="particles", title="particles in each frame")
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])


def _draw_latency(axes: "Axes", run: Run, particles: Result) -> None:
    waits = latencies(particles)
    stops = [unit.stop - 1 for unit in particles.done if unit.latency is not None]
    axes.plot(_elapsed(run)[stops], waits, ".-", color=_LINE, lw=1)
    axes.axhline(float(np.median(waits)), color=_ACCENT, lw=1, label="median")
    axes.set(
        xlabel="time (s)", ylabel="latency (s)", title="from a block's last frame to its result"
    )
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.legend(frameon=False)


def _draw_background(axes: "Axes", background: xr.DataArray) -> None:
    _show(axes, background, "background of the run", cmap="gray")


def _draw_spectrum(image: "Axes", line: "Axes", power: xr.DataArray) -> None:
    from forebay.ops import radial_average

    _show(
        image,
        power.copy(data=np.log10(np.maximum(power.to_numpy(), np.finfo("float32").tiny))),
        "mean power spectrum (log)",
        cmap="magma",
    )
    profile = radial_average(power)
    line.loglog(profile[profile.dims[0]][1:], profile[1:], color=_LINE)
    line.set(xlabel="spatial frequency (1/pixel)", ylabel="power", title="its radial average")
