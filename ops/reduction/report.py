"""What a reduction saves, and what it costs."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from forebay.ops._arrays import to_host
from forebay.ops._checks import check_choice, check_frames
from forebay.ops.reduction.companding import Companding

type CompressionName = Literal["zstd", "blosc-zstd", "blosc-lz4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """Bytes before and after, and by how much pixels have changed."""

    bytes_in: int
    """Of the frames, not compressed."""
    bytes_out: int
    """Of the reduced frames, not compressed."""
    stored_in: int
    """Of the frames, compressed chunk by chunk."""
    stored_out: int
    """Of the reduced frames, compressed chunk by chunk."""
    max_error: float | None
    """Largest change of a pixel, in the unit of the frames; None where they have other pixels."""
    max_error_in_noise: float | None
    """The same in standard deviations of each pixel's noise; None without a camera."""

    @property
    def ratio(self) -> float:
        """How many times fewer bytes are stored."""
        return self.stored_in / self.stored_out


def measure_reduction(
    frames: xr.DataArray,
    reduced: xr.DataArray,
    *,
    restored: xr.DataArray | None = None,
    camera: Companding | None = None,
    compression: CompressionName = "zstd",
) -> Reduction:
    """Return how many bytes a reduction saves, and how much it changes pixels.

    This computes both arrays, chunk by chunk, when it is called: it is for choosing parameters on
    some frames of a run.

    Parameters
    ----------
    frames
        Integer or float; NumPy or CuPy, eager or Dask.
    reduced
        What a reduction made of them.
    restored
        The frames as they come back from it, where that takes another step, such as `expand`;
        None takes `reduced`.
    camera
        Whose noise errors are compared with; None does not.
    compression
        As runs have it: ``"zstd"``, or Blosc's with a shuffling of bits before it,
        ``"blosc-zstd"`` or ``"blosc-lz4"``.

    Returns
    -------
    Reduction
        Bytes in and out, as they are and compressed, and the largest error, exact for integers of
        up to 32 bits. A pixel that is NaN on one side only has an infinite error.

    Raises
    ------
    OperationError
        If an array is not real or empty, or a parameter is out of range.

    Notes
    -----
    Memory holds some four chunks for each thread, in float64.

    The error is ``max(abs(frames - restored))``, and of the noise ``max(abs(frames - restored)
    / noise(frames))``.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from forebay.ops import quantise_to_noise
    >>> counts = np.random.default_rng(1).poisson(400, (64, 64)).astype("uint16")
    >>> frames = xr.DataArray(counts, dims=("y", "x"))
    >>> camera = Companding(gain=1, read_noise=1)
    >>> found = measure_reduction(frames, quantise_to_noise(frames, camera), camera=camera)
    >>> found.bytes_in, found.bytes_out, found.ratio > 1.5, found.max_error_in_noise <= 0.5
    (8192, 8192, True, True)
    """
    check_frames(frames, ())
    check_frames(reduced, (), name="reduced")
    check_choice("compression", compression, ("zstd", "blosc-zstd", "blosc-lz4"))
    back = reduced if restored is None else restored
    check_frames(back, (), name="restored")
    from dask.base import compute
    from dask.delayed import delayed

    stored = delayed(stored_bytes)
    sizes = [[stored(block, compression) for block in blocks(each)] for each in (frames, reduced)]
    errors = []
    if back.sizes == frames.sizes:
        pair = back.transpose(*frames.dims).data, frames.data
        errors = [
            delayed(largest_errors)(*both, camera) for both in zip(*paired(*pair), strict=True)
        ]
    (before, after), found = compute(sizes, errors)  # type: ignore[no-untyped-call]
    worst = np.max(found, axis=0).tolist() if found else [None, None]
    return Reduction(
        bytes_in=frames.nbytes,
        bytes_out=reduced.nbytes,
        stored_in=sum(before),
        stored_out=sum(after),
        max_error=worst[0],
        max_error_in_noise=worst[1] if camera is not None else None,
    )


def blocks(frames: xr.DataArray) -> list[Any]:
    """Return the chunks of `frames`, delayed, or the one array that they are."""
    return [frames.data] if frames.chunks is None else list(frames.data.to_delayed().ravel())


def paired(one: Any, other: Any) -> list[list[Any]]:
    """Return the chunks of both arrays, cut alike."""
    from dask.array import asarray
    from dask.array.core import unify_chunks

    axes = tuple(range(one.ndim))
    lazy = [asarray(each, asarray=False) for each in (one, other)]  # type: ignore[no-untyped-call]
    _, lazy = unify_chunks(lazy[0], axes, lazy[1], axes)  # type: ignore[no-untyped-call]
    return [list(each.to_delayed().ravel()) for each in lazy]


def stored_bytes(block: Any, compression: CompressionName) -> int:
    """Return how many bytes `block` takes compressed."""
    import numcodecs

    data = np.ascontiguousarray(to_host(block))
    if compression == "zstd":
        return len(numcodecs.Zstd(level=1).encode(data))
    name, shuffle = compression.removeprefix("blosc-"), numcodecs.Blosc.BITSHUFFLE
    return len(numcodecs.Blosc(cname=name, clevel=5, shuffle=shuffle).encode(data))


def largest_errors(back: Any, block: Any, camera: Companding | None) -> tuple[float, float]:
    """Return the largest difference of two blocks, and the largest in noise of `camera`."""
    one, other = (to_host(each).astype(np.float64) for each in (back, block))
    with np.errstate(invalid="ignore"):
        error = np.abs(one - other)
    gap = np.isnan(one) != np.isnan(other)
    error = np.where(gap, np.inf, np.where(np.isnan(error), 0.0, error))
    if camera is None:
        return float(error.max()), 0.0
    return float(error.max()), float((error / camera.noise(other)).max())
