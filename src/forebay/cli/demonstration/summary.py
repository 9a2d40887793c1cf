"""The figures of a demonstration."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forebay.acquisition import Run
from forebay.engine import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a demonstration has measured."""

    run: str
    """Folder of the run."""
    particles: str
    """Folder of the live job's result."""
    spectrum: str
    """Folder of the batch job's result."""
    picture: str
    """File of the picture."""
    frames_counted: int
    """Frames that the camera counted."""
    frames_recorded: int
    """Frames that were committed."""
    frames_dropped: int
    """Frames that were dropped, and written down."""
    frames_processed: int
    """Frames whose particles are published."""
    particles_per_frame_mean: float
    """Mean number of particles in a frame."""
    particles_per_frame_deviation: float
    """Standard deviation of the number of particles in a frame."""
    latency_median_seconds: float
    """Median over blocks of the time from a block's last frame to its published particles."""
    latency_p99_seconds: float
    """99th percentile of the same."""
    frames_per_second: float
    """Frames recorded in a second, from the first frame to the last."""
    bytes_per_second: float
    """Bytes of pixels recorded in a second."""
    processing_frames_per_second: float
    """Frames that all workers together could process in a second."""


def summarise(
    run: Run,
    particles: Result,
    spectrum: Result,
    *,
    picture: Path,
    compute_seconds: float,
    slots: int,
) -> Summary:
    """Return the figures of a run and its results.

    Parameters
    ----------
    run
        The closed run.
    particles
        The published particles.
    spectrum
        The published background and spectrum.
    picture
        Where the picture is.
    compute_seconds
        Time that the workers spent on the particles, all units together.
    slots
        How many units are computed at the same time.
    """
    counts = particles_per_frame(particles, run.history.frames)
    waits = latencies(particles)
    first, last = run.blocks[0].timestamps[0], run.blocks[-1].timestamps[1]
    frames = run.history.frames
    rate = (frames - 1) / max((last - first) / 1e9, 1e-9)
    dropped = sum(each.count for each in run.dropped)
    return Summary(
        run=run.location,
        particles=str(particles.path),
        spectrum=str(spectrum.path),
        picture=str(picture),
        frames_counted=frames + dropped,
        frames_recorded=frames,
        frames_dropped=dropped,
        frames_processed=particles.frames,
        particles_per_frame_mean=float(counts.mean()),
        particles_per_frame_deviation=float(counts.std()),
        latency_median_seconds=float(np.median(waits)),
        latency_p99_seconds=float(np.percentile(waits, 99)),
        frames_per_second=rate,
        bytes_per_second=rate * run.layout.geometry.frame_bytes,
        processing_frames_per_second=slots * particles.frames / max(compute_seconds, 1e-9),
    )


def particles_per_frame(particles: Result, frames: int) -> npt.NDArray[np.int64]:
    """Return how many particles there are in each frame."""
    return np.bincount(particles.table()["t"].to_numpy(), minlength=frames)


def latencies(particles: Result) -> npt.NDArray[np.float64]:
    """Return the seconds from each block's last frame to its published part."""
    return np.array([unit.latency for unit in particles.done if unit.latency is not None])


def facts(summary: Summary) -> Iterator[tuple[str, Any]]:
    """Yield the figures for people."""
    from forebay.cli.output import seconds, size

    mean, deviation = summary.particles_per_frame_mean, summary.particles_per_frame_deviation
    yield "frames recorded", f"{summary.frames_recorded} of {summary.frames_counted} counted"
    yield "frames dropped", summary.frames_dropped
    yield "frames processed", summary.frames_processed
    yield "particles per frame", f"{mean:.1f} ± {deviation:.1f}"
    median, p99 = seconds(summary.latency_median_seconds), seconds(summary.latency_p99_seconds)
    yield "latency", f"median {median}, p99 {p99} (last frame of a block to its particles)"
    yield (
        "recorded",
        f"{summary.frames_per_second:.1f} frames/s, {size(summary.bytes_per_second)}/s",
    )
    yield "could process", f"{summary.processing_frames_per_second:.0f} frames/s on these workers"
    yield "run", summary.run
    yield "particles", summary.particles
    yield "background, spectrum", summary.spectrum
    yield "picture", summary.picture
