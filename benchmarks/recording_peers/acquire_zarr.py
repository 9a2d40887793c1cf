"""acquire-zarr, which takes one frame after the other and writes in threads of its own.

It flushes each shard when it is written, and cannot be asked when that is; folders it does not
flush, so that is done when it has closed.
"""

from pathlib import Path

import acquire_zarr as aqz
import numpy as np
from benchmarks.recording_peers.files import flush_all, read_zarr
from benchmarks.recording_peers.peer import Compression, Recording, Stream

DURABILITY = "shard; folders at the end"
CHECKS = "CRC-32C of each index"
COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4")


def prepare(stream: Stream, folder: Path) -> Recording:
    """Open the stream; what is recorded is appended to it."""
    array = aqz.ArraySettings(
        dimensions=[
            _dimension("t", aqz.DimensionType.TIME, 0, 1, stream.frames_per_shard),
            _dimension("y", aqz.DimensionType.SPACE, stream.side, stream.side, 1),
            _dimension("x", aqz.DimensionType.SPACE, stream.side, stream.side, 1),
        ],
        data_type=np.uint16,
        compression=_LZ4 if stream.compression == "lz4" else None,
    )
    writer = aqz.ZarrStream(aqz.StreamSettings(store_path=str(folder), arrays=[array]))

    def record() -> None:
        for position in range(stream.frames):
            writer.append(stream.frame(position))
        writer.close()
        flush_all(folder)

    return Recording(record, lambda position: read_zarr(folder, position))


_LZ4 = aqz.CompressionSettings(
    compressor=aqz.Compressor.BLOSC1, codec=aqz.CompressionCodec.BLOSC_LZ4, level=5, shuffle=2
)


def _dimension(
    name: str, kind: aqz.DimensionType, size: int, chunk: int, shard: int
) -> aqz.Dimension:
    return aqz.Dimension(
        name=name, kind=kind, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=shard
    )
