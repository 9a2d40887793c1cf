"""How the light falls off towards the edges, from the frames themselves."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace
from forebay.ops._blocks import apply
from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops.correction.background import background
from forebay.ops.errors import OperationError
from forebay.ops.filters.gaussian import gaussian_filter


def estimate_illumination(
    frames: xr.DataArray,
    *,
    sigma: float | None = None,
    degree: int | None = None,
    average: Literal["mean", "median"] = "mean",
    sample: int | None = None,
    dim: str = "t",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return the smooth part of the average frame, to use as the flat of `flat_field`.

    Parameters
    ----------
    frames
        Integer or float, the camera's offset subtracted, of things that are all over the field in
        the course of time; NumPy or CuPy, eager or Dask.
    sigma
        Standard deviation, pixels, of the Gaussian that the average frame is blurred with; wider
        than what is seen.
    degree
        Of the polynomial in both directions together that is fitted to the average frame: 2 is a
        light that falls off towards the edges. Give either this or `sigma`.
    average
        ``"mean"``, or ``"median"``, which leaves out what passes by (`background`).
    sample
        Read at most this many frames, evenly spaced; None reads all.
    dim
        The dimension to average along.
    dims
        The two dimensions of a frame.

    Returns
    -------
    xarray.DataArray
        Without `dim`; float32, or float64 for float64 frames; same unit as `frames`.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or not one
        of `sigma` and `degree` is given.

    Notes
    -----
    The Gaussian takes the frame to go on with its outermost pixel, which flattens a slope within
    `sigma` of the edge. The polynomial, the sum over ``i + j <= degree`` of ``c yⁱ xʲ`` with the
    least squares, does not, but fits nothing else than such a light. It is fitted in float64. A
    pixel that is NaN in any frame makes NaN of those within reach of the Gaussian, or of the whole
    fit.

    With Dask the average is `background`'s; for a polynomial its chunks are merged to whole
    frames, lazily. A task needs about four float64 frames as scratch.

    Leong, Brady and McGee, J. Clin. Pathol. 56, 619 (2003).

    Float32 is within 3e-7 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:32, :32] / 16 - 1
    >>> light = xr.DataArray(100 - 20 * (y**2 + x**2), dims=("y", "x"))
    >>> frames = light.expand_dims(t=3)
    >>> bool(abs(estimate_illumination(frames, degree=2) - light).max() < 1e-9)
    True
    """
    check_frames(frames, [dim, *dims])
    if (sigma is None) == (degree is None):
        raise OperationError(
            f"sigma is {sigma!r} and degree {degree!r}, but exactly one of them has to be given"
        )
    if len(dims) != 2:
        raise OperationError(f"dims is {tuple(dims)}, but must name two dimensions")
    check_choice("average", average, ("mean", "median"))
    if sigma is not None:
        check_number("sigma", sigma, above=0)
        image = background(frames, dim=dim, method=average, sample=sample)
        return gaussian_filter(image, sigma=sigma, dims=dims)
    order = check_whole("degree", degree, least=0)
    check_kernel(frames, dims, order + 1, f"degree={degree}")
    image = background(frames, dim=dim, method=average, sample=sample)
    return apply(fitted_polynomial, image, dims, dtype=image.dtype, kwargs={"degree": order})


def fitted_polynomial(array: Array, *, degree: int) -> Array:
    """Return the polynomial of `degree` that fits the last two axes best.

    In polynomials that are at right angles to each other on the pixels, each coefficient is a
    projection of its own.
    """
    xp = namespace(array)
    wide = xp.astype(array, xp.float64, copy=False)
    rows, columns = (
        xp.asarray(orthonormal(size, degree), device=device(array)) for size in array.shape[-2:]
    )
    orders = np.arange(degree + 1)
    kept = xp.asarray((np.add.outer(orders, orders) <= degree).astype(float), device=device(array))
    coefficients = xp.matmul(xp.matmul(rows.T, wide), columns) * kept
    fitted = xp.matmul(xp.matmul(rows, coefficients), columns.T)
    return xp.astype(fitted, array.dtype, copy=False)


def orthonormal(size: int, degree: int) -> np.ndarray[Any, Any]:
    """Return polynomials of degree 0 to `degree`, a column each, orthonormal on `size` points."""
    basis: np.ndarray[Any, Any] = np.linalg.qr(
        np.polynomial.legendre.legvander(np.linspace(-1, 1, size), degree)
    )[0]
    return basis
