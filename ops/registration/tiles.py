"""Overlapping tiles put together into one image."""

import itertools
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, real_dtype, to_host
from forebay.ops._blocks import apply
from forebay.ops._checks import check_frames, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.registration.correlation import (
    AXIS,
    as_displacement,
    check_search,
    phase_correlation,
)
from forebay.ops.registration.shifting import moved_frame

ANCHOR = 1e-6
"""How much the nominal offset of a tile counts beside one that was measured."""

LARGEST = 2**40
"""Pixels of a mosaic, at most."""


def estimate_tile_offsets(
    tiles: xr.DataArray,
    nominal: xr.DataArray,
    *,
    dim: str = "tile",
    min_overlap: int = 16,
    max_displacement: float = 10.0,
    upsampling: int = 20,
    normalise: bool = True,
    window: Literal["hann"] | None = "hann",
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return where each tile lies, from what it shows in common with its neighbours.

    Parameters
    ----------
    tiles
        Integer or float, with `dim`, `dims` and no others; NumPy or CuPy, eager or Dask.
    nominal
        Where the tiles should lie: with `dim`, and ``axis``, whose coordinate names `dims`; in
        pixels, eager, on the host.
    dim
        The dimension of the tiles.
    min_overlap
        Pairs that should have at least this many pixels in common along each of `dims` are
        compared.
    max_displacement
        A pair found farther off than this, pixels along any axis, is left out.
    upsampling
        As in `phase_correlation`.
    normalise
        As in `phase_correlation`.
    window
        As in `phase_correlation`.
    dims
        The dimensions of a tile.

    Returns
    -------
    xarray.DataArray
        As `nominal`; in pixels; float32, or float64 for float64 tiles.

    Raises
    ------
    OperationError
        If a dimension is missing or one too many, `nominal` does not fit, no two tiles overlap,
        the dtype is not real, or a parameter is out of range.

    Notes
    -----
    Each pair is compared by `phase_correlation` where the two should overlap. The offsets are the
    least squares over all pairs at once, with as many pixels as a pair has in common for its
    weight; `nominal` counts a millionth beside them, which holds the mean of tiles that hang
    together in its place, and tiles that hang on nothing. Preibisch, Saalfeld and Tomancak,
    Bioinformatics 25, 1463 (2009).

    Offsets are to be known before a mosaic has a size: ``compute()`` those of Dask-backed tiles
    before `stitch_tiles`. A task holds one pair's overlap, and some ten times that as scratch.

    A pair in whose overlap a tile has a NaN, or no contrast, is left out. Float32 is within
    1e-4 of what float64 tiles give, and 1e-5 of the largest offset.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> scene = np.random.default_rng(1).normal(size=(64, 100))
    >>> tiles = np.stack([scene[:, :57], scene[:, 43:]])
    >>> tiles = xr.DataArray(tiles, dims=("tile", "y", "x"))
    >>> nominal = xr.DataArray([[0, 0], [0, 40]], dims=("tile", "axis"),
    ...     coords={"axis": ["y", "x"]})
    >>> offsets = estimate_tile_offsets(tiles, nominal)
    >>> float((offsets[1, 1] - offsets[0, 1]).round(3))
    43.0
    """
    check_tiles(tiles, dim, dims, alone=True)
    check_search(tiles, dims, upsampling=upsampling, normalise=normalise, window=window)
    check_whole("min_overlap", min_overlap, least=2)
    check_number("max_displacement", max_displacement, above=0)
    given = fitting_offsets(nominal, tiles, dim, dims, name="nominal")
    bare = tiles.drop_vars(tiles.coords).transpose(dim, *dims)
    sizes = [tiles.sizes[each] for each in dims]
    pairs, measured = [], []
    for first, second in itertools.combinations(range(tiles.sizes[dim]), 2):
        between = np.rint(given[second] - given[first]).astype(int).tolist()
        extents = [size - abs(step) for size, step in zip(sizes, between, strict=True)]
        if min(extents) < min_overlap:
            continue
        here, there = (
            {
                each: slice(max(sign * step, 0), max(sign * step, 0) + extent)
                for each, step, extent in zip(dims, between, extents, strict=True)
            }
            for sign in (1, -1)
        )
        found = phase_correlation(
            bare.isel({dim: second}).isel(there),
            bare.isel({dim: first}).isel(here),
            upsampling=upsampling,
            normalise=normalise,
            window=window,
            dims=dims,
        )
        pairs.append((first, second, between, int(np.prod(extents))))
        measured.append(found.drop_vars(AXIS))
    if not pairs:
        raise OperationError(
            f"nominal has no two tiles that overlap by {min_overlap} pixels; check its unit, which "
            "is pixels, or use a smaller min_overlap"
        )
    stacked = xr.concat(measured, "pair", coords="minimal", compat="override", join="override")
    result = apply(
        settled,
        stacked,
        ["pair", AXIS],
        dtype=real_dtype(tiles.dtype),
        new_sizes={dim: tiles.sizes[dim], AXIS: len(dims)},
        kwargs={"pairs": pairs, "nominal": given, "most": float(max_displacement)},
    )
    kept = {name: each for name, each in tiles.coords.items() if not set(each.dims) & set(dims)}
    result = result.rename(tiles.name).assign_attrs(tiles.attrs).assign_coords(kept)
    return as_displacement(result, dims)


def check_tiles(
    tiles: xr.DataArray, dim: Hashable, dims: Sequence[Hashable], *, alone: bool
) -> None:
    """Raise `OperationError` unless `tiles` are tiles, with no other dimensions if `alone`."""
    check_frames(tiles, [dim, *dims], name="tiles")
    if alone and tiles.ndim != len(dims) + 1:
        raise OperationError(
            f"tiles has the dimensions {tiles.dims}, but must have {(dim, *dims)} alone; select "
            "one frame or take the mean of all"
        )


def fitting_offsets(
    offsets: xr.DataArray,
    tiles: xr.DataArray,
    dim: Hashable,
    dims: Sequence[Hashable],
    *,
    name: str,
) -> npt.NDArray[np.float64]:
    """Return finite offsets, a row a tile; raise `OperationError` unless they are known and fit."""
    check_frames(offsets, [dim, AXIS], name=name)
    if offsets.chunks is not None:
        raise OperationError(
            f"{name} is Dask-backed, but must be known while the graph is built; "
            f"use {name}.compute()"
        )
    names = [str(each) for each in dims]
    labels = offsets[AXIS].to_numpy().tolist() if AXIS in offsets.coords else []
    if (
        offsets.ndim != 2
        or offsets.sizes[dim] != tiles.sizes[dim]
        or sorted(map(str, labels)) != sorted(names)
    ):
        raise OperationError(
            f"{name} has the sizes {dict(offsets.sizes)} along {labels}, but must have "
            f"{tiles.sizes[dim]} along {dim!r}, and an {AXIS!r} whose coordinate names {names}"
        )
    values = to_host(offsets.transpose(dim, AXIS).sel({AXIS: names}).data).astype(np.float64)
    if not np.isfinite(values).all():
        raise OperationError(f"{name} has a value that is not finite; leave that tile out")
    return values


def settled(
    displacements: Array,
    *,
    pairs: Sequence[tuple[int, int, Sequence[int], int]],
    nominal: npt.NDArray[np.float64],
    most: float,
) -> Array:
    """Return the offsets that fit the `displacements` of all pairs best, a row a tile.

    `pairs` are two tiles, how far the second was taken to lie from the first, and their weight.
    """
    xp = namespace(displacements)
    found = to_host(displacements).astype(np.float64)
    count = len(nominal)
    rows, values = [np.sqrt(ANCHOR) * np.eye(count)], [np.sqrt(ANCHOR) * nominal]
    heaviest = max(weight for *_, weight in pairs)
    for (first, second, between, weight), moved in zip(pairs, found, strict=True):
        if not np.all(np.abs(moved) <= most):
            continue
        row = np.zeros((1, count))
        row[0, second], row[0, first] = 1, -1
        factor = np.sqrt(weight / heaviest)
        rows.append(factor * row)
        values.append(factor * (np.asarray(between) - moved)[None, :])
    solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(values), rcond=None)[0]
    return xp.asarray(solution, dtype=displacements.dtype, device=device(displacements))


def stitch_tiles(
    tiles: xr.DataArray,
    offsets: xr.DataArray,
    *,
    dim: str = "tile",
    order: int = 1,
    dims: Sequence[Hashable] = ("y", "x"),
) -> xr.DataArray:
    """Return one image of overlapping tiles, blended linearly where they overlap.

    Parameters
    ----------
    tiles
        Integer or float, any dimensions that include `dim` and `dims`; NumPy or CuPy, eager or
        Dask.
    offsets
        Where each tile lies, as `estimate_tile_offsets` gives it: eager, in pixels.
    dim
        The dimension of the tiles.
    order
        Of the splines by which tiles are moved by parts of a pixel, 0 to 5; 0 moves by whole ones.
    dims
        The dimensions of a tile.

    Returns
    -------
    xarray.DataArray
        Without `dim`; `dims` last, as large as the tiles reach, with coordinates in pixels of
        `offsets`. Name, attributes and unit stay, and coordinates of other dimensions. Float32, or
        float64 for float64 tiles. NaN where there is no tile.

    Raises
    ------
    OperationError
        If a dimension is missing, `offsets` does not fit or is not known, the mosaic would be
        larger than 2^40 pixels, the dtype is not real, or a parameter is out of range.

    Notes
    -----
    Each pixel is the mean of those that tiles have there, a tile's weight being the product of
    the distances to its nearest edge along each axis: it falls linearly to its edge, one pixel
    beyond which it is zero. A NaN of one tile leaves the pixel to the others; splines of order 2
    and more spread it over the tile. Illumination is not evened out: see `flat_field`.

    A task holds all tiles of one chunk along other dimensions, and the mosaic three times, in
    float64. Dask chunks that cut through `dim` or `dims` are merged, lazily.

    It is ``Σ weight · tile / Σ weight``. Float32 is within 3e-7 of the
    largest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> tiles = xr.DataArray([[[1.0, 1, 1]], [[4.0, 4, 4]]], dims=("tile", "y", "x"))
    >>> offsets = xr.DataArray([[0, 0], [0, 2]], dims=("tile", "axis"), coords={"axis": ["y", "x"]})
    >>> stitch_tiles(tiles, offsets).values
    array([[1. , 1. , 2.5, 4. , 4. ]])
    """
    check_tiles(tiles, dim, dims, alone=False)
    check_number("order", check_whole("order", order, least=0), most=5)
    own = fitting_offsets(offsets, tiles, dim, dims, name="offsets")
    corners = np.rint(own)
    first = corners.min(axis=0)
    extents = corners.max(axis=0) - first + [tiles.sizes[each] for each in dims]
    if not np.prod(extents) <= LARGEST:
        raise OperationError(
            f"offsets reach over {extents.tolist()} pixels, more than a mosaic may have; check its "
            "unit, which is pixels"
        )
    shape = tuple(int(each) for each in extents)
    result = apply(
        mosaic,
        tiles,
        [dim, *dims],
        dtype=real_dtype(tiles.dtype),
        new_sizes={f"mosaic_{each}": size for each, size in zip(dims, shape, strict=True)},
        kwargs={"offsets": own - first, "shape": shape, "order": order},
    )
    places = {
        each: start + np.arange(size)
        for each, start, size in zip(dims, first.tolist(), shape, strict=True)
    }
    return result.rename({f"mosaic_{each}": each for each in dims}).assign_coords(places)


def mosaic(
    array: Array, *, offsets: npt.NDArray[np.float64], shape: tuple[int, ...], order: int
) -> Array:
    """Return the tiles, which are along the axis before those of `shape`, blended at `offsets`."""
    xp, ndim = namespace(array), len(shape)
    real = as_real(array)
    sizes = real.shape[-ndim:]
    leading = real.shape[: -ndim - 1]
    stacks = xp.reshape(real, (-1, *real.shape[-ndim - 1 :]))
    fading = xp.ones(sizes, dtype=xp.float64, device=device(real))
    for axis, size in enumerate(sizes):
        distance = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)).astype(np.float64)
        spread = tuple(-1 if other == axis else 1 for other in range(ndim))
        fading = fading * xp.asarray(distance.reshape(spread), device=device(real))
    nan = xp.asarray(xp.nan, dtype=xp.float64, device=device(real))
    results = []
    for number in range(stacks.shape[0]):
        total = xp.zeros(shape, dtype=xp.float64, device=device(real))
        weight = xp.zeros(shape, dtype=xp.float64, device=device(real))
        for place, offset in enumerate(offsets):
            corner = np.rint(offset).astype(int)
            region: Any = tuple(
                slice(start, start + size)
                for start, size in zip(corner.tolist(), sizes, strict=True)
            )
            tile = stacks[number, place, ...]
            back = (corner - offset).tolist()
            if order > 0 and any(back):
                tile = moved_frame(tile, back, order, "nan")
            tile = xp.astype(tile, xp.float64)
            there = xp.isfinite(tile)
            own = xp.where(there, fading, xp.zeros_like(fading))
            total[region] += own * xp.where(there, tile, xp.zeros_like(tile))
            weight[region] += own
        seen = weight > 0
        mean = xp.where(seen, total, nan) / xp.where(seen, weight, xp.ones_like(weight))
        results.append(xp.astype(mean, real.dtype))
    return xp.reshape(xp.stack(results), (*leading, *shape))
