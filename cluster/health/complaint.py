"""Whether a worker is fit for work, by what it says of itself."""

from collections.abc import Mapping
from typing import Any

LEAST_DISK = 256 * 2**20
"""Bytes that have to be free where a worker spills."""
LEAST_MEMORY = 0.01
"""Share of its machine's memory that has to be free."""
MOST_SKEW = 30.0
"""Seconds by which its clock may be off, with the way of its message."""
MOST_SILENCE = 60.0
"""Seconds for which nothing may be heard of it; Dask's workers tell of themselves every few."""


def complaint(health: Mapping[str, Any], *, skew: float, silence: float = 0.0) -> str:
    """Return what is wrong with a worker's machine; nothing if nothing is.

    Parameters
    ----------
    health
        What it has said of itself last.
    skew
        Seconds by which its clock is off.
    silence
        Seconds for which nothing was heard of it.

    Examples
    --------
    >>> complaint({"disk_free": 2**40, "memory_free": 0.5, "gpu_errors": []}, skew=0.1)
    ''
    >>> complaint({"folder": "/tmp", "disk_free": 2**20}, skew=0.1)
    'its disk is full: 1 MiB are free in /tmp'
    """
    if silence > MOST_SILENCE:
        return f"nothing was heard of it for {silence:.0f} s"
    errors = health.get("gpu_errors") or ()
    if errors:
        return "; ".join(errors)
    disk = health.get("disk_free")
    if disk is not None and disk < LEAST_DISK:
        folder = health.get("folder", "where workers spill")
        return f"its disk is full: {disk >> 20} MiB are free in {folder}"
    memory = health.get("memory_free")
    if memory is not None and memory < LEAST_MEMORY:
        return f"its memory is full: {memory:.1%} are free"
    if abs(skew) > MOST_SKEW:
        return f"its clock is off by {skew:.0f} s: let it be set by NTP"
    return ""
