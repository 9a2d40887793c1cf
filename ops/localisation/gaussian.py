"""Gaussian spots in counted photons: the most likely place, and how certain it is."""

from typing import Any

import xarray as xr

from forebay.ops._checks import check_number
from forebay.ops._tables import Table
from forebay.ops.localisation.likelihood import fitted
from forebay.ops.localisation.spots import localised

PLACES = ("y", "x", "photons", "background")


def gaussian_fit(
    frames: xr.DataArray,
    positions: Table,
    *,
    radius: int,
    sigma: float | None = None,
    gain: float = 1.0,
    offset: float = 0.0,
    read_noise: float = 0.0,
) -> Table:
    """Refine positions to the most likely place of a Gaussian spot, with its lower bound of error.

    Parameters
    ----------
    frames
        Integer or float, with dimensions ``y``, ``x`` and any others; NumPy or CuPy, eager or
        Dask.
    positions
        A table with the columns ``y`` and ``x``, pixels, and the leading dimensions of `frames`,
        such as `find_particles` and `find_blobs` give. With Dask-backed frames it may be a Dask
        table with a partition for each chunk of them.
    radius
        The square that is fitted is ``2 * radius + 1`` pixels wide; its middle is the pixel
        nearest to the position. About three times `sigma`.
    sigma
        Standard deviation of the spots, pixels; None fits each one's.
    gain
        Photons (detected electrons) for each count of the camera.
    offset
        Counts that a pixel without light has.
    read_noise
        Standard deviation of a pixel without light, in electrons.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The rows of `positions` with their index and all their columns, of which ``y`` and ``x``
        are refined. Added, or replaced, are ``photons`` of the spot, ``background`` in photons
        per pixel, ``sigma`` in pixels; for each of the five that is fitted its Cramér-Rao bound,
        ``y_error`` and so on; and ``deviance``, twice the logarithm of how much more likely a
        perfect fit would be: about the number of pixels less that of the parameters where the
        model holds. All are float64, and NaN where the square reaches beyond the frame or holds a
        NaN or infinite pixel, or the fit does not converge within 100 steps.

        Dask-backed frames give a Dask table, a partition for each chunk of frames.

    Raises
    ------
    OperationError
        If a column or dimension is missing, the dtype is not real, a position's frame does not
        exist, or a parameter is out of range.

    Notes
    -----
    A pixel at (i, j) holds ``μ = photons * E(i - y) * E(j - x) + background`` photons in the
    mean, where E is the Gaussian integrated over a pixel, and varies as Poisson says: C. S. Smith,
    N. Joseph, B. Rieger and K. A. Lidke, Nat. Methods 7, 373 (2010). Read noise is
    taken as that many more photons, in pixel and model: F. Huang et al., Nat. Methods 10, 653
    (2013). The bound is the root of the diagonal of the inverse Fisher matrix, ``Σ ∂μ ∂μ / μ``,
    at the fitted place (K. I. Mortensen et al., Nat. Methods 7, 377 (2010)): no
    unbiased estimate varies less. Fits reach it where a spot has some hundred photons or more.

    The likelihood is climbed by Fisher's scoring with the damping of Levenberg and Marquardt, for
    many spots at once. Photons and background stay above 1e-6, the place within the square, a
    fitted sigma from 0.3 pixels to `radius`. A pixel that is below the offset by more than the read
    noise adds counts as none.

    Work is in float64, on up to a million pixels at once: some 200 MB of scratch.

    Float32 is exact.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> y, x = np.mgrid[:20, :20]
    >>> mean = 900 * np.exp(-((y - 9.2) ** 2 + (x - 11.3) ** 2) / 4.5) / (np.pi * 4.5) + 2
    >>> frames = xr.DataArray(np.random.default_rng(1).poisson(mean), dims=("y", "x"))
    >>> found = gaussian_fit(frames, pd.DataFrame({"y": [9], "x": [11]}), radius=5)
    >>> found[["y", "y_error", "x", "x_error"]].round(2)
          y  y_error      x  x_error
    0  9.24     0.06  11.24     0.06
    """
    parameters: dict[str, Any] = {
        "sigma": None if sigma is None else check_number("sigma", sigma, least=0.1),
        "gain": check_number("gain", gain, above=0),
        "offset": check_number("offset", offset),
        "variance": check_number("read_noise", read_noise, least=0) ** 2,
    }
    free = PLACES if sigma is not None else (*PLACES, "sigma")
    columns = (*PLACES, "sigma", *(f"{name}_error" for name in free), "deviance")
    return localised(fitted, frames, positions, radius=radius, columns=columns, kwargs=parameters)
