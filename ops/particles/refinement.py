"""From a bright pixel to the centre of brightness around it, for all particles at once."""

from typing import NamedTuple

import numpy as np
from array_api_compat import device

from forebay.ops._arrays import Array, namespace

MAX_SHIFT = 0.6
"""A centroid further than this from the middle of its mask, in pixels, has the mask moved."""


class Measured(NamedTuple):
    """What was measured of each particle: arrays of shape (particles,), float64."""

    y: Array
    """Centre, pixels from the middle of the first row."""
    x: Array
    """Centre, pixels from the middle of the first column."""
    mass: Array
    """Sum of the image over the mask."""
    size: Array
    """Radius of gyration, pixels."""
    eccentricity: Array
    """0 for a round particle, towards 1 for a line."""
    signal: Array
    """The brightest pixel of the mask."""


def refine(
    image: Array, frame: Array, y: Array, x: Array, *, radius: int, max_iterations: int
) -> Measured:
    """Move a round mask from each pixel until the centroid in it is near its middle; measure there.

    Parameters
    ----------
    image : (n, y, x)
        Nowhere negative.
    frame, y, x : (particles,)
        Where to start: whole numbers, at least `radius` from the edge.
    radius
        Of the mask, pixels.
    max_iterations
        How often the centroid is taken at most.

    Notes
    -----
    The centroid and the moments over the mask: Crocker and Grier, J. Colloid Interface Sci. 179,
    298 (1996). With θ the angle about the middle pixel, which has none and is left out, the
    eccentricity is ``hypot(Σ I cos 2θ, Σ I sin 2θ) / Σ I``. Sums are in float64.
    """
    xp = namespace(image)
    moments, offsets = mask_moments(radius)
    where = device(image)
    dy, dx = (xp.asarray(offset, device=where) for offset in offsets)
    moments = xp.asarray(moments, device=where)
    rows, columns = image.shape[-2:]
    flat = xp.reshape(image, (-1,))
    for iteration in range(max_iterations):
        middle = (frame * rows + y) * columns + x
        index = middle[:, None] + (dy * columns + dx)
        values = xp.reshape(xp.take(flat, xp.reshape(index, (-1,))), index.shape)
        sums = xp.astype(values, xp.float64) @ moments
        mass = xp.where(sums[:, 0] > 0, sums[:, 0], xp.ones_like(sums[:, 0]))
        off_y, off_x = sums[:, 1] / mass, sums[:, 2] / mass
        centre_y, centre_x = off_y + xp.astype(y, xp.float64), off_x + xp.astype(x, xp.float64)
        step_y, step_x = step(off_y), step(off_x)
        if iteration == max_iterations - 1 or not bool(xp.any((step_y != 0) | (step_x != 0))):
            break
        y = xp.clip(y + step_y, radius, rows - 1 - radius)
        x = xp.clip(x + step_x, radius, columns - 1 - radius)
    around = mass - xp.astype(xp.take(flat, middle), xp.float64)
    around = xp.where(around > 0, around, xp.ones_like(around))
    return Measured(
        y=centre_y,
        x=centre_x,
        mass=sums[:, 0],
        size=xp.sqrt(sums[:, 3] / mass),
        eccentricity=xp.hypot(sums[:, 4], sums[:, 5]) / around,
        signal=xp.astype(xp.max(values, axis=-1), xp.float64),
    )


def step(offset: Array) -> Array:
    """Return by how many pixels, -1, 0 or 1, to move a mask whose centroid is off by `offset`."""
    xp = namespace(offset)
    return xp.astype(offset > MAX_SHIFT, xp.int64) - xp.astype(offset < -MAX_SHIFT, xp.int64)


def mask_moments(
    radius: int,
) -> tuple[np.ndarray[tuple[int, int]], tuple[np.ndarray[tuple[int]], np.ndarray[tuple[int]]]]:
    """Return the weights of a round mask's moments, and where its pixels lie about its middle.

    The columns of the weights, shape (pixels, 6), float64: 1, dy, dx, r², cos 2θ, sin 2θ.
    """
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = dy**2 + dx**2 <= radius**2
    dy, dx = dy[inside], dx[inside]
    squared = dy**2 + dx**2
    over = np.where(squared > 0, squared, 1)
    columns = [np.ones(dy.size), dy, dx, squared, (dx**2 - dy**2) / over, 2 * dy * dx / over]
    return np.stack(columns, axis=-1).astype(np.float64), (dy, dx)
