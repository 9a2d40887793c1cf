"""Bringing channels onto each other."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, library, namespace, ndimage, real_dtype, to_host
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.registration.correlation import AXIS, phase_correlation
from forebay.ops.registration.shifting import MODES, Beyond, correct_drift

TERM = "term"
"""The second dimension of an affine transform: a factor for each axis, then what is added."""

CONSTANT = "1"

DECIMALS = 12


def fit_affine(
    points: npt.ArrayLike, reference: npt.ArrayLike, *, dims: Sequence[Hashable] = ("y", "x")
) -> xr.DataArray:
    """Return the affine transform that brings `reference` points nearest to `points`.

    Parameters
    ----------
    points : (n, number of dims)
        Where beads lie in a channel, pixels.
    reference : (n, number of dims)
        Where the same beads lie in the channel that the others are brought onto, in the same
        order; see `match_points`.
    dims
        What the columns are along.

    Returns
    -------
    xarray.DataArray
        Float64, with ``axis`` and ``term``: a point is the sum over ``term`` of this times the
        reference point, with 1 as its last value.

    Raises
    ------
    OperationError
        If the points do not fit each other, are not finite, are too few, or lie in a line.

    Notes
    -----
    Least squares over all points; one more than there are `dims` is enough, and ten or more over
    the whole field are good. Rounded to 1e-12.

    It is the ``T`` with the least ``Σ |T (reference, 1) - points|²``: `numpy.linalg.lstsq`. A
    NaN among the points is refused.

    Examples
    --------
    >>> fit_affine([(1, 2), (1, 5), (4, 2)], [(0, 0), (0, 3), (3, 0)]).values + 0.0
    array([[1., 0., 1.],
           [0., 1., 2.]])
    """
    there, here = (np.asarray(each, dtype=np.float64) for each in (points, reference))
    count = len(dims)
    if there.shape != here.shape or there.ndim != 2 or there.shape[1] != count:
        raise OperationError(
            f"points is of shape {there.shape} and reference of {here.shape}, but both must be "
            f"(n, {count}), a row a point"
        )
    if not (np.isfinite(there).all() and np.isfinite(here).all()):
        raise OperationError("points or reference has a value that is not finite; drop its row")
    design = np.column_stack([here, np.ones(len(here))])
    if len(here) <= count or np.linalg.matrix_rank(design) <= count:
        raise OperationError(
            f"reference has {len(here)} points, but must have at least {count + 1} that do not lie "
            "in one line or plane; add some"
        )
    # Rounded, points that lie where they should lie give the identity, which loses no edge.
    solution = np.round(np.linalg.lstsq(design, there, rcond=None)[0].T, DECIMALS)
    names = [str(dim) for dim in dims]
    coords = {AXIS: names, TERM: [*names, CONSTANT]}
    return xr.DataArray(solution, dims=(AXIS, TERM), coords=coords)


def align_channels(
    frames: xr.DataArray,
    *,
    dim: str = "c",
    reference: int = 0,
    transforms: xr.DataArray | None = None,
    order: int = 3,
    edge: Beyond = "nan",
    upsampling: int = 20,
    window: Literal["hann"] | None = "hann",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return `frames` with each channel brought onto the one of `reference`.

    Parameters
    ----------
    frames
        Integer or float, any dimensions that include `dim` and `dims`; NumPy or CuPy, eager or
        Dask.
    dim
        The dimension of the channels.
    reference
        The index of the channel that stays.
    transforms
        As `fit_affine` gives them, one for each channel, put together along `dim`; on the host.
        None finds a displacement for each channel from the frames.
    order
        Of the splines, 0 to 5.
    edge
        What comes in from beyond the edge, as in `correct_drift`.
    upsampling
        As in `phase_correlation`, where displacements are found.
    window
        As in `phase_correlation`.
    dims
        The dimensions of an image.

    Returns
    -------
    xarray.DataArray
        Same dimensions, coordinates, name, attributes and unit; float32, or float64 for float64
        frames.

    Raises
    ------
    OperationError
        If a dimension is missing, a dtype is not real, `transforms` does not fit, or a parameter is
        out of range.

    Notes
    -----
    Displacements are found by `phase_correlation` between the means of each channel over all
    other dimensions: the same for all frames, and right only where the channels show the same
    things. A channel without contrast, or with a NaN, becomes NaN.

    With transforms, the result at p is the channel at ``Σ transform · (p, 1)``:
    `scipy.ndimage.affine_transform`. A NaN spreads as in `correct_drift`. As scratch a task needs
    some six times one frame in float64. Dask chunks that cut through `dims` are merged, lazily.

    Float32 is within 3e-6 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> image = np.random.default_rng(1).normal(size=(32, 32))
    >>> channels = np.stack([image, np.roll(image, 2, axis=1)])
    >>> aligned = align_channels(xr.DataArray(channels, dims=("c", "y", "x")), edge="wrap")
    >>> np.allclose(aligned[1], image)
    True
    """
    check_frames(frames, [dim, *dims])
    if dim in dims:
        raise OperationError(f"dim is {dim!r}, but must not be one of dims, {tuple(dims)}")
    count = frames.sizes[dim]
    check_number("reference", check_whole("reference", reference, least=0), most=count - 1)
    check_number("order", check_whole("order", order, least=0), most=5)
    check_choice("edge", edge, MODES)
    if transforms is not None:
        matrices = fitting_transforms(transforms, frames, dim, dims)
        return apply(
            transformed,
            frames,
            dims,
            dtype=real_dtype(frames.dtype),
            beside=[(matrices, [AXIS, TERM])],
            kwargs={"order": order, "edge": edge},
        )
    others = [each for each in frames.dims if each not in (dim, *dims)]
    images = frames.drop_vars(frames.coords).mean(others, skipna=False, dtype=np.float64)
    images = images.astype(real_dtype(frames.dtype))
    shifts = phase_correlation(
        images, images.isel({dim: reference}), upsampling=upsampling, window=window, dims=dims
    )
    return correct_drift(frames, shifts, order=order, edge=edge, dims=dims)


