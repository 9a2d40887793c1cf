"""Draw the data path: ``python docs/pictures/data_path.py`` writes data-path.svg beside it."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, PAPER = "#1f2933", "#ffffff"
ACQUISITION, ENGINE, STORED = "#dcecf7", "#e4f3e1", "#f7efd8"


def box(axes: Axes, x: float, y: float, w: float, title: str, text: str, colour: str) -> None:
    """Draw a box with a title and a line below it."""
    shape = FancyBboxPatch(
        (x, y), w, 1.0, boxstyle="round,pad=0.04,rounding_size=0.12", fc=colour, ec=INK, lw=1.1
    )
    axes.add_patch(shape)
    axes.text(
        x + w / 2, y + 0.66, title, ha="center", va="center", size=11, weight="bold", color=INK
    )
    axes.text(x + w / 2, y + 0.30, text, ha="center", va="center", size=8.3, color=INK)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str = ""
) -> None:
    """Draw an arrow, with what goes along it."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK, lw=1.2)
    )
    if label:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        axes.text(middle[0] + 0.1, middle[1], label, size=8, color=INK, va="center")


def draw() -> Figure:
    """Draw the whole path."""
    figure = Figure(figsize=(10.2, 2.9), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 13.4), ylim=(1.7, 5.5))
    axes.axis("off")
    row = 4.1
    box(axes, 0.3, row, 2.4, "source", "camera, files, simulation", ACQUISITION)
    box(axes, 3.5, row, 2.4, "ring", "bounded; drops are counted", ACQUISITION)
    box(axes, 6.7, row, 2.4, "recorder", "block → flush → log", ACQUISITION)
    box(axes, 9.9, row, 3.1, "run (Zarr v3)", "committed blocks, each with a digest", STORED)
    for x in (2.75, 5.95, 9.15):
        arrow(axes, (x, row + 0.5), (x + 0.7, row + 0.5))
    arrow(axes, (11.45, row - 0.06), (11.45, 3.12), "each commit")
    row = 2.1
    box(axes, 9.9, row, 3.1, "plan", "units: algorithm × blocks (+ halo)", ENGINE)
    box(axes, 6.7, row, 2.4, "Dask cluster", "any distributed.Client", ENGINE)
    box(axes, 3.5, row, 2.4, "ledger", "each unit published once", ENGINE)
    box(axes, 0.3, row, 2.4, "result", "Zarr or Parquet, provenance", STORED)
    for x in (9.85, 6.65, 3.45):
        arrow(axes, (x, row + 0.5), (x - 0.7, row + 0.5))
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_name("data-path.svg"), metadata={"Date": None})
