"""Regions that touch across the seams between parts, united; all of it on the host."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import device
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from forebay.ops._arrays import Array, namespace, to_host

type Place = tuple[int, ...]
"""Where a part lies: an index for each dimension of the regions."""

type Integers = npt.NDArray[np.int64]


class Part(NamedTuple):
    """What must be known of a part to unite its regions with those of others."""

    origin: Place
    """Its first pixel in the whole."""
    first: list[Integers]
    """For each frame and region, the place of its first pixel, counting through the whole."""
    low: list[npt.NDArray[Any]]
    """For each axis the numbers in the first layer of pixels, (frames, ...)."""
    high: list[npt.NDArray[Any]]
    """For each axis the numbers in the last layer."""


def part_edges(numbers: Array, origin: Place, sizes: Sequence[int]) -> Part:
    """Return the edges of a part, whose regions along its last axes have `numbers`.

    Parameters
    ----------
    numbers : (..., part)
        NumPy or CuPy.
    origin
        The first pixel of the part.
    sizes
        Of the whole.
    """
    xp = namespace(numbers)
    ndim = len(sizes)
    shape = numbers.shape[numbers.ndim - ndim :]
    stack = xp.reshape(numbers, (-1, *shape))
    layers: list[list[npt.NDArray[Any]]] = [[], []]
    for axis in range(1, ndim + 1):
        for layer, index in zip(layers, (0, shape[axis - 1] - 1), strict=True):
            layer.append(
                to_host(xp.take(stack, xp.asarray([index], device=device(stack)), axis=axis))
            )
    first = [_first_pixels(stack[at, ...], origin, sizes) for at in range(stack.shape[0])]
    return Part(origin, first, layers[0], layers[1])


def _first_pixels(frame: Array, origin: Place, sizes: Sequence[int]) -> Integers:
    """Return the place of each region's first pixel in the whole."""
    xp = namespace(frame)
    flat = xp.reshape(frame, (-1,))
    # The stable order of the numbers starts each region with its first pixel.
    order = xp.argsort(flat, stable=True)
    ordered = xp.take(flat, order)
    starts = xp.concat([ordered[:1] > 0, (ordered[1:] != ordered[:-1]) & (ordered[1:] > 0)])
    local = to_host(order[starts])
    index = np.unravel_index(local, frame.shape)
    shifted = [each + start for each, start in zip(index, origin, strict=True)]
    place: Integers = np.ravel_multi_index(tuple(shifted), tuple(sizes)).astype(np.int64)
    return place


def seam_sizes(chunks: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Return the lengths of the parts along each axis, as plain numbers."""
    return tuple(tuple(int(length) for length in lengths) for lengths in chunks)


def merged_numbers(
    places: Sequence[Place],
    parts: Sequence[Part],
    lengths: tuple[tuple[int, ...], ...],
    connectivity: int,
) -> dict[Place, list[Integers]]:
    """Return the new number of each number of each part, for each frame; the ground stays 0.

    Regions of the whole are numbered from 1 in the order of their first pixels.
    """
    by_place = dict(zip(places, parts, strict=True))
    frames = len(parts[0].first)
    result: dict[Place, list[Integers]] = {place: [] for place in places}
    for frame in range(frames):
        counts = [part.first[frame].size for part in parts]
        offsets = dict(zip(places, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
        pairs = [
            pair
            for axis in range(len(lengths))
            for seam in range(len(lengths[axis]) - 1)
            for pair in _touching(by_place, offsets, lengths, axis, seam, frame, connectivity)
        ]
        first = np.concatenate([part.first[frame] for part in parts])
        new = _united(first, pairs)
        for place, part in by_place.items():
            start = offsets[place]
            own = new[start : start + part.first[frame].size]
            result[place].append(np.concatenate([[0], own]))
    return result


def _united(first: Integers, pairs: Sequence[npt.NDArray[Any]]) -> Integers:
    """Return the numbers of regions, united in `pairs`, in the order of their `first` pixels."""
    if first.size == 0:
        return first
    joined = np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs])
    ones = np.ones(len(joined), dtype=np.int8)
    graph = coo_array((ones, (joined[:, 0], joined[:, 1])), shape=(first.size, first.size))
    count, group = connected_components(graph, directed=False)
    earliest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(earliest, group, first)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(earliest)] = np.arange(1, count + 1)
    numbers: Integers = rank[group]
    return numbers


def _touching(
    parts: dict[Place, Part],
    offsets: dict[Place, int],
    lengths: tuple[tuple[int, ...], ...],
    axis: int,
    seam: int,
    frame: int,
    connectivity: int,
) -> Iterator[npt.NDArray[Any]]:
    """Give the pairs of regions that touch across one seam, which goes through the whole."""
    sides = [
        _layer(parts, offsets, lengths, axis, seam + side, frame, high=side == 0) for side in (0, 1)
    ]
    across = [other for other in range(len(lengths)) if other != axis]
    for steps in product((-1, 0, 1), repeat=len(across)):
        if 1 + sum(step != 0 for step in steps) > connectivity:
            continue
        one, other = sides
        for dim, step in zip(across, steps, strict=True):
            keep = [slice(None)] * len(lengths)
            keep[dim] = slice(max(0, -step), min(0, -step) or None)
            one = one[tuple(keep)]
            keep[dim] = slice(max(0, step), min(0, step) or None)
            other = other[tuple(keep)]
        both = (one >= 0) & (other >= 0)
        yield np.unique(np.stack([one[both], other[both]], axis=-1), axis=0)


def _layer(
    parts: dict[Place, Part],
    offsets: dict[Place, int],
    lengths: tuple[tuple[int, ...], ...],
    axis: int,
    index: int,
    frame: int,
    *,
    high: bool,
) -> Integers:
    """Return one layer of pixels of the whole, numbers from 0 over all parts, -1 for the ground."""
    shape = [sum(each) for each in lengths]
    shape[axis] = 1
    layer = np.full(shape, -1, dtype=np.int64)
    for place, part in parts.items():
        if place[axis] != index:
            continue
        own = (part.high if high else part.low)[axis][frame].astype(np.int64)
        where = tuple(
            slice(0, 1) if dim == axis else slice(start, start + length)
            for dim, (start, length) in enumerate(zip(part.origin, own.shape, strict=True))
        )
        layer[where] = np.where(own > 0, own - 1 + offsets[place], -1)
    return layer
