"""A formula for each pixel by itself, computed in one pass over memory.

On a GPU it is one kernel, whose arithmetic is the function of the same name in ``kernels.cuh``; a
processor takes it a slab of frames at a time, so that what lies between the first step and the
last one stays in its cache. Which of both it is, the array says.
"""

import functools
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import is_cupy_array, is_numpy_array

from forebay.ops._arrays import Array
from forebay.ops._blocks import apply

STRETCH = 2**18
"""Pixels that a processor takes at once.

With fewer, threads that work side by side wait more for each other, between one step and the next,
than the cache saves.
"""

SOURCE = Path(__file__).with_name("kernels.cuh")
"""The functions of a pixel, in C++."""

_IN_C = {"float32": "float", "float64": "double"}

KERNELS: "dict[str, Kernel]" = {}
"""The kernel of each formula, by its name."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A formula as CuPy is told of it."""

    name: str
    """Of the function in `SOURCE`."""
    parameters: tuple[str, ...]
    """Each with its type: ``T`` is that of the pixels, which come first, ``R`` that in which reals
    are worked with."""
    result: str
    """The type of what comes out: one of these, or ``O`` for any."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the parameters are called."""
        return tuple(each.split()[-1] for each in self.parameters)

    @property
    def operation(self) -> str:
        """What is done to a pixel."""
        made = _IN_C.get(self.result, self.result)
        return f"result = {self.name}<{made}>({', '.join(self.names)})"

    def working_in(self, work: str) -> "Kernel":
        """Return the kernel with a type, such as ``"float32"``, in the place of ``R``.

        CuPy tells types by arrays, and all that is worked with may be numbers.
        """
        parameters = tuple(re.sub(r"^R\b", work, each) for each in self.parameters)
        return replace(self, parameters=parameters, result=re.sub(r"^R$", work, self.result))

    def compiled(self) -> Any:
        """Return it as CuPy has it, which compiles it when it is first called."""
        return _elementwise(self)


@functools.cache
def _elementwise(kernel: Kernel) -> Any:
    import cupy

    return cupy.ElementwiseKernel(
        ", ".join(kernel.parameters),
        f"{kernel.result} result",
        kernel.operation,
        f"forebay_{kernel.name}",
        preamble=SOURCE.read_text(),
    )


class Pointwise(Protocol):
    """A block function of `pointwise`."""

    __wrapped__: Callable[..., Array]
    """The formula itself."""

    def __call__(
        self, pixels: Array, *images: Array, names: Sequence[str] = (), dtype: str, **given: Any
    ) -> Array:
        """Return the formula of pixels, in one pass."""


def pointwise(
    *parameters: str, result: str, in_place: bool = False
) -> Callable[[Callable[..., Array]], Pointwise]:
    """Make a block function of a formula, and of the kernel of the same name.

    Parameters
    ----------
    *parameters
        Of the kernel, each with its type.
    result
        Its type.
    in_place
        The formula holds nothing but its result, so that slabs would save nothing.

    Returns
    -------
    Callable
        Takes a formula: a function of an array of pixels, of others that are spread over it, or
        numbers, by keyword, and of the ``dtype`` of its result, by name; also of that which it
        works in, ``work``, if that is another. What it returns is called with the pixels, with
        arrays whose ``names`` are given, and with numbers by keyword.
    """

    def made(formula: Callable[..., Array]) -> Pointwise:
        kernel = Kernel(formula.__name__, parameters, result)
        KERNELS[kernel.name] = kernel

        @functools.wraps(formula)
        def evaluated(
            pixels: Array, *images: Array, names: Sequence[str] = (), dtype: str, **given: Any
        ) -> Array:
            given.update(zip(names, images, strict=True))
            if is_cupy_array(pixels):
                return _launched(kernel, pixels, given, dtype)
            if (
                is_numpy_array(pixels)
                and not in_place
                and pixels.size > STRETCH
                and pixels.ndim > 1
            ):
                return _by_slabs(formula, pixels, given, names, dtype)
            return formula(pixels, **given, dtype=dtype)

        return evaluated

    return made


def apply_pointwise(
    function: Pointwise,
    frames: xr.DataArray,
    *,
    dtype: npt.DTypeLike,
    **given: Any,
) -> xr.DataArray:
    """Apply a block function of `pointwise` to frames.

    Parameters
    ----------
    function
        The block function.
    frames
        Eager or Dask-backed.
    dtype
        Of the result.
    **given
        Its other parameters. Those that are a DataArray have some of the dimensions of `frames`;
        they are brought to the dtype that is worked in.

    Returns
    -------
    xarray.DataArray
        With all that describes `frames`.
    """
    target = np.dtype(dtype)
    images = {name: each for name, each in given.items() if isinstance(each, xr.DataArray)}
    numbers = {name: each for name, each in given.items() if name not in images}
    work = np.dtype(given.get("work", target))
    none: tuple[Hashable, ...] = ()
    return apply(
        function,
        frames,
        none,
        dtype=target,
        beside=[(each.astype(work, copy=False), none) for each in images.values()],
        kwargs={"names": tuple(images), "dtype": target.name, **numbers},
    )


def _launched(kernel: Kernel, pixels: Array, given: dict[str, Any], dtype: str) -> Array:
    """Return what a kernel makes of arrays on a GPU."""
    import cupy

    result = cupy.empty(pixels.shape, dtype)
    values = [given[name] for name in kernel.names[1:]]
    values = [cupy.asarray(each) if isinstance(each, np.ndarray) else each for each in values]
    kernel.working_in(given.get("work", dtype)).compiled()(pixels, *values, result)
    return result


def _by_slabs(
    formula: Callable[..., Array],
    pixels: npt.NDArray[Any],
    given: dict[str, Any],
    names: Sequence[str],
    dtype: str,
) -> npt.NDArray[Any]:
    """Return a formula of all pixels, found for a slab of them at a time.

    A slab is cut from all frames, so that images beside them are read once.
    """
    result = np.empty(pixels.shape, dtype)
    axis = max(range(pixels.ndim - 1), key=lambda each: (pixels.shape[each], each))
    length = pixels.shape[axis]
    step = max(STRETCH * length // pixels.size, 1)
    spread = {name: np.broadcast_to(given[name], pixels.shape) for name in names}
    for start in range(0, length, step):
        slab = (*(slice(None),) * axis, slice(start, start + step))
        cut = {name: image[slab] for name, image in spread.items()}
        result[slab] = formula(pixels[slab], **(given | cut), dtype=dtype)
    return result
