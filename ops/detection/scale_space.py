"""The maxima of a frame over place and scale, as the table that one block of frames gives."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from array_api_compat import device
from scipy.spatial import cKDTree

from forebay.ops._arrays import Array, as_real, namespace, ndimage, to_host
from forebay.ops._tables import Labels, leading_columns
from forebay.ops.filters.gaussian import gaussian, gaussian_weights, kernel_radius
from forebay.ops.particles.image import spread

TRUNCATE = 4.0
"""Where the Gaussians end, in standard deviations."""

GROUP_VALUES = 2**22
"""Frames are worked on together up to this many pixels times scales, or one by one."""


@dataclass(frozen=True)
class BlobSearch:
    """What is looked for; all lengths in pixels."""

    sigmas: tuple[float, ...]
    """Standard deviations, ascending at equal ratios."""
    ratio: float
    """Of neighbouring standard deviations."""
    threshold: float
    """Blobs have a larger response."""
    difference: bool
    """Whether the response is a difference of Gaussians, not the Laplacian of one."""
    overlap: float
    """Of two blobs that share more than this part of the smaller, the fainter is left out."""
    invert: bool
    """Whether blobs are darker than their ground."""


def blob_table(
    block: Array, leading: Sequence[Hashable], labels: Labels, *, search: BlobSearch
) -> pd.DataFrame:
    """Return the blobs in `block`, (..., y, x), whose leading axes are named and labelled."""
    xp = namespace(block)
    shape = block.shape[:-2]
    stack = xp.reshape(block, (int(np.prod(shape)), *block.shape[-2:]))
    group = max(1, GROUP_VALUES // (block.shape[-2] * block.shape[-1] * len(search.sigmas)))
    starts = [*range(0, stack.shape[0], group), stack.shape[0]]
    found = np.concatenate(
        [
            blobs_in_stack(stack[start:stop, ...], search, first=start)
            for start, stop in pairwise(starts)
        ],
        axis=1,
    )
    frame, *columns = found[:, ~overlapping(found, search.overlap)]
    places = leading_columns(frame.astype(np.intp), shape, leading, labels)
    return pd.DataFrame(places | dict(zip(("y", "x", "sigma", "signal"), columns, strict=True)))


def blobs_in_stack(stack: Array, search: BlobSearch, *, first: int) -> np.ndarray[Any, Any]:
    """Return frame, y, x, sigma and response of the maxima in `stack`, (n, y, x), on the host.

    Frames count from `first`.
    """
    xp = namespace(stack)
    real = as_real(stack)
    known = xp.isfinite(real)
    gaps = not bool(xp.all(known))
    if gaps:
        real = xp.where(known, real, xp.zeros_like(real))
    space = responses(-real if search.invert else real, search)
    peaks = (space == largest_around(space)) & (space > search.threshold)
    if gaps:
        reach = kernel_radius(search.sigmas[-1] * search.ratio, TRUNCATE)
        peaks = peaks & ~spread(~known, reach)[:, None, ...]
    frame, scale, y, x = xp.nonzero(peaks)
    place = (frame, scale, y, x)
    signal = taken(space, place)
    fine_scale, fine_y, fine_x = (
        xp.astype(place[axis], xp.float64) + parabola_top(space, place, axis) for axis in (1, 2, 3)
    )
    sigma = search.sigmas[0] * search.ratio**fine_scale
    columns = [xp.astype(frame + first, xp.float64), fine_y, fine_x, sigma, signal]
    return to_host(xp.stack(columns))


def responses(stack: Array, search: BlobSearch) -> Array:
    """Return the response of each frame at each scale, (n, scales, y, x)."""
    xp = namespace(stack)
    if not search.difference:
        return xp.stack([laplacian(stack, sigma) for sigma in search.sigmas], axis=1)
    wide = [*search.sigmas, search.sigmas[-1] * search.ratio]
    blurred = [gaussian(stack, sigma=sigma, truncate=TRUNCATE, axes=(-2, -1)) for sigma in wide]
    return xp.stack([one - other for one, other in pairwise(blurred)], axis=1) / (search.ratio - 1)


def laplacian(stack: Array, sigma: float) -> Array:
    """Return ``-σ² ∇²`` of `stack` blurred over `sigma`, along the last two axes."""
    xp, filters = namespace(stack), ndimage(stack)
    weights = gaussian_weights(sigma, TRUNCATE)
    offset = np.arange(weights.size) - weights.size // 2
    curved = (1 - (offset / sigma) ** 2) * weights
    smooth, second = (xp.asarray(each, device=device(stack)) for each in (weights, curved))
    total = None
    for across, along in ((-2, -1), (-1, -2)):
        part = filters.correlate1d(stack, smooth, axis=across, mode="nearest")
        part = filters.correlate1d(part, second, axis=along, mode="nearest")
        total = part if total is None else total + part
    return total


def largest_around(space: Array) -> Array:
    """Return the largest of each value and its neighbours along all axes but the first."""
    filters = ndimage(space)
    for axis in (1, 2, 3):
        space = filters.maximum_filter1d(space, 3, axis=axis, mode="nearest")
    return space


def taken(space: Array, place: Sequence[Array]) -> Array:
    """Return the values of `space` at `place`, an index for each axis, in float64."""
    xp = namespace(space)
    flat = place[0]
    for size, index in zip(space.shape[1:], place[1:], strict=True):
        flat = flat * size + index
    return xp.astype(xp.take(xp.reshape(space, (-1,)), flat), xp.float64)


def parabola_top(space: Array, place: Sequence[Array], axis: int) -> Array:
    """Return how far from each of `place` the parabola through its neighbours on `axis` is highest.

    Half a step at most, and nothing at the ends of the axis.
    """
    xp = namespace(space)
    index, last = place[axis], space.shape[axis] - 1
    inside = (index > 0) & (index < last)
    before, middle, after = (
        taken(space, [*place[:axis], xp.clip(index + step, 0, last), *place[axis + 1 :]])
        for step in (-1, 0, 1)
    )
    bend = before - 2 * middle + after
    curved = inside & (bend < 0)
    top = (before - after) / (2 * xp.where(curved, bend, xp.ones_like(bend)))
    return xp.where(curved, xp.clip(top, -0.5, 0.5), xp.zeros_like(top))


def overlapping(blobs: np.ndarray[Any, Any], limit: float) -> np.ndarray[Any, Any]:
    """Return which of `blobs` share more than `limit` of the smaller with one that is kept.

    The strongest is kept first, and so on down; of equal ones, the first.
    """
    frame, y, x, sigma, signal = blobs
    lost = np.zeros(frame.size, dtype=bool)
    if frame.size < 2 or limit >= 1:
        return lost
    # Frames lie so far apart that no disk reaches from one to another.
    radius = np.sqrt(2) * sigma
    far = 4 * radius.max() + np.ptp(y)
    points = np.stack([y + frame * far, x], axis=-1)
    pairs = cKDTree(points).query_pairs(2 * radius.max(), output_type="ndarray")
    apart = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=-1)
    pairs = pairs[shared(apart, radius[pairs[:, 0]], radius[pairs[:, 1]]) > limit]
    rank = np.empty(frame.size, dtype=np.intp)
    rank[np.argsort(-signal, kind="stable")] = np.arange(frame.size)
    strong_first = np.take_along_axis(pairs, np.argsort(rank[pairs], axis=1), axis=1)
    for strong, weak in strong_first[np.argsort(rank[strong_first[:, 0]], kind="stable")]:
        lost[weak] |= not lost[strong]
    return lost


def shared(
    apart: np.ndarray[Any, Any], one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return which part of the smaller of two disks lies in the other.

    Their radii are `one` and `other`, their middles `apart` from each other.

    Examples
    --------
    >>> shared(np.array([0.0, 3.0, 1.0]), np.ones(3), np.array([2.0, 2.0, 1.0])).round(4)
    array([1.   , 0.   , 0.391])
    """
    distance = np.maximum(apart, 1e-300)
    first, second = (
        np.arccos(np.clip((distance**2 + a**2 - b**2) / (2 * distance * a), -1, 1))
        for a, b in ((one, other), (other, one))
    )
    corner = (one + other - apart) * (apart + one - other) * (apart - one + other)
    chord = np.sqrt(np.maximum(corner * (one + other + apart), 0))
    lens = one**2 * first + other**2 * second - chord / 2
    small = np.minimum(one, other)
    part = np.where(apart <= np.abs(one - other), 1.0, lens / (np.pi * small**2))
    return np.clip(part, 0, 1)
