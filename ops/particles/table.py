"""The table of particles that one block of frames gives."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from forebay.ops._arrays import Array, namespace, to_host
from forebay.ops._tables import Labels, leading_columns
from forebay.ops.particles.image import particle_image, spread
from forebay.ops.particles.maxima import local_maxima
from forebay.ops.particles.refinement import Measured, refine

GROUP_PIXELS = 2**22
"""Frames are worked on together up to this many pixels, or one by one if they are larger."""


@dataclass(frozen=True)
class Search:
    """What is looked for; all lengths in pixels."""

    diameter: int
    """Of a particle, odd."""
    minmass: float
    """Particles of this mass or less are left out."""
    separation: float
    """Of two particles nearer than this the brighter is kept."""
    percentile: float
    """Of a frame's positive pixels; a particle's brightest is above."""
    invert: bool
    """Whether particles are darker than their ground."""
    noise_sigma: float
    """Of the Gaussian that smooths noise."""
    window: int
    """Side of the square that the background is averaged over, odd."""
    threshold: float
    """Less than this above the background is nothing."""
    max_iterations: int
    """How often a centroid is taken at most."""
    gamut: float | None
    """What a frame's brightest pixel is scaled to in whole numbers; None does not."""
    margin: int
    """No particle is looked for nearer to the edge than this."""
    peak_window: int
    """Side of the square in which a peak is the brightest pixel."""


def particle_table(
    block: Array,
    leading: Sequence[Hashable],
    labels: Labels,
    search: Search,
) -> pd.DataFrame:
    """Return the particles in `block`.

    Parameters
    ----------
    block : (..., y, x)
        NumPy or CuPy.
    leading
        The names of the leading axes.
    labels
        For each leading axis, what its indices are called.
    search
        What to look for.
    """
    xp = namespace(block)
    shape = block.shape[:-2]
    stack = xp.reshape(block, (-1, *block.shape[-2:]))
    group = max(1, GROUP_PIXELS // (block.shape[-2] * block.shape[-1]))
    starts = [*range(0, stack.shape[0], group), stack.shape[0]]
    found = [
        find_in_stack(stack[start:stop, ...], search, first=start)
        for start, stop in pairwise(starts)
    ]
    columns = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    frame = columns.pop("frame")
    return pd.DataFrame(leading_columns(frame, shape, leading, labels) | columns)


def find_in_stack(stack: Array, search: Search, *, first: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return what was measured of the particles in a stack (n, y, x), and their frames.

    Frames count from `first`. The columns are on the host; everything up to them is done where
    the stack is.
    """
    xp = namespace(stack)
    image, scale, unknown = particle_image(
        stack,
        noise_sigma=search.noise_sigma,
        window=search.window,
        threshold=search.threshold,
        invert=search.invert,
        gamut=search.gamut,
    )
    frame, y, x = local_maxima(
        image, window=search.peak_window, margin=search.margin, percentile=search.percentile
    )
    measured = refine(
        image,
        frame,
        y,
        x,
        radius=search.diameter // 2,
        max_iterations=search.max_iterations,
    )
    columns = [xp.astype(frame, xp.float64), xp.take(scale, frame), *measured]
    if unknown is not None:
        whole = ~touching(unknown, frame, measured, radius=search.diameter // 2)
        columns = [column[whole] for column in columns]
    frames, scales, *columns = to_host(xp.stack(columns))
    particles = dict(zip(Measured._fields, columns, strict=True))
    keep = ~outshone(frames, particles, search.separation)
    particles["mass"] = particles["mass"] / scales
    particles["signal"] = particles["signal"] / scales
    keep &= particles["mass"] > search.minmass
    kept = {name: values[keep] for name, values in particles.items()}
    return {"frame": frames[keep].astype(np.intp) + first, **kept}


def touching(unknown: Array, frame: Array, measured: Measured, *, radius: int) -> Array:
    """Return which particles have a mask, of `radius` pixels, that reaches into `unknown`."""
    xp = namespace(unknown)
    _, rows, columns = unknown.shape
    y, x = (xp.astype(xp.round(centre), xp.int64) for centre in (measured.y, measured.x))
    near = xp.reshape(spread(unknown, radius), (-1,))
    return xp.take(near, (frame * rows + y) * columns + x)


def outshone(
    frames: np.ndarray[Any, Any],
    particles: dict[str, np.ndarray[Any, Any]],
    separation: float,
) -> np.ndarray[Any, Any]:
    """Return which particles have one of more mass nearer than `separation` in their frame.

    Of two with the same mass, the one further to the lower right is kept.
    """
    y, x, mass = particles["y"], particles["x"], particles["mass"]
    lost = np.zeros(mass.size, dtype=bool)
    if mass.size < 2:
        return lost
    apart = np.stack([2 * frames, y / separation, x / separation], axis=-1)
    pairs = cKDTree(apart).query_pairs(1 - 1e-7, output_type="ndarray")
    one, other = pairs[:, 0], pairs[:, 1]
    lesser = mass[one] < mass[other]
    tied = mass[one] == mass[other]
    before = (y + x)[one] <= (y + x)[other]
    lost[np.where(lesser | (tied & before), one, other)] = True
    return lost
