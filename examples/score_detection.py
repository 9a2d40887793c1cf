# /// script
# requires-python = ">=3.12"
# dependencies = ["forebay"]
# ///
"""Score an algorithm on frames whose truth is known.

A simulated microscope is recorded, its particles are found, and what was found is compared with
what was there: which fraction of the particles was found, which fraction of what was found is a
particle, and how far off the positions are.

    python examples/score_detection.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import forebay
from forebay import ops
from forebay.acquisition.sources import Scene, SimulatedSource

SCENE = Scene(shape=(256, 256), emitters=20, photons=3000, seed=7)


def score(folder: Path) -> None:
    """Record, find and compare, with the run in `folder`."""
    with SimulatedSource(SCENE, frames=40) as camera:
        forebay.acquire(camera, folder / "scene", frames_per_block=10)
        truth = camera.truth()
    run = forebay.open_run(folder / "scene")
    result = forebay.process(run, "find-particles", diameter=9, minmass=800)
    found = result.table()

    matched, distances = 0, []
    for frame in range(run.frames.sizes["t"]):
        here = found[found["t"] == frame][["y", "x"]].to_numpy()
        there = truth[truth["frame_id"] == frame][["y", "x"]].to_numpy()
        matches = ops.match_points(here, there, distance=1.0)
        matched += len(matches.distance)
        distances.append(matches.distance)
    error = np.sqrt(np.mean(np.concatenate(distances) ** 2))
    print(f"there are {len(truth)} particles in the frames; {len(found)} were found")
    print(f"recall {matched / len(truth):.3f}, precision {matched / len(found):.3f}")
    print(f"root mean square error {error:.3f} pixels")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        score(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            score(Path(temporary))
