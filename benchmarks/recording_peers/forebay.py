"""Forebay's own service, from a source that delivers as fast as it is let."""

from pathlib import Path

from benchmarks.recording_measurements.source import PreparedSource
from benchmarks.recording_peers.peer import Compression, Recording, Stream

from forebay.acquisition import open_run
from forebay.acquisition.service.prepare import prepare as prepare_acquisition
from forebay.acquisition.settings import AcquisitionSettings

BUFFER_SHARDS = 8
DURABILITY = "shard, coordinates, folders, log line"
CHECKS = "CRC-32C of each frame, BLAKE3 of each file"
COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4")


def settings_for(stream: Stream, **others: object) -> AcquisitionSettings:
    """Return how a stream is recorded, with other settings besides."""
    given = {
        "frames_per_block": stream.frames_per_shard,
        "compression": "blosc-lz4" if stream.compression == "lz4" else "none",
        "buffer_bytes": BUFFER_SHARDS * stream.nbytes // stream.shards,
        **others,
    }
    return AcquisitionSettings.model_validate(given)


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the run and its ring."""
    source = PreparedSource(stream.shard(), count=stream.frames)
    acquisition = prepare_acquisition(source, folder, settings=settings_for(stream))
    return Recording(acquisition.run, lambda position: open_run(folder).frames[position].to_numpy())
