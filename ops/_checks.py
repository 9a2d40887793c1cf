"""What every operation asks of its frames and parameters before it builds anything."""

import math
from collections.abc import Collection, Hashable, Sequence

import numpy as np
import xarray as xr

from forebay.ops.errors import OperationError

REAL_KINDS = "iuf"
MAX_ITEMSIZE = 8


def check_frames(frames: xr.DataArray, dims: Sequence[Hashable], *, name: str = "frames") -> None:
    """Raise `OperationError` unless `frames` is a real, non-empty DataArray that has `dims`."""
    if not isinstance(frames, xr.DataArray):
        raise OperationError(
            f"{name} is a {type(frames).__name__}, but must be an xarray.DataArray; "
            'wrap the array, e.g. xarray.DataArray(array, dims=("t", "y", "x"))'
        )
    if len(set(dims)) != len(dims):
        raise OperationError(f"dims is {tuple(dims)}, but must name each dimension once")
    missing = [dim for dim in dims if dim not in frames.dims]
    if missing:
        raise OperationError(
            f"{name} has the dimensions {frames.dims}, but {missing[0]!r} is needed; "
            "rename one of them or say which to use"
        )
    if frames.dtype.kind not in REAL_KINDS or frames.dtype.itemsize > MAX_ITEMSIZE:
        raise OperationError(
            f"{name} is of dtype {frames.dtype}, but must be an integer, float16, float32 or "
            "float64; convert it first"
        )
    if 0 in frames.shape:
        raise OperationError(f"{name} is empty: its sizes are {dict(frames.sizes)}")


def check_kernel(
    frames: xr.DataArray,
    dims: Sequence[Hashable],
    size: int,
    reason: str,
    *,
    remedy: str = "use a smaller one, or larger frames",
) -> None:
    """Raise `OperationError` if a kernel of `size` pixels exceeds the frames along any of `dims`."""
    for dim in dims:
        if frames.sizes[dim] < size:
            raise OperationError(
                f"frames has {frames.sizes[dim]} pixels along {dim!r}, but {reason} needs "
                f"at least {size}; {remedy}"
            )


def per_dim[Value](
    name: str, value: Value | Sequence[Value], dims: Sequence[Hashable]
) -> tuple[Value, ...]:
    """Return one value for each of `dims`, from one for all of them or from as many as there are."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        return (value,) * len(dims)
    if len(value) != len(dims):
        raise OperationError(
            f"{name} is {value!r}, but must be one number, or one for each of {tuple(dims)}"
        )
    return tuple(value)


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """Return `value` as a float if it is a finite number within the limits given."""
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("above", above), ("at least", least), ("at most", most))
        if limit is not None
    ]
    allowed = " and ".join(["a finite number", *limits])
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise OperationError(f"{name} is {value!r}, but must be {allowed}")
    number = float(value)
    if (
        not math.isfinite(number)
        or (above is not None and not number > above)
        or (least is not None and number < least)
        or (most is not None and number > most)
    ):
        raise OperationError(f"{name} is {value!r}, but must be {allowed}")
    return number


def check_whole(name: str, value: object, *, least: int, odd: bool = False) -> int:
    """Return `value` as an int if it is a whole number, at least `least`, and odd if need be."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | np.integer)
        or value < least
        or (odd and value % 2 == 0)
    ):
        kind = "an odd" if odd else "a"
        hint = "; round it up" if odd else ""
        raise OperationError(
            f"{name} is {value!r}, but must be {kind} whole number, at least {least}{hint}"
        )
    return int(value)


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise `OperationError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise OperationError(
            f"{name} is {value!r}, but must be one of {', '.join(map(repr, allowed))}"
        )
