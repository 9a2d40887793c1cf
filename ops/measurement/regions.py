"""What labelled regions are like, as a table."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from forebay.ops._checks import check_frames
from forebay.ops._tables import Table, empty_columns, leading_labels, table_of_parts
from forebay.ops.errors import OperationError
from forebay.ops.measurement.sums import Sums, region_columns, region_sums, region_table


def region_properties(
    labels: xr.DataArray,
    intensities: xr.DataArray | None = None,
    *,
    dims: Sequence[Hashable] = ("y", "x"),
) -> Table:
    """Return a table of the places, sizes and shapes of labelled regions.

    Parameters
    ----------
    labels
        Integer, any dimensions that include `dims`, as `label` gives them with the same `dims`;
        0 and less is ground. NumPy or CuPy, eager or Dask.
    intensities
        Frames of the same sizes, in which the regions are measured; None for shapes alone.
    dims
        The dimensions of a region.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        A row for each region, in the order of the frames and of the labels. The columns are the
        leading dimensions of `labels` (their coordinates, or else indices), then ``label`` and
        ``area``, the number of pixels, int64. All else is float64, lengths in pixels, 0 in the
        middle of the first pixel. For each of `dims`, here ``y``:

        - ``y``, the centroid; ``y_start`` and ``y_stop``, the first pixel and the one behind
          the last, int64; ``moment_y_y`` and, for each later dimension, ``moment_y_x``, the
          central second moments, ``mean((y - ȳ) * (x - x̄))``;
        - ``equivalent_diameter``, of the disk (ball) of as many pixels;
        - with two `dims`: ``major_axis`` and ``minor_axis``, four times the root of the larger
          and the smaller eigenvalue of the second moments, which are the axes of the ellipse that
          has them; ``orientation``, the angle of the major axis to the first dimension,
          ``-pi / 2`` to ``pi / 2``, positive towards growing values of the second;
        - with `intensities`: ``mass``, their sum; ``mean`` and ``max``; ``y_weighted``, the
          centroid that they weigh, NaN where their sum is zero.

        Eager labels give a pandas table. Dask-backed ones give a Dask one: nothing is computed,
        and a partition is what one chunk along the leading dimensions gives.

    Raises
    ------
    OperationError
        If a dimension is missing, `labels` has no integers, or the sizes of the two differ.

    Notes
    -----
    Each chunk gives sums over its part of each region, which are added up over the chunks of a
    frame: counts, sums of positions and of their products, which are whole numbers and exact up
    to 2**53, least and largest positions; sums of intensities and of their products with
    positions, in float64. The table of areas, boxes and moments is the same whatever the chunks;
    weighted numbers differ by rounding, 1e-12 of them. Second moments are exact to 1e-16 of the
    squared distance from the first pixel. They are those of the middles of pixels, as
    ``skimage.measure.regionprops`` has them: a single pixel has none, and an axis of zero.

    A NaN or infinite intensity makes the weighted numbers of its region NaN.

    Needs about forty bytes for each pixel of a region in a chunk as scratch.

    Float32 is within 1e-15 of the largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> labels = xr.DataArray(np.array([[1, 1, 0, 2], [1, 1, 0, 2]]), dims=("y", "x"))
    >>> table = region_properties(labels)
    >>> table[["label", "area", "y", "x", "x_start", "x_stop"]]
       label  area    y    x  x_start  x_stop
    0      1     4  0.5  0.5        0       2
    1      2     2  0.5  3.0        3       4
    """
    check_frames(labels, dims, name="labels")
    if labels.dtype.kind not in "iu":
        raise OperationError(
            f"labels is of dtype {labels.dtype}, but must be an integer; use what label gives"
        )
    if not dims:
        raise OperationError("dims is empty, but must name the dimensions of a region")
    if intensities is not None:
        check_frames(intensities, dims, name="intensities")
        if dict(intensities.sizes) != dict(labels.sizes):
            raise OperationError(
                f"intensities has the sizes {dict(intensities.sizes)}, but labels has "
                f"{dict(labels.sizes)}; they must be the same"
            )
    columns = region_columns(dims, weighted=intensities is not None)
    leading, names = leading_labels(labels, dims, list(columns))
    labels = labels.transpose(*leading, *dims)
    if intensities is not None:
        intensities = intensities.transpose(*leading, *dims)
    if labels.chunks is None and (intensities is None or intensities.chunks is None):
        light = None if intensities is None else intensities.data
        sums = region_sums(labels.data, light, (0,) * len(dims))
        return region_table([sums], labels.shape[: len(leading)], leading, names, dims)
    return _lazily(labels, intensities, leading, names, dims)


def _lazily(
    labels: xr.DataArray,
    intensities: xr.DataArray | None,
    leading: Sequence[Hashable],
    names: Sequence["np.ndarray[tuple[int], np.dtype[np.generic]]"],
    dims: Sequence[Hashable],
) -> Table:
    """Return a Dask table with a partition for each chunk along the leading dimensions."""
    from dask.array import asarray
    from dask.array.core import unify_chunks
    from dask.delayed import delayed

    axes = tuple(range(labels.ndim))
    pair = [labels.data] if intensities is None else [labels.data, intensities.data]
    lazy = [asarray(each) for each in pair]  # type: ignore[no-untyped-call]
    _, lazy = unify_chunks(*[part for each in lazy for part in (each, axes)])  # type: ignore[no-untyped-call]
    chunks = lazy[0].chunks
    blocks = [each.to_delayed() for each in lazy]
    starts = [np.cumsum((0, *lengths)).tolist() for lengths in chunks]
    add = delayed(region_sums, pure=True)
    make = delayed(region_table, pure=True)
    parts = []
    for lead in np.ndindex(blocks[0].shape[: len(leading)]):
        sums: list[Sums] = []
        for place in np.ndindex(blocks[0].shape[len(leading) :]):
            origin = tuple(
                start[at] for start, at in zip(starts[len(leading) :], place, strict=True)
            )
            light = None if intensities is None else blocks[1][lead + place]
            sums.append(add(blocks[0][lead + place], light, origin))
        own = [
            values[start[at] : start[at + 1]]
            for values, start, at in zip(names, starts, lead, strict=False)
        ]
        shape = tuple(len(values) for values in own)
        parts.append(make(sums, shape, leading, own, dims))
    columns = region_columns(dims, weighted=intensities is not None)
    return table_of_parts(parts, empty_columns(leading, names, columns))
