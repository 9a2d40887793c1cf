"""zarr-python, several shards in as many threads; it flushes nothing, so that is done for it."""

from pathlib import Path

import numpy as np
import zarr
from benchmarks.recording_peers.files import flush, read_zarr
from benchmarks.recording_peers.peer import Compression, Recording, Stream, each_shard
from zarr.codecs import BloscCodec, Crc32cCodec

DURABILITY = "shard, folders (added here)"
CHECKS = "CRC-32C of each frame"
COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4")


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the array."""
    packing = [BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle")]
    array = zarr.create_array(
        folder,
        shape=stream.shape,
        chunks=(1, *stream.shape[1:]),
        shards=(stream.frames_per_shard, *stream.shape[1:]),
        dtype=np.uint16,
        compressors=[*(packing if stream.compression == "lz4" else []), Crc32cCodec()],
        config={"write_empty_chunks": True},
    )

    def write_shard(number: int) -> None:
        begin = number * stream.frames_per_shard
        array[begin : begin + stream.frames_per_shard] = stream.shard()
        path = folder / "c" / str(number) / "0" / "0"
        flush(path)
        for above in (path.parent, path.parents[1], path.parents[2]):
            flush(above)

    return Recording(
        lambda: each_shard(stream, write_shard), lambda position: read_zarr(folder, position)
    )
