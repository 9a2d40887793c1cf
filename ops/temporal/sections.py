"""Histories of pixels through second-order sections: what a recursive filter does to a block."""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import device, is_numpy_array

from forebay.ops._arrays import Array, as_real, namespace, signal
from forebay.ops.errors import OperationError
from forebay.ops.filters.parts import in_slabs

type Sections = tuple[tuple[float, ...], ...]
"""Second-order sections, six numbers each."""

SECTION = 6
"""The numbers of a second-order section: three of its numerator, three of its denominator."""

MANY = 1024
"""From so many pixels on a processor takes them together; SciPy takes one history after the other."""

GROUP = 4
"""Frames that one product takes, where nobody has to be able to go on after any of them."""

WORK = 2**17
"""Multiplications of one product: few enough that BLAS does not start threads of its own, which
would be in the way of Dask's."""

PRODUCTS = 8
"""Products of a slab: Python has little to do, and what they work on stays in the cache."""


def check_sections(sos: npt.ArrayLike) -> tuple[tuple[float, ...], ...]:
    """Return second-order sections as tuples if they are stable."""
    try:
        sections = np.asarray(sos, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OperationError(f"sos is {sos!r}, but must be numbers, (n, {SECTION})") from error
    if sections.ndim != 2 or sections.shape[1] != SECTION or not len(sections):
        raise OperationError(
            f"sos has the shape {sections.shape}, but must have (n, {SECTION}); "
            'scipy.signal.butter(..., output="sos") makes such ones'
        )
    if not np.isfinite(sections).all() or (sections[:, 3] != 1).any():
        raise OperationError("sos must be finite, with 1 in column 3; divide each section by it")
    first, second = sections[:, 4], sections[:, 5]
    unstable = (abs(second) >= 1) | (abs(first) >= 1 + second)
    if unstable.any():
        raise OperationError(
            f"section {int(unstable.argmax())} of sos is not stable: a pole is on the unit circle "
            "or beyond, and its results would grow without a bound"
        )
    return tuple(tuple(section) for section in sections.tolist())


def through_sections(array: Array, *, sos: Sections, from_first: bool) -> Array:
    """Return `array` filtered along its last axis by `sos`, as if its first value went before."""
    dtype = as_real(array[..., :0]).dtype

    def filtered(slab: Array) -> Array:
        start = first_state(slab, sos, from_first=from_first)
        return after_sections(slab, start, sos, dtype, group=GROUP)[0]

    return in_slabs(filtered, array, [array.ndim - 1], array.shape[-1] * together(sos))


def through_sections_on(
    array: Array, state: Array | None = None, *, sos: Sections, from_first: bool
) -> Array:
    """Return `array` filtered along its last axis, float64, and behind it the state after that.

    The state before is two numbers a section, one section after the other, along the last axis.
    """
    xp, length = namespace(array), array.shape[-1]
    given = xp.astype(as_real(array), xp.float64, copy=False)
    if state is not None:
        given = xp.concat([given, xp.astype(state, xp.float64)], axis=-1)

    def filtered(slab: Array) -> Array:
        if state is None:
            start = first_state(slab, sos, from_first=from_first)
        else:
            numbers = xp.reshape(slab[..., length:], (*slab.shape[:-1], len(sos), 2))
            start = xp.moveaxis(numbers, -2, 0)
        # One frame after the other, so that the last bits do not tell where a block ended.
        result, left = after_sections(slab[..., :length], start, sos, xp.float64, group=1)
        left = xp.reshape(xp.moveaxis(left, 0, -2), (*slab.shape[:-1], 2 * len(sos)))
        return xp.concat([result, left], axis=-1)

    return in_slabs(filtered, given, [array.ndim - 1], given.shape[-1] * together(sos))


def together(sos: Sections) -> int:
    """Return how many pixels are filtered together."""
    return PRODUCTS * pixels_of_a_product(sos)


def pixels_of_a_product(sos: Sections) -> int:
    """Return how many pixels one product takes."""
    return max(WORK // (GROUP + 2 * len(sos)) ** 2, 1)


def first_state(array: Array, sos: Sections, *, from_first: bool) -> Array:
    """Return what sections remember before all frames, (sections, ..., 2), float64."""
    xp, where = namespace(array), device(array)
    if not from_first:
        zero = xp.zeros(1, dtype=xp.float64, device=where)
        return xp.broadcast_to(zero, (len(sos), *array.shape[:-1], 2))
    steady = signal(np.asarray(sos)).sosfilt_zi(np.asarray(sos))
    steady = steady.reshape(len(sos), *(1,) * (array.ndim - 1), 2)
    return xp.asarray(steady, device=where) * xp.astype(as_real(array[..., :1]), xp.float64)


def after_sections(
    array: Array, state: Array, sos: Sections, dtype: Any, *, group: int
) -> tuple[Array, Array]:
    """Return `array` filtered along its last axis in float64, as `dtype`, and the state after it."""
    xp = namespace(array)
    if is_numpy_array(array) and math.prod(array.shape[:-1]) >= MANY:
        return in_groups(array, state, sos, dtype, group)
    wide = xp.astype(as_real(array), xp.float64, copy=False)
    sections = xp.asarray(sos, dtype=xp.float64, device=device(array))
    result, left = signal(array).sosfilt(sections, wide, axis=-1, zi=state)
    return xp.astype(result, dtype, copy=False), left


def in_groups(
    array: np.ndarray[Any, Any],
    state: np.ndarray[Any, Any],
    sos: Sections,
    dtype: Any,
    group: int,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the same with a product of matrices for a few frames at once, which BLAS is made for."""
    shape, length, delays = array.shape[:-1], array.shape[-1], 2 * len(sos)
    number, piece = math.prod(shape), pixels_of_a_product(sos)
    result = np.empty_like(array, dtype=dtype, subok=False)
    # Filled up with zeros, so that all products are alike.
    before = np.zeros((delays + group, -(-number // piece) * piece))
    after = np.zeros_like(before)
    before[:delays, :number].reshape(len(sos), 2, *shape)[...] = np.moveaxis(state, -1, 1)
    for start in range(0, length, group):
        values = array[..., start : start + group]
        rows = delays + values.shape[-1]
        given, made = before[:rows, :number], after[:rows, :number]
        given[delays:].reshape(-1, *shape)[...] = np.moveaxis(values, -1, 0)
        with np.errstate(invalid="ignore"):
            np.matmul(
                steps_matrix(sos, rows - delays),
                in_pieces(before[:rows], piece),
                out=in_pieces(after[:rows], piece),
            )
        if not math.isfinite(given[delays:].sum()):
            # A product has 0 * NaN in the frames before a NaN as well, which it cannot know of.
            hit = ~np.isfinite(given[delays:]).all(axis=0)
            made[:, hit] = one_after_other(given[:, hit], sos)
        result[..., start : start + group] = np.moveaxis(made[delays:].reshape(-1, *shape), 0, -1)
        before, after = after, before
    left = before[:delays, :number].reshape(len(sos), 2, *shape)
    return result, np.moveaxis(left, 1, -1)


def in_pieces(rows: np.ndarray[Any, Any], piece: int) -> np.ndarray[Any, Any]:
    """Return rows as a stack of matrices of so many columns each, without a copy."""
    return rows.reshape(len(rows), -1, piece).transpose(1, 0, 2)


def one_after_other(before: np.ndarray[Any, Any], sos: Sections) -> np.ndarray[Any, Any]:
    """Return what is remembered, and the results, of what was and values that follow each other."""
    matrix, delays = steps_matrix(sos, 1), 2 * len(sos)
    memory, results = before[:delays], []
    for value in before[delays:]:
        with np.errstate(invalid="ignore"):
            step = matrix @ np.concatenate([memory, value[None]])
        memory = step[:delays]
        results.append(step[delays])
    return np.concatenate([memory, results])


@functools.lru_cache(maxsize=64)
def steps_matrix(sos: Sections, steps: int) -> np.ndarray[Any, Any]:
    """Return what makes new memories and results of what sections remember and a few values.

    Direct form II, transposed, two numbers a section, as SciPy has it; the memories come first.

    Examples
    --------
    >>> steps_matrix(((0.5, 0.25, 0.125, 1, -0.5, 0),), 1).tolist()
    [[0.5, 1.0, 0.5], [0.0, 0.0, 0.125], [1.0, 0.0, 0.5]]
    """
    numbers = np.eye(2 * len(sos) + steps)
    memory, results = list(numbers[: 2 * len(sos)]), []
    for value in numbers[2 * len(sos) :]:
        for at, (b0, b1, b2, _, a1, a2) in enumerate(sos):
            result = b0 * value + memory[2 * at]
            memory[2 * at] = b1 * value - a1 * result + memory[2 * at + 1]
            memory[2 * at + 1] = b2 * value - a2 * result
            value = result
        results.append(value)
    return np.stack([*memory, *results])
