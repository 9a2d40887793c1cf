"""Sums over the parts of regions, which add up to those of the whole, and what they tell."""

import math
from collections.abc import Hashable, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from array_api_compat import device

from forebay.ops._arrays import Array, finite_or_nan, namespace, to_host
from forebay.ops._tables import Labels, leading_columns

type Values = npt.NDArray[Any]


class Sums(NamedTuple):
    """Of each part of a region; arrays on the host with the parts along the last axis."""

    frame: Values
    """Which frame, counting through the leading axes, int64."""
    label: Values
    """Which region, int64."""
    pixels: Values
    """How many."""
    position: Values
    """Sum of the positions along each axis."""
    product: Values
    """Sum of the products of two positions, for each pair of axes in order."""
    low: Values
    """Least position along each axis."""
    high: Values
    """Largest position along each axis."""
    light: Values | None
    """Sum of the intensities, and of their products with each position."""
    brightest: Values | None
    """Largest intensity."""


def region_sums(labels: Array, intensities: Array | None, origin: Sequence[int]) -> Sums:
    """Return the sums over the regions of a part of the whole.

    Parameters
    ----------
    labels, intensities : (..., part)
        NumPy or CuPy.
    origin
        Where the part begins along each of the last axes.
    """
    xp = namespace(labels)
    ndim = len(origin)
    stack = xp.reshape(labels, (-1, *labels.shape[labels.ndim - ndim :]))
    frame, *index = xp.nonzero(stack > 0)
    flat = frame
    for size, each in zip(stack.shape[1:], index, strict=True):
        flat = flat * size + each
    number = xp.astype(xp.take(xp.reshape(stack, (-1,)), flat), xp.int64)
    # Counted, since numbers may be as large as they like.
    known, number = xp.unique_inverse(number)
    span = max(known.shape[0], 1)
    keys, part = xp.unique_inverse(frame * span + number)
    size = keys.shape[0]
    place = [each + start for each, start in zip(index, origin, strict=True)]
    wide = [xp.astype(each, xp.float64) for each in place]

    def total(values: Array | None) -> Array:
        return xp.astype(xp.bincount(part, weights=values, minlength=size), xp.float64)

    pairs = combinations_with_replacement(range(ndim), 2)
    light = brightest = None
    if intensities is not None:
        values = xp.take(xp.reshape(intensities, (-1,)), flat)
        values = finite_or_nan(values)
        light = to_host(xp.stack([total(values), *(total(values * each) for each in wide)]))
        brightest = to_host(extreme(values, part, size, largest=True))
    return Sums(
        frame=to_host(keys // span),
        label=to_host(xp.take(known, keys % span)),
        pixels=to_host(total(None)),
        position=to_host(xp.stack([total(each) for each in wide])),
        product=to_host(xp.stack([total(wide[one] * wide[other]) for one, other in pairs])),
        low=to_host(xp.stack([extreme(each, part, size, largest=False) for each in wide])),
        high=to_host(xp.stack([extreme(each, part, size, largest=True) for each in wide])),
        light=light,
        brightest=brightest,
    )


def extreme(values: Array, part: Array, size: int, *, largest: bool) -> Array:
    """Return the largest or the least of `values` for each of `size` parts; NaN if one is."""
    xp = namespace(values)
    start = -xp.inf if largest else xp.inf
    result = xp.full(size, start, dtype=xp.float64, device=device(values))
    gap = xp.isnan(values)
    known = xp.where(gap, xp.full_like(values, start), values)
    (xp.maximum if largest else xp.minimum).at(result, part, known)
    gaps = xp.bincount(part, weights=xp.astype(gap, xp.float64), minlength=size)
    return xp.where(gaps > 0, xp.full_like(result, xp.nan), result)


def added(parts: Sequence[Sums]) -> Sums:
    """Return the sums over whole regions, in the order of frames and labels."""
    frame = np.concatenate([part.frame for part in parts])
    known, label = np.unique(np.concatenate([part.label for part in parts]), return_inverse=True)
    span = max(known.size, 1)
    keys, region = np.unique(frame * span + label, return_inverse=True)

    def total(name: str) -> Values:
        values = np.concatenate([getattr(part, name) for part in parts], axis=-1)
        if values.ndim == 1:
            return np.bincount(region, weights=values, minlength=keys.size)
        return np.stack([np.bincount(region, each, minlength=keys.size) for each in values])

    def end(name: str, *, largest: bool) -> Values:
        values = np.concatenate([getattr(part, name) for part in parts], axis=-1)
        rows = [extreme(each, region, keys.size, largest=largest) for each in np.atleast_2d(values)]
        return np.stack(rows).reshape(*values.shape[:-1], keys.size)

    weighted = parts[0].light is not None
    return Sums(
        frame=keys // span,
        label=known[keys % span],
        pixels=total("pixels"),
        position=total("position"),
        product=total("product"),
        low=end("low", largest=False),
        high=end("high", largest=True),
        light=total("light") if weighted else None,
        brightest=end("brightest", largest=True) if weighted else None,
    )


def region_columns(dims: Sequence[Hashable], *, weighted: bool) -> dict[str, Any]:
    """Return names and dtypes of the columns behind the leading ones."""
    columns: dict[str, Any] = {"label": np.int64, "area": np.int64}
    columns |= {f"{dim}": np.float64 for dim in dims}
    columns |= {f"{dim}_{end}": np.int64 for dim in dims for end in ("start", "stop")}
    columns |= dict.fromkeys(_moment_names(dims), np.float64)
    columns["equivalent_diameter"] = np.float64
    if len(dims) == 2:
        columns |= dict.fromkeys(("major_axis", "minor_axis", "orientation"), np.float64)
    if weighted:
        columns |= dict.fromkeys(("mass", "mean", "max"), np.float64)
        columns |= {f"{dim}_weighted": np.float64 for dim in dims}
    return columns


def _moment_names(dims: Sequence[Hashable]) -> list[str]:
    return [f"moment_{one}_{other}" for one, other in combinations_with_replacement(dims, 2)]


def region_table(
    parts: Sequence[Sums],
    shape: Sequence[int],
    leading: Sequence[Hashable],
    labels: Labels,
    dims: Sequence[Hashable],
) -> pd.DataFrame:
    """Return the table of the regions whose `parts` are given, of frames of a leading `shape`."""
    sums = added(parts)
    count = sums.pixels
    centre = sums.position / count
    pairs = combinations_with_replacement(range(len(dims)), 2)
    moments = [
        product / count - centre[one] * centre[other]
        for product, (one, other) in zip(sums.product, pairs, strict=True)
    ]
    values: dict[str, Values] = {"label": sums.label, "area": count}
    for axis, dim in enumerate(dims):
        values[f"{dim}"] = centre[axis]
        values[f"{dim}_start"] = sums.low[axis]
        values[f"{dim}_stop"] = sums.high[axis] + 1
    values |= dict(zip(_moment_names(dims), moments, strict=True))
    values["equivalent_diameter"] = ball_diameter(count, len(dims))
    if len(dims) == 2:
        names = ("major_axis", "minor_axis", "orientation")
        values |= dict(zip(names, ellipse(*moments), strict=True))
    if sums.light is not None and sums.brightest is not None:
        mass = sums.light[0]
        weight = np.where(mass == 0, np.nan, mass)
        values |= {"mass": mass, "mean": mass / count, "max": sums.brightest}
        for axis, dim in enumerate(dims):
            values[f"{dim}_weighted"] = sums.light[axis + 1] / weight
    types = region_columns(dims, weighted=sums.light is not None)
    places = leading_columns(sums.frame, shape, leading, labels)
    return pd.DataFrame(
        places | {name: values[name].astype(type_) for name, type_ in types.items()}
    )


def ball_diameter(volume: Values, ndim: int) -> Values:
    """Return the diameter of the ball in `ndim` dimensions that has `volume`.

    Examples
    --------
    >>> ball_diameter(np.array([math.pi]), 2), ball_diameter(np.array([3.0]), 1)
    (array([2.]), array([3.]))
    """
    unit = math.pi ** (ndim / 2) / math.gamma(ndim / 2 + 1)
    diameter: Values = 2 * (volume / unit) ** (1 / ndim)
    return diameter


def ellipse(first: Values, mixed: Values, second: Values) -> tuple[Values, Values, Values]:
    """Return both axes and the angle of the ellipse with these central second moments.

    Examples
    --------
    >>> ellipse(np.array([4.0]), np.array([0.0]), np.array([1.0]))
    (array([8.]), array([4.]), array([0.]))
    """
    half = np.hypot((first - second) / 2, mixed)
    middle = (first + second) / 2
    major, minor = (4 * np.sqrt(np.maximum(middle + side, 0)) for side in (half, -half))
    return major, minor, 0.5 * np.arctan2(2 * mixed, first - second)
