"""How well particles are found: against trackpy on real frames, and against simulated truth.

    python benchmarks/detection_agreement.py [--json] [--repeats N] [--frames N]

The real frames are the 64 of ``examples/data/bulk_water``.  Both programs search the same frames
with the same parameters, in one thread, taking turns in each repetition.  Times are of the
processor, which other work on the machine disturbs less than the clock on the wall; what counts is
their ratio, of which the median, the least and the most are given.
Simulated emitters are counted where the nearest other one is two diameters away.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is loaded

import numpy as np
import numpy.typing as npt
import pandas as pd
import trackpy
import xarray as xr
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from scipy.special import ndtr
from trackpy.try_numba import NUMBA_AVAILABLE

from forebay.acquisition.sources.simulated.scene import Scene
from forebay.acquisition.sources.simulated.source import SimulatedSource
from forebay.ops import find_particles, match_points

DATA = Path(__file__).parents[1] / "examples" / "data" / "bulk_water"
DIAMETER, MINMASS = 11, 300
NEAR = 0.1
SIMULATED_DIAMETER = 9
PHOTONS = (500, 1000, 2000, 5000, 20_000)

type Points = npt.NDArray[np.float64]
type Figures = dict[str, Any]


def real_frames(count: int) -> npt.NDArray[np.uint8]:
    """Return the first `count` real frames, (t, y, x)."""
    files = sorted(DATA.glob("*.png"))[:count]
    return np.stack([np.asarray(Image.open(file)) for file in files])


def ours(frames: npt.NDArray[np.uint8]) -> pd.DataFrame:
    """Return what `find_particles` finds."""
    stack = xr.DataArray(frames, dims=("t", "y", "x"))
    found = find_particles(stack, diameter=DIAMETER, minmass=MINMASS, invert=True)
    assert isinstance(found, pd.DataFrame)
    return found


def theirs(frames: npt.NDArray[np.uint8]) -> pd.DataFrame:
    """Return what trackpy finds."""
    located = [
        trackpy.locate(frame, DIAMETER, minmass=MINMASS, invert=True).assign(t=number)
        for number, frame in enumerate(frames)
    ]
    table: pd.DataFrame = pd.concat(located, ignore_index=True)
    return table


def places(table: pd.DataFrame, frame: str) -> Points:
    """Return the points of a table, with frames too far apart to be matched."""
    return table[[frame, "y", "x"]].to_numpy(np.float64) * [1e5, 1, 1]


def agreement(found: pd.DataFrame, reference: pd.DataFrame) -> Figures:
    """Return how much of one table is in the other."""
    near = match_points(places(found, "t"), places(reference, "t"), distance=NEAR)
    same = match_points(places(found, "t"), places(reference, "t"), distance=1e-4)
    return {
        "ours": len(found),
        "trackpy": len(reference),
        "of_trackpy_found": len(near.found) / len(reference),
        "of_ours_in_trackpy": len(near.found) / len(found),
        "of_trackpy_found_within_1e-4_px": len(same.found) / len(reference),
        "median_distance_px": float(np.median(near.distance)),
        "largest_distance_px": float(near.distance.max()),
    }


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that something takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def speed(frames: npt.NDArray[np.uint8], repeats: int) -> Figures:
    """Return how long both take, in turns: the other one goes first every second time."""
    pair = {"ours": lambda: ours(frames), "trackpy": lambda: theirs(frames)}
    seconds: dict[str, list[float]] = {name: [] for name in pair}
    for repeat in range(repeats):
        for name in sorted(pair, reverse=bool(repeat % 2)):
            seconds[name].append(timed(pair[name]))
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["trackpy"], strict=True)]
    return {
        "frames": len(frames),
        "repeats": repeats,
        "trackpy_engine": "numba" if NUMBA_AVAILABLE else "python (numba is not installed)",
        "ours_ms_per_frame": 1e3 * statistics.median(seconds["ours"]) / len(frames),
        "trackpy_ms_per_frame": 1e3 * statistics.median(seconds["trackpy"]) / len(frames),
        "times_as_fast": statistics.median(ratios),
        "times_as_fast_least": min(ratios),
        "times_as_fast_most": max(ratios),
    }


def simulated(photons: float, frames: int = 20) -> Figures:
    """Return recall, precision and position error for emitters of so many photons."""
    scene = Scene(shape=(256, 256), emitters=40, photons=photons, diffusion=4.0, seed=3)
    with SimulatedSource(scene, frames=frames) as source:
        stack = np.stack([frame.data for frame in source.frames()])
        truth = source.truth()
    found = find_particles(
        xr.DataArray(stack, dims=("frame_id", "y", "x")),
        diameter=SIMULATED_DIAMETER,
        minmass=0.3 * photons,
    )
    assert isinstance(found, pd.DataFrame)
    here, there = places(found, "frame_id"), places(truth, "frame_id")
    matches = match_points(here, there, distance=2)
    isolated = cKDTree(there).query(there, k=2)[0][:, 1] > 2 * SIMULATED_DIAMETER
    inside = (there[:, 1:] > SIMULATED_DIAMETER) & (there[:, 1:] < 255 - SIMULATED_DIAMETER)
    isolated &= inside.all(axis=1)
    known = isolated[matches.truth]
    off = (here[matches.found] - there[matches.truth])[known, 1:]
    error, limit = float(np.sqrt((off**2).mean())), photon_limit(scene)
    return {
        "photons": photons,
        "isolated": int(isolated.sum()),
        "recall": float(known.sum() / isolated.sum()),
        "precision": len(matches.found) / len(found),
        "rms_error_px": error,
        "photon_limit_px": limit,
        "error_over_limit": error / limit,
    }


def photon_limit(scene: Scene) -> float:
    """Return the Cramér–Rao bound on the standard error of y or x, pixels.

    Noise as in Huang et al., Nature Methods 10, 653 (2013): a pixel that expects m photons has the
    variance m + read_noise²; the information is Σ (∂m/∂y)² / (m + read_noise²).
    """
    edges = np.arange(-15, 16) - 0.5

    def fractions(centre: float) -> Points:
        return np.asarray(np.diff(ndtr((edges - centre) / scene.sigma)))

    bounds = []
    for place in np.linspace(-0.5, 0.5, 11):
        along = (fractions(place + 1e-4) - fractions(place - 1e-4)) / 2e-4
        slope = scene.photons * np.outer(along, fractions(0))
        mean = scene.photons * np.outer(fractions(place), fractions(0)) + scene.background
        bounds.append(1 / (slope**2 / (mean + scene.read_noise**2)).sum())
    return float(np.sqrt(np.mean(bounds)))


def printed(title: str, rows: Sequence[Figures]) -> Table:
    """Return figures as a table: one row each, or name and value if there is but one."""

    def text(value: object) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    if len(rows) == 1:
        table = Table("", "", title=title, title_justify="left", show_header=False)
        for name, value in rows[0].items():
            table.add_row(name.replace("_", " "), text(value))
        return table
    table = Table(*(name.replace("_", " ") for name in rows[0]), title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(text, row.values()))
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--repeats", type=int, default=5, help="of the timing (default 5)")
    parser.add_argument("--frames", type=int, default=64, help="real frames to take (default 64)")
    arguments = parser.parse_args()
    trackpy.quiet()
    # trackpy calls pandas and itself in ways that they have announced to drop.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    frames = real_frames(arguments.frames)
    figures: dict[str, Any] = {
        "agreement": agreement(ours(frames), theirs(frames)),
        "speed": speed(frames, arguments.repeats),
        "simulated": [simulated(photons) for photons in PHOTONS],
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    console = Console(width=110)
    real = f"{len(frames)} real frames, {frames.shape[1]} × {frames.shape[2]}"
    console.print(
        printed(f"Agreement with trackpy on {real}, within {NEAR} px", [figures["agreement"]])
    )
    console.print(printed(f"Speed on {real}", [figures["speed"]]))
    console.print(printed("Simulated emitters, σ = 1.5 px", figures["simulated"]))


if __name__ == "__main__":
    main()
