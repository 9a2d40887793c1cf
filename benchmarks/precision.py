"""What a parameter that trades accuracy for speed costs, and brings, on real frames.

    python benchmarks/precision.py [--write]

Each setting is compared with the most exact one, in float64: the largest difference by the largest
value, and the processor time by that of the same setting's slowest neighbour.  ``--write`` puts the
table into docs/reference/precision.md, and below it what each operation says of float32.
"""

import argparse
import inspect
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from forebay import ops
from forebay.ops.catalogue import operations

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "precision.md"
FRAMES = sorted((ROOT / "examples" / "data" / "bulk_water").glob("*.png"))[:4]
BEGIN = "| operation | setting | largest error | time |\n"

PROMISE = re.compile(
    r"(?:[Ff]loat32 (?:is |\()|Integers are )(within \d[^.)]*|exact[^.]*|those of the formula)"
)
"""How an operation says in its docstring how far float32, or what it takes, may be off."""

type Apply = Callable[[xr.DataArray, Any], xr.DataArray]


@dataclass(frozen=True)
class Trade:
    """A parameter with its settings, the most exact one last."""

    operation: str
    """What it is a parameter of."""
    parameter: str
    """What it is called."""
    settings: tuple[Any, ...]
    """Its values, the most exact one last: what the others are compared with."""
    apply: Apply
    """The operation with a setting."""


@dataclass(frozen=True)
class Row:
    """What came of a setting."""

    operation: str
    """What was done."""
    setting: str
    """With which value of which parameter."""
    error: float
    """Largest difference from the most exact setting, as a part of the largest value."""
    time: float
    """Processor time by that of the most exact setting."""

    def __str__(self) -> str:
        """Return a line of the table."""
        error = "–" if self.error == 0 else f"{self.error:.1e}"
        return f"| `{self.operation}` | `{self.setting}` | {error} | {self.time:.2f} |\n"


def water() -> xr.DataArray:
    """Return a part of the first frames, with the spheres bright."""
    stack = [255 - np.asarray(Image.open(file))[40:240, 60:260] for file in FRAMES]
    return xr.DataArray(np.stack(stack), dims=("t", "y", "x"))


def typed(function: Callable[[xr.DataArray], xr.DataArray]) -> Apply:
    """Return an operation that is told by the type of its frames how exactly to work."""
    return lambda frames, dtype: function(frames.astype(dtype))


PSF = ops.gaussian_psf(sigma=1.5)
MOVED = xr.DataArray([3.3, -1.7], dims="axis", coords={"axis": ["y", "x"]})
DTYPES = ("float32", "float64")

TRADES = (
    Trade(
        "richardson_lucy",
        "precision",
        ("fast", "exact"),
        lambda frames, value: ops.richardson_lucy(frames, psf=PSF, iterations=20, precision=value),
    ),
    Trade(
        "rolling_ball",
        "precision",
        ("fast", "exact"),
        lambda frames, value: ops.rolling_ball(frames[:1], radius=20, precision=value),
    ),
    Trade(
        "gaussian_filter",
        "truncate",
        (2.0, 3.0, 4.0, 6.0),
        lambda frames, value: ops.gaussian_filter(
            frames.astype("float64"), sigma=5, truncate=value
        ),
    ),
    Trade(
        "correct_drift",
        "order",
        (0, 1, 3, 5),
        lambda frames, value: ops.correct_drift(
            frames.astype("float64"), MOVED, order=value, edge="nearest"
        ),
    ),
    Trade(
        "phase_correlation",
        "upsampling",
        (1, 10, 100),
        lambda frames, value: ops.phase_correlation(frames, frames[0], upsampling=value),
    ),
    Trade(
        "background",
        "sample",
        (2, 3, None),
        lambda frames, value: ops.background(frames, sample=value),
    ),
    Trade("bandpass", "dtype", DTYPES, typed(lambda x: ops.bandpass(x, background_sigma=5))),
    Trade(
        "fourier_bandpass",
        "dtype",
        DTYPES,
        typed(lambda x: ops.fourier_bandpass(x, min_wavelength=4, max_wavelength=32)),
    ),
    Trade("power_spectrum", "dtype", DTYPES, typed(ops.power_spectrum)),
    Trade("wavelet_denoise", "dtype", DTYPES, typed(ops.wavelet_denoise)),
    Trade(
        "wiener",
        "dtype",
        DTYPES,
        typed(lambda x: ops.wiener(x, psf=PSF, noise_to_signal=1e-2)),
    ),
)
"""What is compared."""


def measured(trade: Trade, frames: xr.DataArray, repeats: int) -> list[Row]:
    """Return the rows of one parameter; the settings take turns."""
    results = {value: trade.apply(frames, value) for value in trade.settings}
    taken: dict[Any, list[float]] = {value: [] for value in trade.settings}
    for _ in range(repeats):
        for value in trade.settings:
            begun = time.process_time()
            trade.apply(frames, value)
            taken[value].append(time.process_time() - begun)
    exact = results[trade.settings[-1]].astype("float64")
    slowest = statistics.median(taken[trade.settings[-1]])
    return [
        Row(
            trade.operation,
            f"{trade.parameter}={value!r}",
            float(abs(result - exact).max() / abs(exact).max()),
            statistics.median(taken[value]) / slowest,
        )
        for value, result in results.items()
    ]


def promises() -> str:
    """Return the part of the page with what operations say of float32, to which tests hold them."""
    lines = []
    for name, operation in sorted(operations().items()):
        words = " ".join((inspect.getdoc(operation.function) or "").split())
        said = PROMISE.search(words)
        lines.append(f"| `{name}` | {said[1] if said else ''} |\n")
    return (
        "\n## Float32\n\nHow far results in float32 are off at most, as the operations say themselves."
        "\nThose that take only integers compute in float64 what they give.\n\n"
        f"| operation | float32 is |\n|---|---|\n{''.join(lines)}"
    )


def main() -> None:
    """Measure and print, or put the table into its page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--repeats", type=int, default=5, help="of each setting (default 5)")
    arguments = parser.parse_args()
    frames = water()
    rows = [row for trade in TRADES for row in measured(trade, frames, arguments.repeats)]
    table = "".join(map(str, rows))
    if not arguments.write:
        print(table, end="")
        return
    before, _, _ = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}|---|---|---|---|\n{table}{promises()}")


if __name__ == "__main__":
    main()
