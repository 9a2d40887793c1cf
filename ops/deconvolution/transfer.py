"""A point-spread function made sure to be one, and blurring with it in Fourier space."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.fft
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, library, namespace, transforms
from forebay.ops._checks import check_frames, check_kernel
from forebay.ops.errors import OperationError

type Edge = Literal["reflect", "wrap"]
"""What is beyond the edge: the frame mirrored there, its edge pixel twice; or its other side."""

NORMALISED = 1e-3
"""The sum of a point-spread function is one, within this."""


def point_spread(
    psf: xr.DataArray, frames: xr.DataArray, dims: Sequence[Hashable], *, wrap: bool
) -> xr.DataArray:
    """Return `psf` with dimensions of its own, in the order of `dims`.

    Raises `OperationError` unless it is a point-spread function for `frames`; the values of a
    Dask-backed one are checked when they are there.
    """
    check_frames(psf, dims, name="psf")
    if len(dims) != len(psf.dims):
        raise OperationError(
            f"psf has the dimensions {psf.dims}, but must have {tuple(dims)} alone; select one"
        )
    where = library(psf.data)
    if where not in ("numpy", library(frames.data)):
        raise OperationError(
            f"psf is held by {where} and frames by {library(frames.data)}, but frames on the host "
            "need it there; bring it to the host"
        )
    if psf.chunks is None:
        check_values(psf.data)
    if wrap:
        for dim in dims:
            reason = "edge='wrap' with this psf"
            check_kernel(frames, [dim], psf.sizes[dim], reason, remedy="crop the psf")
    return xr.DataArray(psf.transpose(*dims).data, dims=[f"psf_{dim}" for dim in dims])


def check_values(psf: Array) -> None:
    """Raise `OperationError` unless `psf` is finite, nowhere negative, and adds up to one."""
    xp = namespace(psf)
    wide = xp.astype(psf, xp.float64, copy=False)
    least, total = float(xp.min(wide)), float(xp.sum(wide))
    if not least >= 0:
        raise OperationError(
            f"psf has the value {least:g}, but light is not negative; take out its background and "
            "clip it, as measured_psf does"
        )
    if not abs(total - 1) <= NORMALISED:
        raise OperationError(
            f"psf adds up to {total:g}, but must add up to 1, within {NORMALISED:g}; "
            "use psf / psf.sum()"
        )


@dataclass(frozen=True)
class Blur:
    """A periodic blur over the last axes of arrays of one shape, and its transpose."""

    transfer: Array
    """The real transform of the point-spread function, its middle at the origin."""
    shape: tuple[int, ...]
    """Of what is blurred, along the last axes."""

    def __call__(self, array: Array, *, transposed: bool = False) -> Array:
        """Return `array` blurred, or correlated with the point-spread function if `transposed`."""
        xp = namespace(array)
        axes = tuple(range(-len(self.shape), 0))
        transfer = xp.conj(self.transfer) if transposed else self.transfer
        fft = transforms(array)
        spectrum = fft.rfftn(array, axes=axes) * transfer
        return fft.irfftn(spectrum, s=self.shape, axes=axes)


def canvas_shape(sizes: Sequence[int], extents: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest shape, quickly transformed, with frames and half a blur around them.

    On it, periodic as it is, no pixel sees two edges of a frame of `sizes`.
    """
    return tuple(
        scipy.fft.next_fast_len(size + extent - 1, real=True)
        for size, extent in zip(sizes, extents, strict=True)
    )


def make_blur(psf: Array, shape: tuple[int, ...], like: Array) -> Blur:
    """Return the blur of arrays of `shape`, in the library, on the device and in the dtype of `like`.

    The point-spread function is divided by its sum.
    """
    check_values(psf)
    xp = namespace(like)
    own = xp.astype(xp.asarray(psf, device=device(like)), xp.float64)
    padded = placed(own / xp.sum(own), shape)
    axes = tuple(range(own.ndim))
    padded = xp.roll(padded, tuple(-(extent // 2) for extent in own.shape), axis=axes)
    return Blur(transforms(padded).rfftn(xp.astype(padded, like.dtype), axes=axes), shape)


def placed(array: Array, shape: Sequence[int]) -> Array:
    """Return zeros of `shape` with `array` in their first corner."""
    xp = namespace(array)
    result = xp.zeros(tuple(shape), dtype=array.dtype, device=device(array))
    result[tuple(slice(0, size) for size in array.shape)] = array
    return result


def mirrored(array: Array, shape: Sequence[int]) -> tuple[Array, tuple[Any, ...]]:
    """Return `array` mirrored at its edges to fill `shape`, and where in the result it lies.

    The last axes are those of `shape`. The edge pixel comes twice: d c b a | a b c d | d c b a.
    """
    xp = namespace(array)
    inner: list[Any] = [...]
    for axis, size in enumerate(shape, start=-len(shape)):
        given = array.shape[axis]
        before = (size - given) // 2
        inner.append(slice(before, before + given))
        if size > given:
            place = (np.arange(size) - before) % (2 * given)
            place = np.minimum(place, 2 * given - 1 - place)
            array = xp.take(array, xp.asarray(place, device=device(array)), axis=axis)
    return array, tuple(inner)
