"""Blobs in frames: what the user asks for, checked, and the table given back."""

from typing import Literal

import numpy as np
import xarray as xr

from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops._tables import Table, table_of_frames
from forebay.ops.detection.scale_space import TRUNCATE, BlobSearch, blob_table
from forebay.ops.errors import OperationError
from forebay.ops.filters.gaussian import kernel_radius

SPACE = ("y", "x")
COLUMNS = ("y", "x", "sigma", "signal")


def find_blobs(
    frames: xr.DataArray,
    *,
    min_sigma: float,
    max_sigma: float,
    threshold: float,
    method: Literal["log", "dog"] = "log",
    scales: int = 8,
    overlap: float = 0.5,
    invert: bool = False,
) -> Table:
    """Return a table of the bright round spots of any size in each frame.

    Parameters
    ----------
    frames
        Integer or float, with dimensions ``y``, ``x`` and any others; NumPy or CuPy, eager or
        Dask.
    min_sigma, max_sigma
        Standard deviation, pixels, of the smallest and the largest blob that is looked for. A
        disk of radius r is found at ``r / sqrt(2)``.
    threshold
        Blobs have a response above this, in the unit of `frames`. A Gaussian spot of height A
        has the response A / 2 at its own scale, a disk of height A has ``2 A / e``.
    method
        ``"log"``, the Laplacian of Gaussians, or ``"dog"``, the difference of two Gaussians, which
        comes near to it for half the work.
    scales
        How many there are, at equal ratios from `min_sigma` to `max_sigma`; at least 2.
    overlap
        Of two blobs, taken as disks of radius ``sqrt(2) * sigma``, whose common area is more than
        this part of the smaller one, the one with less response is left out; 1 keeps all.
    invert
        Whether blobs are darker than their ground.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        A row a blob, in the order of the frames. The columns are the leading dimensions of
        `frames` (their coordinates, or else indices), then, float64: ``y`` and ``x``, pixels, 0
        in the middle of the first pixel; ``sigma``, pixels; ``signal``, the response at the
        nearest pixel and scale, in the unit of `frames`.

        Eager frames give a pandas table. Dask-backed frames give a Dask one: nothing is computed,
        a partition is what one chunk of frames gives, and its index starts anew in each.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than the largest blob.

    Notes
    -----
    The responses are ``-σ² ∇²(G(σ) * f)`` and ``(G(σ) * f - G(kσ) * f) / (k - 1)`` with the ratio
    k of neighbouring scales: T. Lindeberg, Int. J. Comput. Vis. 30, 79 (1998); D. G. Lowe, Int.
    J. Comput. Vis. 60, 91 (2004). A blob is a pixel that no neighbour in y, x and scale exceeds; a
    parabola along each of the three, through the neighbours, refines it by at most half a step.
    They are the maxima that ``skimage.feature.blob_log`` and ``blob_dog`` find, which do not
    refine them, and prune them by size instead of response.

    Beyond the edge a frame goes on with its outermost pixel. Nothing is found where a NaN or
    infinite pixel is within reach of the largest filter, four times its standard deviation.

    Chunks that cut through ``y`` or ``x`` are merged, lazily. Needs three float32 copies of a
    frame for each scale as scratch. On a GPU the frames stay there; the table is what comes back
    to the host.

    Float32 is within 1e-5 of the largest value of each column where the same points are highest.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:64, :64]
    >>> spot = 200 * np.exp(-((y - 20.2) ** 2 + (x - 40.4) ** 2) / (2 * 3**2))
    >>> frames = xr.DataArray(spot[None], dims=("t", "y", "x"), coords={"t": [0.5]})
    >>> find_blobs(frames, min_sigma=1.5, max_sigma=6, threshold=20).round(1)
         t     y     x  sigma  signal
    0  0.5  20.2  40.4    3.0    98.0
    """
    check_frames(frames, SPACE)
    check_choice("method", method, ("log", "dog"))
    check_choice("invert", invert, (True, False))
    low = check_number("min_sigma", min_sigma, least=0.3)
    high = check_number("max_sigma", max_sigma, above=low)
    count = check_whole("scales", scales, least=2)
    ratio = (high / low) ** (1 / (count - 1))
    if ratio < 1 + 1e-6:
        raise OperationError(
            f"scales is {scales} from {low:g} to {high:g}, which are too near to each other to "
            "tell apart; use fewer"
        )
    search = BlobSearch(
        sigmas=tuple(low * ratio**step for step in range(count)),
        ratio=ratio,
        threshold=check_number("threshold", threshold, above=0),
        difference=method == "dog",
        overlap=check_number("overlap", overlap, least=0, most=1),
        invert=invert,
    )
    reach = kernel_radius(search.sigmas[-1], TRUNCATE)
    check_kernel(frames, SPACE, reach, f"max_sigma={max_sigma}")
    columns = dict.fromkeys(COLUMNS, np.float64)
    return table_of_frames(blob_table, frames, SPACE, columns=columns, kwargs={"search": search})
