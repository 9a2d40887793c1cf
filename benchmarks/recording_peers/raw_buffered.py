"""The same as `raw`, by way of the page cache."""

from pathlib import Path

from benchmarks.recording_peers import raw
from benchmarks.recording_peers.peer import Recording, Stream

DURABILITY = raw.DURABILITY
CHECKS = raw.CHECKS
COMPRESSIONS = raw.COMPRESSIONS


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the folder."""
    return raw.prepare(stream, folder, direct=False)
