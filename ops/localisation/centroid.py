"""The centre of brightness of each spot."""

import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace
from forebay.ops._checks import check_number
from forebay.ops._tables import Table
from forebay.ops.localisation.spots import localised, offsets_from_middle, rim_median

COLUMNS = ("y", "x", "mass", "size")


def centroid(
    frames: xr.DataArray, positions: Table, *, radius: int, background: float | None = None
) -> Table:
    """Refine positions to the centre of brightness of a disk around each.

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
        Of the disk, pixels; its middle is the pixel nearest to the position.
    background
        What is taken off each pixel, in the unit of `frames`; None takes the median of the
        outermost pixels of the square around the disk.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The rows of `positions` with their index and all their columns, of which ``y`` and ``x``
        are refined; ``mass``, the brightness above the background, and ``size``, the radius of
        gyration in pixels, are added or replaced. All are float64, and NaN where the square
        reaches beyond the frame, holds a NaN or infinite pixel, or nothing stands out.

        Dask-backed frames give a Dask table, a partition for each chunk of frames.

    Raises
    ------
    OperationError
        If a column or dimension is missing, the dtype is not real, a position's frame does not
        exist, or a parameter is out of range.

    Notes
    -----
    What remains below zero counts as zero. The centre is drawn towards the middle of the disk where
    it cuts the spot off; call it again with its own result where that is a pixel or more. The sums
    are those of Crocker and Grier, J. Colloid Interface Sci. 179, 298 (1996). Work is in float64,
    on up to a million pixels at once: some 50 MB of scratch.

    Float32 is within 1e-15 of the largest value.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> y, x = np.mgrid[:20, :20]
    >>> frames = xr.DataArray(np.exp(-((y - 9.2) ** 2 + (x - 11.3) ** 2) / 4), dims=("y", "x"))
    >>> centroid(frames, pd.DataFrame({"y": [9], "x": [11]}), radius=6)[["y", "x"]].round(2)
         y     x
    0  9.2  11.3
    """
    if background is not None:
        background = check_number("background", background)
    return localised(
        disk_centroid,
        frames,
        positions,
        radius=radius,
        columns=COLUMNS,
        kwargs={"background": background},
    )


def disk_centroid(windows: Array, *, background: float | None) -> dict[str, Array]:
    """Return the centre, mass and radius of gyration of windows (spots, side, side)."""
    xp = namespace(windows)
    place = offsets_from_middle(windows)
    ground = (
        rim_median(windows)
        if background is None
        else xp.full(windows.shape[0], background, dtype=xp.float64, device=device(windows))
    )
    squared = place[:, None] ** 2 + place**2
    inside = squared <= place[-1] ** 2
    light = xp.clip(windows - ground[:, None, None], 0, None)
    light = xp.where(inside, light, xp.zeros_like(light))
    mass = xp.sum(light, axis=(1, 2))
    total = xp.where(mass > 0, mass, xp.full_like(mass, xp.nan))
    return {
        "y": xp.sum(light * place[:, None], axis=(1, 2)) / total,
        "x": xp.sum(light * place, axis=(1, 2)) / total,
        "mass": total,
        "size": xp.sqrt(xp.sum(light * squared, axis=(1, 2)) / total),
    }
