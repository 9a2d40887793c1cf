"""Every pixel beside one at a fixed distance from it, for filters that compare the two."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from array_api_compat import device

from forebay.ops._arrays import Array, namespace


def padded(array: Array, reach: int, axes: Sequence[int]) -> Array:
    """Return `array` with its outermost values repeated `reach` times along `axes`, both ways."""
    xp, where = namespace(array), device(array)
    for axis in axes:
        size = array.shape[axis]
        place = xp.clip(xp.arange(-reach, size + reach, device=where), 0, size - 1)
        array = xp.take(array, place, axis=axis)
    return array


def shifted(array: Array, offset: Mapping[int, int], reach: int) -> Array:
    """Return `array`, without its rim of `reach`, as it lies at `offset` from there."""
    window = [slice(None)] * array.ndim
    for axis, step in offset.items():
        window[axis] = slice(reach + step, array.shape[axis] - reach + step)
    return array[tuple(window)]


def offsets(reach: int, axes: Sequence[int]) -> Iterator[dict[int, int]]:
    """Give all steps of at most `reach` along each of `axes`, in a fixed order.

    Examples
    --------
    >>> list(offsets(1, [0]))
    [{0: -1}, {0: 0}, {0: 1}]
    """
    for steps in product(range(-reach, reach + 1), repeat=len(axes)):
        yield dict(zip(axes, steps, strict=True))
