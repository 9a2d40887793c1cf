"""Forebay's own service, from a source whose frames lie in the ring: given to it, as to its peers."""

from pathlib import Path

from benchmarks.recording_measurements.ring_source import RingSource
from benchmarks.recording_peers.forebay import CHECKS, COMPRESSIONS, DURABILITY, settings_for
from benchmarks.recording_peers.peer import Recording, Stream

from forebay.acquisition import open_run
from forebay.acquisition.service.prepare import prepare as prepare_acquisition

__all__ = ["CHECKS", "COMPRESSIONS", "DURABILITY", "prepare"]


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the run and its ring, and fill it."""
    source = RingSource(stream.shard(), count=stream.frames)
    acquisition = prepare_acquisition(source, folder, settings=settings_for(stream))
    source.fill(acquisition._ring)  # noqa: SLF001
    return Recording(acquisition.run, lambda position: open_run(folder).frames[position].to_numpy())
