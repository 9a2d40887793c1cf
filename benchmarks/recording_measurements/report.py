"""Where it was measured, and figures as tables."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table

PACKAGES = (
    "forebay",
    "numpy",
    "numcodecs",
    "acquire-zarr",
    "tensorstore",
    "zarr",
    "zarrs",
    "h5py",
)

type Row = Mapping[str, Any]


def conditions(places: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "places": {name: f"{path}, {_file_system(path)}" for name, path in places.items()},
    }


def table(title: str, rows: Sequence[Row]) -> Table:
    """Return figures as a table: a row each, or name and value if there is but one."""
    if len(rows) == 1:
        single = Table("", "", title=title, title_justify="left", show_header=False)
        for name, value in rows[0].items():
            single.add_row(name.replace("_", " "), _text(value))
        return single
    names = list(dict.fromkeys(name for row in rows for name in row))
    many = Table(*(name.replace("_", " ") for name in names), title=title, title_justify="left")
    for row in rows:
        many.add_row(*(_text(row.get(name, "")) for name in names))
    return many


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _file_system(path: Path) -> str:
    """Return the type of the file system that a folder lies in."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(where, kind) for where, kind in mounts if path.is_relative_to(where)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"
