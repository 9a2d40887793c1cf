"""Frames that a program in C or C++ writes straight into the ring, and the header for it."""

from pathlib import Path

from forebay.acquisition.sources.shared_memory.source import SharedMemorySource

__all__ = ["SharedMemorySource", "header_path"]


def header_path() -> Path:
    """Return where the C header lies that the program needs.

    Examples
    --------
    >>> header_path().name
    'forebay_ring.h'
    """
    return Path(__file__).with_name("forebay_ring.h")
