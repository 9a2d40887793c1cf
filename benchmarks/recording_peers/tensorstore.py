"""TensorStore's zarr3 driver, which flushes each file and its folder before a write is done."""

from collections import deque
from pathlib import Path
from typing import Any

import tensorstore
from benchmarks.recording_peers.files import read_zarr
from benchmarks.recording_peers.peer import IN_FLIGHT, Compression, Recording, Stream

DURABILITY = "shard, folder"
CHECKS = "CRC-32C of each frame"
COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4")

_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_LZ4 = {
    "name": "blosc",
    "configuration": {
        "cname": "lz4",
        "clevel": 5,
        "shuffle": "bitshuffle",
        "typesize": 2,
        "blocksize": 0,
    },
}
_CRC32C = {"name": "crc32c"}


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the array, which is written some shards at a time."""
    array = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(folder)},
            "metadata": _metadata(stream),
        },
        create=True,
    ).result()

    def record() -> None:
        pending: deque[Any] = deque()
        for begin in range(0, stream.frames, stream.frames_per_shard):
            if len(pending) == IN_FLIGHT:
                pending.popleft().result()
            part = array[begin : begin + stream.frames_per_shard]
            written = part.write(stream.shard(), can_reference_source_data_indefinitely=True)
            pending.append(written.commit)
        for commit in pending:
            commit.result()

    return Recording(record, lambda position: read_zarr(folder, position))


def _metadata(stream: Stream) -> dict[str, Any]:
    frame = [stream.side, stream.side]
    packing = [_LZ4] if stream.compression == "lz4" else []
    sharding = {
        "chunk_shape": [1, *frame],
        "codecs": [_BYTES, *packing, _CRC32C],
        "index_codecs": [_BYTES, _CRC32C],
    }
    return {
        "shape": list(stream.shape),
        "data_type": "uint16",
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [stream.frames_per_shard, *frame]},
        },
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }
