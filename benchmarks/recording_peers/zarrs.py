"""zarr-python with the codecs and the files of zarrs, flushed as in `zarr_python`."""

from pathlib import Path

import zarr
import zarrs
from benchmarks.recording_peers import zarr_python
from benchmarks.recording_peers.peer import Recording, Stream

DURABILITY = zarr_python.DURABILITY
CHECKS = zarr_python.CHECKS
COMPRESSIONS = zarr_python.COMPRESSIONS


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the array, with another pipeline of codecs."""
    pipeline = f"{zarrs.__name__}.{zarrs.ZarrsCodecPipeline.__name__}"
    with zarr.config.set({"codec_pipeline.path": pipeline, "codec_pipeline.strict": True}):
        return zarr_python.prepare(stream, folder)
