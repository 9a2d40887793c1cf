"""The real frames that the gallery begins with, and how it draws.

1 µm spheres that diffuse in water, 24 frames a second; see ``examples/data``.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

FILES = sorted((Path(__file__).parents[1] / "data" / "bulk_water").glob("*.png"))
RATE = 24.0
"""Frames a second."""
DOT, LINE, OTHER = "#d1495b", "#30638e", "#edae49"


def frames(
    number: int, *, rows: slice = slice(40, 200), columns: slice = slice(60, 260)
) -> xr.DataArray:
    """Return a part of the first frames."""
    stack = [np.asarray(Image.open(file))[rows, columns] for file in FILES[:number]]
    return xr.DataArray(np.stack(stack), dims=("t", "y", "x"), attrs={"units": "count"})


def folder() -> Path:
    """Return where the picture goes: the folder that was given, or the one that we are in."""
    return Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


@contextmanager
def picture(name: str, panels: int) -> Iterator[Sequence[Axes]]:
    """Give panels beside each other; write them as ``NAME.png`` at the end."""
    figure = Figure(figsize=(3.2 * panels, 3.0), layout="constrained")
    yield figure.subplots(1, panels)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=80)
    target = folder() / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    # So many colours are enough for grey frames and some lines.
    Image.open(written).convert("RGB").quantize(256).save(target, optimize=True)
    print(f"{target} shows what became of the frames")


def show(axes: Axes, image: xr.DataArray, title: str, *, colours: str = "gray") -> None:
    """Draw an image between its half and its 99.5th percentile."""
    low, high = np.nanpercentile(image, [0.5, 99.5])
    axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Say what the axes of a curve are."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
