"""Operations as methods of a DataArray, for use at a prompt: ``frames.fb.bandpass(...)``."""

import functools
from collections.abc import Callable
from typing import Any

import xarray as xr

from forebay.ops.catalogue import operations


@xr.register_dataarray_accessor("fb")  # type: ignore[no-untyped-call]
class FramesAccessor:
    """The operations of `forebay.ops` on a DataArray; it is there once that is imported.

    Examples
    --------
    >>> import numpy as np, xarray as xr, forebay.ops
    >>> frames = xr.DataArray(np.full((1, 32, 32), 100, "uint8"), dims=("t", "y", "x"))
    >>> frames.fb.bandpass(background_sigma=3).equals(
    ...     forebay.ops.bandpass(frames, background_sigma=3)
    ... )
    True
    """

    def __init__(self, frames: xr.DataArray) -> None:
        self._frames = frames

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found = operations().get(name)
        if found is None:
            raise AttributeError(
                f"there is no operation {name!r} on frames; 'forebay ops list' shows those there are"
            )
        return functools.wraps(found.function)(functools.partial(found.function, self._frames))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *operations()]
