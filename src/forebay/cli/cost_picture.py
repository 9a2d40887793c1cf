"""The picture of what policies cost over years."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.acquisition import durable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from forebay.tiering.simulation.course import Course

_COLOURS = ("#d1495b", "#edae49", "#30638e", "#00798c", "#66a182", "#8d96a3")


def draw_costs(path: Path, courses: "Sequence[Course]") -> None:
    """Write a picture of the cost of each month, and of what lies in each tier, as PNG.

    Parameters
    ----------
    path
        File to write, or to put in the place of an earlier one.
    courses
        What each set of policies has cost.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(8.0, 3.2 * len(courses)), 7.5), layout="constrained")
    grid = figure.add_gridspec(2, len(courses))
    costs = figure.add_subplot(grid[0, :])
    for number, course in enumerate(courses):
        years = [point.day / 365.25 for point in course.points]
        values = [point.cost_per_month for point in course.points]
        colour = _COLOURS[number % len(_COLOURS)]
        costs.plot(years, values, color=colour, label=f"{course.policies}: {course.cost:.0f}")
    costs.set(xlabel="time (years)", ylabel="cost in a month", title="what it costs, and in all")
    costs.set_ylim(bottom=0)
    costs.legend(frameon=False)
    panels: list[Axes] = []
    for number, course in enumerate(courses):
        panels.append(figure.add_subplot(grid[1, number], sharey=panels[0] if panels else None))
        _draw_tiers(panels[-1], course)
    panels[0].set_ylabel("TB")
    panels[0].legend(frameon=False, loc="upper left")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    with durable.storage_errors(f"the picture {path}"):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path.with_name(f".{path.name}.tmp"), path, content.getvalue())


def _draw_tiers(axes: "Axes", course: "Course") -> None:
    years = [point.day / 365.25 for point in course.points]
    names = list(course.points[-1].bytes)
    rows = [[point.bytes[name] / 1e12 for point in course.points] for name in names]
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(names))]
    axes.stackplot(years, rows, labels=names, colors=colours)
    axes.set(xlabel="time (years)", title=course.policies)
