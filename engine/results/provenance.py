"""Where a result comes from: run, extents, digests, algorithm, parameters, environment."""

import functools
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from forebay.engine.unit import Unit

_PACKAGES = (
    "forebay",
    "cupy-cuda12x",
    "dask",
    "distributed",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "xarray",
    "zarr",
)


@functools.cache
def environment() -> dict[str, str]:
    """Return the versions of what takes part in a computation on this machine."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def provenance(unit: Unit, *, attempt: int, location: str) -> dict[str, Any]:
    """Return what a part says of its origin."""
    return {
        "format_version": 1,
        "job": unit.job.identity,
        "unit": unit.identity,
        "attempt": attempt,
        "run": {"id": unit.job.run_id, "name": unit.job.run_name, "location": location},
        "extent": asdict(unit.core.t),
        "core": asdict(unit.core),
        "seen": asdict(unit.seen),
        "inputs_blake3": list(unit.inputs),
        "before": unit.before,
        "algorithm": {
            "name": unit.job.algorithm,
            "version": unit.job.version,
            "needs": asdict(unit.job.needs),
        },
        "parameters": unit.job.parameters,
        "environment": environment(),
    }
