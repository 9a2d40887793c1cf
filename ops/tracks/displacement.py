"""How far particles come within a time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from forebay.ops._checks import check_choice, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.tracks.linking import JITTER, TRACK, check_table


def mean_squared_displacement(
    table: pd.DataFrame,
    *,
    max_lag: int = 100,
    interval: float = 1.0,
    per_track: bool = False,
    frame: str = "t",
    places: Sequence[str] = ("y", "x"),
) -> xr.DataArray:
    """Return the mean square of how far tracks come within each lag.

    Parameters
    ----------
    table
        A row for each particle and frame, as `link` gives it.
    max_lag
        The longest lag, in intervals.
    interval
        Time between frames, in the unit of the column `frame`; 1 where that counts frames.
    per_track
        Whether to keep the tracks apart.
    frame
        The column that says which frame.
    places
        The columns that say where.

    Returns
    -------
    xarray.DataArray
        Over ``lag``, in the unit of the column `frame`, or over ``track`` and ``lag``; float64, in
        the squared unit of `places`; NaN where no two rows of a track lie that far apart. The
        coordinate ``pairs`` says how many do: all count the same.

    Raises
    ------
    OperationError
        If a column is missing, a value in one is not finite, a track is twice in a frame, a
        parameter is out of range, or frames are no whole number of intervals apart.

    Notes
    -----
    ``Σ |r(t + lag) - r(t)|² / pairs``, over all t and tracks with rows at both: overlapping pairs
    are not independent, so that a mean varies more than ``1 / sqrt(pairs)`` (H. Qian, M. P.
    Sheetz and E. L. Elson, Biophys. J. 60, 910 (1991)). Diffusion gives ``2 d D lag`` in d
    dimensions. It is what trackpy's `emsd` gives where no frame of a track is missing. Needs about
    six times the table as scratch, and twelve bytes for each track and lag.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"track": [0, 0, 0], "t": [0, 1, 2], "y": [0.0, 1, 2], "x": 0.0})
    >>> mean_squared_displacement(table, max_lag=3).values
    array([ 1.,  4., nan])
    """
    check_table(table, [TRACK, frame, *places], "table")
    longest = check_whole("max_lag", max_lag, least=1)
    step = check_number("interval", interval, above=0)
    check_choice("per_track", per_track, (True, False))
    if not places:
        raise OperationError("places is empty, but must name the columns that say where")
    numbers, track = np.unique(table[TRACK].to_numpy(), return_inverse=True)
    time = frame_numbers(table[frame].to_numpy(np.float64), step)
    order = np.lexsort((time, track))
    track, time = track[order], time[order]
    points = table[list(places)].to_numpy(np.float64)[order]
    if (np.diff(track) == 0)[np.diff(time) == 0].any():
        raise OperationError("a track of table has two rows in the same frame; link it anew")
    total = np.zeros((numbers.size, longest))
    pairs = np.zeros((numbers.size, longest), np.int64)
    # A row's partner some lag later lies at most as many rows further on.
    for rows in range(1, min(longest, len(table) - 1) + 1):
        lag = time[rows:] - time[:-rows]
        near = (track[rows:] == track[:-rows]) & (lag <= longest)
        if not near.any():
            break
        squared = ((points[rows:] - points[:-rows])[near] ** 2).sum(axis=-1)
        np.add.at(total, (track[rows:][near], lag[near] - 1), squared)
        np.add.at(pairs, (track[rows:][near], lag[near] - 1), 1)
    if not per_track:
        total, pairs = total.sum(axis=0), pairs.sum(axis=0)
    dims = (TRACK, "lag") if per_track else ("lag",)
    mean = np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)
    result = xr.DataArray(mean, dims=dims, name="mean_squared_displacement")
    result = result.assign_coords(lag=step * np.arange(1, longest + 1), pairs=(dims, pairs))
    return result.assign_coords({TRACK: numbers}) if per_track else result


def frame_numbers(times: npt.NDArray[np.float64], interval: float) -> npt.NDArray[np.int64]:
    """Return how many intervals each of `times` lies behind the first."""
    steps = (times - times.min(initial=np.inf)) / interval if times.size else times
    whole = np.rint(steps)
    off = np.abs(steps - whole)
    if off.size and off.max() > JITTER:
        raise OperationError(
            f"table has a frame at {times[off.argmax()]:g}, which is no whole number of intervals "
            f"of {interval:g} from the first; say what the interval between frames is"
        )
    return whole.astype(np.int64)
