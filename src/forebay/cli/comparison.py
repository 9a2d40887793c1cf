"""The picture of a frame before and after an operation."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from forebay.acquisition import durable
from forebay.cli.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCENT = "#d1495b"
_LINE = "#30638e"
_WIDTH = 12
_RANGE = 1000
"""Values that are further apart than this are shown by their logarithms."""


def draw_comparison(path: Path, before: xr.DataArray, after: Any, *, title: str) -> None:
    """Write a picture of a frame, and of what has become of it, as PNG.

    Parameters
    ----------
    path
        File to write, or to put in the place of an earlier one.
    before
        The frame, with its place ``t``.
    after
        What an operation has given: images, curves, values, or a table of places.
    title
        What was done.

    Raises
    ------
    OptionError
        If it is nothing that can be drawn.
    """
    from matplotlib.figure import Figure

    image = before.isel(c=0) if "c" in before.dims else before
    height = _WIDTH / 2 * image.sizes["y"] / image.sizes["x"]
    figure = Figure(figsize=(_WIDTH, min(max(height, 3), _WIDTH) + 0.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _show(left, image, "before")
    if isinstance(after, pd.DataFrame):
        here = after[after["t"] == int(before["t"])] if "t" in after else after
        _show(right, image, f"{len(here)} found")
        if {"x", "y"} <= set(here.columns):
            right.plot(here["x"], here["y"], "o", mfc="none", mec=_ACCENT, ms=9)
    else:
        _draw(right, _of_frame(after, int(before["t"])))
    figure.suptitle(title)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    with durable.storage_errors(f"the picture {path}"):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path.with_name(f".{path.name}.tmp"), path, content.getvalue())


def _of_frame(after: Any, frame: int) -> xr.DataArray:
    """Return what belongs to one frame, in host memory."""
    if isinstance(after, xr.Dataset):
        after = next(iter(after.data_vars.values()))
    if not isinstance(after, xr.DataArray):
        raise OptionError(f"a {type(after).__name__} cannot be drawn: use the operation in Python")
    if "t" in after.dims:
        after = after.sel(t=frame, method="nearest") if "t" in after.coords else after.isel(t=0)
    if "c" in after.dims:
        after = after.isel(c=0)
    host: xr.DataArray = after.as_numpy()
    return host


def _draw(axes: "Axes", after: xr.DataArray) -> None:
    match after.ndim:
        case 0:
            axes.text(0.5, 0.5, f"{float(after):.6g}", ha="center", fontsize=24)
            axes.axis("off")
        case 1:
            (dim,) = after.dims
            places = after[dim].to_numpy() if dim in after.coords else np.arange(after.size)
            axes.plot(places, after.to_numpy(), color=_LINE)
            axes.set_xlabel(str(dim))
        case 2:
            _show(axes, after, "after")
        case _:
            raise OptionError(
                f"an array with the dimensions {after.dims} cannot be drawn: use the operation in "
                "Python"
            )


def _show(axes: "Axes", image: xr.DataArray, title: str) -> None:
    values = image.to_numpy().astype("float64")
    shown = values[np.isfinite(values)]
    low, middle, high = np.percentile(shown, [0.5, 50, 99.5]) if shown.size else (0.0, 0.5, 1.0)
    if low > 0 and high / middle > _RANGE:
        values, low, high = np.log10(np.maximum(values, low)), np.log10(low), np.log10(high)
        title += " (log10)"
    drawn = axes.imshow(
        values, interpolation="nearest", cmap="gray", vmin=low, vmax=max(high, low + 1e-12)
    )
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
