"""The peaks of time series, as a table."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, namespace, signal, to_host
from forebay.ops._checks import check_frames, check_number, check_whole
from forebay.ops._tables import Labels, Table, leading_columns, table_of_frames
from forebay.ops.errors import OperationError
from forebay.ops.filters.parts import SLAB
from forebay.ops.spectra.frequency import spacing

MEASURES = ("height", "prominence", "width")


def find_peaks_series(
    series: xr.DataArray,
    *,
    height: float | None = None,
    prominence: float = 0.0,
    distance: int = 1,
    dim: Hashable = "t",
) -> Table:
    """Return a table of the peaks along `dim`.

    Parameters
    ----------
    series
        Integer or float, any dimensions that include `dim`; NumPy or CuPy, eager or Dask.
    height
        Peaks are at least this high, in the unit of `series`; None for no limit.
    prominence
        Peaks rise at least this much above the higher of the lowest points between them and
        higher ground on either side, in the unit of `series`.
    distance
        Of two peaks nearer than this, samples, the higher one is kept.
    dim
        The dimension of time.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        A row a peak, in the order of the series and of time. The columns are the other dimensions
        of `series` (their coordinates, or else indices); `dim`, where the peak is on the
        coordinate (or index), refined between samples by a parabola through three of them; then,
        float64, ``height``, that of the highest sample, ``prominence``, and ``width``, at half the
        prominence, in the unit of the coordinate (seconds for times).

        Eager series give a pandas table. Dask-backed ones give a Dask one: nothing is computed,
        and a partition is what one chunk of series gives.

    Raises
    ------
    OperationError
        If the dimension is missing, the dtype is not real, the coordinate has irregular steps, or
        a parameter is out of range.

    Notes
    -----
    A peak is a sample, or the middle of equal ones, above both its neighbours; the first and the
    last sample are none: ``scipy.signal.find_peaks``. A NaN or infinite value counts as the
    least of its series.

    Dask chunks that cut through `dim` are merged, lazily. As scratch a task needs up to nine times
    its chunk in float64, where every other sample is a peak, and as much for the longest series.

    Worked on in float64; heights are the series' own values, exact.

    Float32 is within 1e-12 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> values = np.array([0.0, 1, 0, 0, 2, 2, 0, 0.1, 0])
    >>> series = xr.DataArray(values, dims="t", coords={"t": np.arange(9) / 10})
    >>> find_peaks_series(series, prominence=0.5)
          t  height  prominence  width
    0  0.10     1.0         1.0    0.1
    1  0.45     2.0         2.0    0.2
    """
    check_frames(series, [dim], name="series")
    if height is not None:
        check_number("height", height)
    options: dict[str, Any] = {
        "height": height,
        "prominence": check_number("prominence", prominence, least=0),
        "distance": check_whole("distance", distance, least=1),
    }
    step, _ = spacing(series, dim)
    start: Any = 0.0
    if dim in series.coords:
        values = series[dim].to_numpy()
        start, step = values[0], step if values[-1] >= values[0] else -step
        if values.dtype.kind not in "mM":
            start = float(start)
    column = str(dim)
    if column in MEASURES:
        raise OperationError(
            f"the dimension {column!r} is called like a column of the table; rename it"
        )
    kind = np.asarray(start).dtype
    return table_of_frames(
        peak_table,
        series,
        [dim],
        columns={column: kind, **dict.fromkeys(MEASURES, np.float64)},
        kwargs={"options": options, "start": start, "step": step, "column": column},
    )


def peak_table(
    block: Array,
    leading: Sequence[Hashable],
    labels: Labels,
    *,
    options: dict[str, Any],
    start: Any,
    step: float,
    column: str,
) -> pd.DataFrame:
    """Return the peaks along the last axis of `block`, whose first sample is at `start`."""
    xp, filters = namespace(block), signal(block)
    shape = block.shape[:-1]
    length = block.shape[-1]
    rows = xp.reshape(block, (int(np.prod(shape)), length))
    # Series lie one behind the other, with walls between them that no peak reaches over. Which of
    # two equal peaks within a distance is kept hangs on what else there is: then each is by itself.
    together = max(SLAB // (length + 1), 1) if options["distance"] == 1 else 1
    below_walls = options | {"height": (options["height"], float(np.finfo(np.float64).max))}
    found = []
    for first in range(0, rows.shape[0], together):
        some = without_gaps(xp.astype(rows[first : first + together, :], xp.float64))
        walls = xp.full((some.shape[0], 1), xp.inf, dtype=xp.float64, device=device(some))
        values = xp.reshape(xp.concat([some, walls], axis=1), (-1,))
        index, measured = filters.find_peaks(values, width=0, **below_walls)
        row = index // (length + 1)
        place = xp.astype(index - row * (length + 1), xp.float64) + parabola_top(values, index)
        widths = measured["widths"] * abs(step)
        columns = [row + first, place, xp.take(values, index), measured["prominences"], widths]
        found.append(to_host(xp.stack([xp.astype(each, xp.float64) for each in columns])))
    number_of, place, *measures = np.concatenate(found, axis=1)
    table = leading_columns(number_of.astype(np.intp), shape, leading, labels)
    table[column] = along(start, step, place)
    return pd.DataFrame(table | dict(zip(MEASURES, measures, strict=True)))


def without_gaps(values: Array) -> Array:
    """Return `values` with the least of their row where they are not finite."""
    xp = namespace(values)
    gap = ~xp.isfinite(values)
    least = xp.min(xp.where(gap, xp.full_like(values, xp.inf), values), axis=-1, keepdims=True)
    least = xp.where(xp.isfinite(least), least, xp.zeros_like(least))
    return xp.where(gap, least, values)


def parabola_top(values: Array, index: Array) -> Array:
    """Return how far from each of `index` the parabola through its neighbours is highest.

    The middle of equal samples, where neighbours are no lower, is half a sample on if their
    number is even.
    """
    xp = namespace(values)
    before, middle, after = (xp.take(values, index + step) for step in (-1, 0, 1))
    bend = before - 2 * middle + after
    curved = bend < 0
    top = (before - after) / (2 * xp.where(curved, bend, xp.ones_like(bend)))
    return xp.where(curved, top, xp.zeros_like(top))


def along(start: Any, step: float, place: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Any:
    """Return where on a coordinate from `start` in `step` each `place` lies; steps in seconds."""
    if np.asarray(start).dtype.kind in "mM":
        return start + (place * step * 1e9).round().astype("timedelta64[ns]")
    return start + place * step
