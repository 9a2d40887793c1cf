"""Particles in frames: what the user asks for, checked, and the table given back."""

import math
from typing import Any

import numpy as np
import xarray as xr

from forebay.ops._checks import check_choice, check_frames, check_kernel, check_number, check_whole
from forebay.ops._tables import Table, table_of_frames
from forebay.ops.errors import OperationError
from forebay.ops.particles.refinement import Measured
from forebay.ops.particles.table import Search, particle_table

SPACE = ("y", "x")


def find_particles(
    frames: xr.DataArray,
    *,
    diameter: int,
    minmass: float = 0.0,
    separation: float | None = None,
    percentile: float = 64.0,
    invert: bool = False,
    noise_sigma: float = 1.0,
    window: int | None = None,
    threshold: float | None = None,
    max_iterations: int = 10,
) -> Table:
    """Return a table of the bright round spots in each frame, with subpixel centres.

    Parameters
    ----------
    frames
        Integer or float, with dimensions ``y``, ``x`` and any others; NumPy or CuPy, eager or
        Dask.
    diameter
        Of a particle's image, pixels, odd. When in doubt, larger.
    minmass
        Particles of this brightness, or less, are left out; in the unit of `frames`, summed over
        the mask. The most important parameter after `diameter`: look at the masses without it.
    separation
        Of two particles nearer than this, pixels, the brighter one is kept; None takes
        ``diameter + 1``.
    percentile
        A particle's brightest pixel is above this percentile of its frame's positive pixels,
        after the background is taken out.
    invert
        Whether particles are darker than their ground.
    noise_sigma
        Standard deviation, pixels, of the Gaussian that smooths noise; 0 does not smooth.
    window
        Side of the square, pixels, odd, that the background is averaged over; None takes
        `diameter`.
    threshold
        Less than this above the background counts as nothing, in the unit of `frames`; None takes
        1 for integer frames and 0 for float ones.
    max_iterations
        How often a centroid is taken at most before its mask stops moving.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        A row a particle, in the order of the frames. The columns are the leading dimensions of
        `frames` (their coordinates, or else indices), then, float64: ``y`` and ``x``, pixels, 0
        in the middle of the first pixel, whatever the coordinates; ``mass``, the brightness above
        the background, summed over a disk of `diameter`; ``size``, the radius of gyration,
        pixels; ``eccentricity``, 0 for a round particle; ``signal``, the brightest pixel above
        the background.

        Eager frames give a pandas table. Dask-backed frames give a Dask one: nothing is computed,
        a partition is what one chunk of frames gives, and its index starts anew in each. Its
        ``compute()`` gives the pandas table; ``to_parquet()`` writes it without ever holding
        all of it.

    Raises
    ------
    OperationError
        If a dimension is missing, the dtype is not real, a parameter is out of range, or the
        frames are smaller than what is looked for.

    Notes
    -----
    The method is that of Crocker and Grier, J. Colloid Interface Sci. 179, 298 (1996), with the
    defaults of trackpy 0.4 and later, and for integer frames with its whole-number steps, which
    change what `minmass` means: the background is rounded down to whole counts along each axis,
    and what stands above it is scaled so that each frame's brightest pixel is the largest value
    of the dtype, and rounded down. Masses are given back in the unit of `frames`. Float frames
    are neither scaled nor rounded: their centres are finer, and their masses smaller by 0.4 to 0.9
    counts for each pixel of the disk; use ``frames.astype("float32")`` to have this for integers.
    The eccentricity leaves out the middle pixel, which has no direction; trackpy counts it, and
    finds more.

    Beyond the edge a frame goes on with its outermost pixel, where trackpy smooths zeros in: what
    lies within a few `noise_sigma` of it has another mass there.

    No particle is found whose background would touch the edge, nor one whose disk reaches to
    where a NaN or infinite pixel is within reach of the filters.

    Of a task, memory holds its chunk and, for a few frames at a time, some ten float32 copies.
    Chunks that cut through ``y`` or ``x`` are merged, lazily. On a GPU the frames stay there; the
    table, 8 numbers a particle, is what comes back to the host.

    Float32 is within 1e-3 of the largest value of each column, and places are within 1e-5, where
    the same pixels are brightest.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> y, x = np.mgrid[:64, :64]
    >>> spot = 200 * np.exp(-((y - 20.2) ** 2 + (x - 40.5) ** 2) / 8)
    >>> frames = xr.DataArray(spot[None], dims=("t", "y", "x"), coords={"t": [0.5]})
    >>> find_particles(frames, diameter=11, minmass=100)[["t", "y", "x"]].round(1)
         t     y     x
    0  0.5  20.2  40.5
    """
    check_frames(frames, SPACE)
    check_choice("invert", invert, (True, False))
    search = make_search(
        frames,
        diameter=check_whole("diameter", diameter, least=3, odd=True),
        minmass=check_number("minmass", minmass, least=0),
        separation=separation,
        percentile=check_number("percentile", percentile, least=0, most=100),
        invert=invert,
        noise_sigma=check_number("noise_sigma", noise_sigma, least=0),
        window=window,
        threshold=threshold,
        max_iterations=check_whole("max_iterations", max_iterations, least=1),
    )
    columns = dict.fromkeys(Measured._fields, np.float64)
    return table_of_frames(
        particle_table, frames, SPACE, columns=columns, kwargs={"search": search}
    )


def make_search(
    frames: xr.DataArray,
    *,
    diameter: int,
    separation: float | None,
    window: int | None,
    threshold: float | None,
    noise_sigma: float,
    **given: Any,
) -> Search:
    """Return the parameters with defaults filled in, once they are known to fit `frames`."""
    if separation is None:
        separation = diameter + 1
    check_number("separation", separation, least=1)
    if window is None:
        window = diameter
    check_whole("window", window, least=3, odd=True)
    if noise_sigma >= window:
        raise OperationError(
            f"noise_sigma is {noise_sigma:g}, but must be below the window of the background, "
            f"{window}; smooth less, or widen it"
        )
    whole_numbers = frames.dtype.kind in "iu"
    if threshold is None:
        threshold = 1.0 if whole_numbers else 0.0
    margin = max(diameter // 2, int(separation // 2) - 1, window // 2)
    check_kernel(frames, SPACE, 2 * margin + 1, f"diameter={diameter} with window={window}")
    return Search(
        diameter=diameter,
        separation=separation,
        window=window,
        threshold=check_number("threshold", threshold, least=0),
        noise_sigma=noise_sigma,
        gamut=float(np.iinfo(frames.dtype).max) if whole_numbers else None,
        margin=margin,
        peak_window=max(int(2 * separation / math.sqrt(2)), 2),
        **given,
    )
