"""The linear estimate with the least mean square error, its noise level given or found."""

import math
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype, transforms
from forebay.ops._checks import check_choice, check_frames, check_number
from forebay.ops.deconvolution.overlap import apply_to_frames
from forebay.ops.deconvolution.transfer import Blur, Edge, make_blur, mirrored, point_spread
from forebay.ops.errors import OperationError

type Prior = Literal["flat", "smooth"]
"""How the power of what is looked for goes with frequency: the same at all, or 1 / |Laplacian|²."""

LEAST, MOST = 1e-12, 1e12
"""Between these a ratio of noise to signal is looked for."""

GOLDEN = (math.sqrt(5) - 1) / 2


def wiener(
    frames: xr.DataArray,
    *,
    psf: xr.DataArray,
    noise_to_signal: float,
    prior: Prior = "flat",
    edge: Edge = "reflect",
    overlap: int | None = None,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` with the blur of `psf` undone where the signal is above the noise.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    psf
        The point-spread function, with `dims` alone, its middle at pixel ``size // 2``: nowhere
        negative, adding up to 1 within 1e-3 (and divided by its sum). On the host, or where
        `frames` are.
    noise_to_signal
        The power of the noise by that of the signal, as `prior` has it; above 0. More is smoother.
    prior
        How the signal's power goes with frequency: ``"flat"``, the same at all; ``"smooth"``, as
        one over the square of the Laplacian's, which leaves the mean as it is.
    edge
        What is beyond the edge: ``"reflect"``, the frame mirrored, its edge pixel twice;
        ``"wrap"``, its other side.
    overlap
        How many radii of `psf` of its neighbours a Dask chunk that cuts through `dims` is worked
        on with; for stacks that are larger than memory. Not with ``edge="wrap"``. None merges the
        chunks.
    dims
        The dimensions that the light is spread along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32 (within 4e-6 of the
        largest value of what float64 gives where `noise_to_signal` is 1e-3 or more), or float64
        for float64 frames. Values can be negative.

    Raises
    ------
    OperationError
        If a dimension is missing, a dtype is not real, `psf` is not a point-spread function (of
        a Dask-backed one this is known when it is computed), or a parameter is out of range.

    Notes
    -----
    With the transforms Y of the frame and H of `psf`, and K the noise by the signal at each
    frequency, the result is the inverse transform of ``H* Y / (|H|² + K)``. K is
    `noise_to_signal`, times ``(Σ (2 - 2 cos 2πf))²`` over `dims` for ``"smooth"``, which is Hunt's
    constrained least squares: Gonzalez and Woods, Digital Image Processing, sections 5.8 and 5.9.

    A ``"reflect"`` frame goes through with its mirror images, without a jump anywhere: twice its
    size along each of `dims`. A NaN makes the whole frame NaN. Frames are worked on one at a time;
    a task holds its chunk, and as scratch about nine times one frame, mirrored, in float32.

    Dask chunks that cut through `dims` are merged, lazily; or they are worked on each with its
    `overlap`, and give what the whole gives within 2e-3 of the largest value with two radii, and
    4e-5 with four (a real frame, Gaussian or Airy, `noise_to_signal` of 1e-3 or more).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from forebay.ops import gaussian_psf
    >>> psf = gaussian_psf(sigma=1.5)
    >>> frames = xr.DataArray(np.zeros((1, 32, 32)), dims=("t", "y", "x"))
    >>> frames[0, 10:23, 10:23] = 100 * psf.values
    >>> float(wiener(frames, psf=psf, noise_to_signal=1e-4).max().round()) > 14
    True
    """
    check_frames(frames, dims)
    check_number("noise_to_signal", noise_to_signal, above=0)
    if overlap is not None and edge == "wrap":
        raise OperationError(
            f"overlap is {overlap!r}, but what wraps goes by the whole frame; use edge='reflect', "
            "or overlap=None"
        )
    return _linear(frames, psf, dims, prior, edge, float(noise_to_signal), overlap)


def unsupervised_wiener(
    frames: xr.DataArray,
    *,
    psf: xr.DataArray,
    prior: Prior = "smooth",
    edge: Edge = "reflect",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return what `wiener` does with the ratio of noise to signal that each frame itself tells.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dims`; NumPy or CuPy, eager or Dask.
    psf
        As `wiener` has it.
    prior
        How the signal's power goes with frequency; see `wiener`. ``"smooth"`` suits images.
    edge
        What is beyond the edge; see `wiener`.
    dims
        The dimensions that the light is spread along.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames. Values can be negative.

    Raises
    ------
    OperationError
        As `wiener`.

    Notes
    -----
    The model is that of Orieux, Giovannelli and Rodet, J. Opt. Soc. Am. A 27, 1593 (2010): white
    Gaussian noise, and a Gaussian signal whose power goes as `prior` says. They draw samples of
    both levels and of the image; here the levels are the ones under which the frame is most
    likely, and the image is its mean given them: no random numbers, and the same result each
    time. That is Galatsanos and Katsaggelos, IEEE Trans. Image Process. 1, 322 (1992).

    With the power ``s = |H|² / K₀ + ρ`` that is expected at each frequency, up to a factor, where
    K₀ is the `prior` and ρ the ratio looked for, the likelihood is highest where
    ``n log(Σ |Y|² / s) + Σ log s`` is lowest, over the n frequencies of the real transform but
    zero. The lowest value is looked for from 1e-12 to 1e12, to a part in 1000.

    A frame of one value is given back as it is. A NaN makes the whole frame NaN. Frames are worked
    on one at a time; a task holds its chunk, and as scratch about ten times one frame, mirrored
    for ``"reflect"``, in float32. Some hundred numbers a frame come from a GPU to the host. Dask
    chunks that cut through `dims` are merged, lazily. There is no `overlap`: the ratio is told by the
    spectrum of the whole frame, and each chunk would find another one. For stacks that are larger
    than memory give `wiener`, which has one, the ratio that suits a part of them.

    Float32 is within 4e-6 of the largest value of what float64 gives where the ratio of noise to
    signal that is found is 1e-3 or more; without any noise in the frames it is within 5e-2.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from forebay.ops import gaussian_psf
    >>> psf = gaussian_psf(sigma=1.5)
    >>> noise = np.random.default_rng(1).normal(0, 0.1, (1, 32, 32))
    >>> frames = xr.DataArray(noise, dims=("t", "y", "x"))
    >>> frames[0, 10:23, 10:23] += 400 * psf.values
    >>> 1.5 < float(unsupervised_wiener(frames, psf=psf).max() / frames.max()) < 10
    True
    """
    check_frames(frames, dims)
    return _linear(frames, psf, dims, prior, edge, None, None)


def _linear(
    frames: xr.DataArray,
    psf: xr.DataArray,
    dims: Sequence[Hashable],
    prior: str,
    edge: str,
    ratio: float | None,
    overlap: int | None,
) -> xr.DataArray:
    if not dims:
        raise OperationError("dims is empty, but must name what the light is spread along")
    check_choice("prior", prior, ("flat", "smooth"))
    check_choice("edge", edge, ("reflect", "wrap"))
    spread = point_spread(psf, frames, dims, wrap=edge == "wrap")
    return apply_to_frames(
        estimated,
        frames,
        dims,
        psf=spread,
        overlap=overlap,
        dtype=real_dtype(frames.dtype),
        kwargs={"smooth": prior == "smooth", "wrap": edge == "wrap", "ratio": ratio},
    )


def estimated(array: Array, psf: Array, *, smooth: bool, wrap: bool, ratio: float | None) -> Array:
    """Return the linear estimate of the frames in the last axes, as many as `psf` has.

    Without a `ratio` of noise to signal each frame has the one under which it is most likely.
    """
    xp, ndim = namespace(array), psf.ndim
    real = as_real(array)
    sizes = array.shape[-ndim:]
    blur = make_blur(psf, sizes if wrap else mirrored_shape(sizes, psf.shape), real)
    power = xp.real(blur.transfer) ** 2 + xp.imag(blur.transfer) ** 2
    penalty = laplacian_power(blur, real) if smooth else xp.ones_like(power)
    stack = xp.reshape(real, (-1, *sizes))
    axes = tuple(range(ndim))
    each = []
    for place in range(stack.shape[0]):
        canvas, inner = mirrored(stack[place, ...], blur.shape)
        spectrum = transforms(canvas).rfftn(canvas, axes=axes)
        level = likeliest_ratio(spectrum, power, penalty) if ratio is None else ratio
        gain = xp.conj(blur.transfer) / (power + level * penalty)
        restored = transforms(canvas).irfftn(spectrum * gain, s=blur.shape, axes=axes)
        # A view would keep the mirror images until all frames are done.
        each.append(xp.asarray(restored[inner], copy=True))
    return xp.reshape(xp.stack(each), array.shape)


def mirrored_shape(sizes: Sequence[int], extents: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of frames and their mirror images, which is periodic without a jump."""
    return tuple(
        2 * size * math.ceil(extent / (2 * size))
        for size, extent in zip(sizes, extents, strict=True)
    )


def laplacian_power(blur: Blur, like: Array) -> Array:
    """Return the power of the discrete Laplacian at each point of the real transform."""
    xp, ndim = namespace(like), len(blur.shape)
    total = xp.zeros((1,) * ndim, dtype=xp.float64, device=device(like))
    for axis, size in enumerate(blur.shape):
        count = size // 2 + 1 if axis == ndim - 1 else size
        second = 2 - 2 * np.cos(2 * np.pi * np.arange(count) / size)
        shape = tuple(-1 if other == axis else 1 for other in range(ndim))
        total = total + xp.reshape(xp.asarray(second, device=device(like)), shape)
    return xp.astype(total**2, like.dtype)


def likeliest_ratio(spectrum: Array, power: Array, penalty: Array) -> float:
    """Return the ratio of noise to signal under which the spectrum of a frame is most likely.

    The highest of some ratios evenly spaced in their logarithm, then a golden-section search
    about it. A frame without contrast has the lowest ratio, with which its mean is kept.
    """
    xp = namespace(spectrum)

    def varying(values: Array) -> Array:
        return xp.reshape(xp.astype(values, xp.float64), (-1,))[1:]

    energy = varying(xp.real(spectrum)) ** 2 + varying(xp.imag(spectrum)) ** 2
    if not float(xp.sum(energy)) > 0:
        return LEAST
    signal = varying(power) / varying(penalty)

    def unlikelihood(logarithm: float) -> float:
        expected = signal + math.exp(logarithm)
        scale = math.log(float(xp.mean(energy / expected)))
        return scale + float(xp.mean(xp.log(expected)))

    start, stop = math.log(LEAST), math.log(MOST)
    step = (stop - start) / 32
    best = min((start + step * place for place in range(33)), key=unlikelihood)
    low, high = max(best - step, start), min(best + step, stop)
    while high - low > 1e-3:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if unlikelihood(left) < unlikelihood(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)