def fitting_transforms(
    transforms: xr.DataArray, frames: xr.DataArray, dim: Hashable, dims: Sequence[Hashable]
) -> xr.DataArray:
    """Return `transforms` in the order of `dims`; raise `OperationError` unless they fit."""
    check_frames(transforms, [dim, AXIS, TERM], name="transforms")
    names = [str(dim) for dim in dims]
    labels = [
        transforms[each].to_numpy().tolist() if each in transforms.coords else None
        for each in (AXIS, TERM)
    ]
    if (
        transforms.ndim != 3
        or transforms.sizes[dim] != frames.sizes[dim]
        or sorted(map(str, labels[0] or [])) != sorted(names)
        or sorted(map(str, labels[1] or [])) != sorted([*names, CONSTANT])
        or library(transforms.data) != "numpy"
    ):
        raise OperationError(
            f"transforms has the sizes {dict(transforms.sizes)} and the labels {labels}, but must "
            f"have one of what fit_affine gives for each of {frames.sizes[dim]} along {dim!r}, on "
            f"the host; use xarray.concat([...], {dim!r})"
        )
    return transforms.sel({AXIS: names, TERM: [*names, CONSTANT]})


def transformed(array: Array, matrices: Array, *, order: int, edge: str) -> Array:
    """Return the frames in the last axes taken from where `matrices` say."""
    xp = namespace(array)
    real = as_real(array)
    ndim = matrices.shape[-2]
    own = np.broadcast_to(to_host(matrices), (*real.shape[:-ndim], ndim, ndim + 1))
    own = own.reshape(-1, ndim, ndim + 1).astype(np.float64)
    stack = xp.reshape(real, (-1, *real.shape[-ndim:]))
    options: dict[str, Any] = {"order": order, "mode": MODES[edge], "cval": float("nan")}
    each = []
    for number, matrix in enumerate(own):
        if np.isfinite(matrix).all():
            place = xp.asarray(matrix[:, :-1], device=device(real))
            offset = matrix[:, -1].tolist()
            image = ndimage(real).affine_transform(
                stack[number, ...], place, offset=offset, **options
            )
        else:
            image = xp.full_like(stack[number, ...], xp.nan)
        each.append(image)
    return xp.reshape(xp.stack(each), real.shape)
