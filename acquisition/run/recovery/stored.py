"""A block as it lies on the storage, known by nothing but its own checksums."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.codec import CRC_BYTES, checked
from forebay.acquisition.format.layout import COORDINATES, FRAMES, RunLayout
from forebay.acquisition.format.record import Block, Dropped, Extent, StoredObject
from forebay.acquisition.format.shard import index_bytes

_ENTRY = np.dtype([("offset", "<u8"), ("bytes", "<u8")])
_ABSENT = np.iinfo(np.uint64).max


@dataclass(frozen=True)
class StoredBlock:
    """A block that is whole and sound, whether or not the log knows of it."""

    number: int
    """Its place in the run, from 0."""
    frame_ids: npt.NDArray[np.uint64]
    """The counters of its frames, going up."""
    timestamps: npt.NDArray[np.int64]
    """Their times, in nanoseconds since 1970-01-01 UTC."""
    objects: tuple[StoredObject, ...]
    """What holds it, the frames' shard last."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frame_ids)

    def record(self, run: RunLayout, dropped: tuple[Dropped, ...]) -> Block:
        """Return the record that commits it."""
        start = self.number * run.frames_per_block
        return Block(
            number=self.number,
            extent=Extent(start, start + len(self)),
            frame_ids=(int(self.frame_ids[0]), int(self.frame_ids[-1])),
            timestamps=(int(self.timestamps[0]), int(self.timestamps[-1])),
            dropped=dropped,
            objects=self.objects,
        )


def read_stored_block(path: Path, run: RunLayout, number: int) -> StoredBlock:
    """Read all objects of a block and check each by its own checksums.

    Parameters
    ----------
    path
        Folder of the run.
    run
        What its blocks have in common.
    number
        The block.

    Raises
    ------
    RunDamagedError
        If an object is missing, short or has changed, or if they do not fit together.
    """
    contents = {key: _content(path / key) for key in run.object_keys(number)}
    shard_key = run.object_key(FRAMES, number)
    where = f"block {number}: {path / shard_key}"
    count = _check_shard(memoryview(contents[shard_key]), run, where=where)
    along = {
        name: _values(contents[key], dtype, run, where=f"block {number}: {path / key}")[:count]
        for name, dtype in COORDINATES.items()
        for key in [run.object_key(name, number)]
    }
    frame_ids = along["frame_id"]
    if not np.all(frame_ids[1:] > frame_ids[:-1]):
        raise RunDamagedError(f"block {number} of {path}: the frames' counters do not go up")
    objects = tuple(
        StoredObject(key=key, bytes=len(content), blake3=blake3(content).hexdigest())
        for key, content in contents.items()
    )
    return StoredBlock(number, frame_ids, along["timestamp"], objects)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise RunDamagedError(f"{path} is missing") from error


def _values(
    content: bytes, dtype: np.dtype[Any], run: RunLayout, *, where: str
) -> npt.NDArray[Any]:
    values = checked(memoryview(content), what=where)
    if values.nbytes != run.frames_per_block * dtype.itemsize:
        raise RunDamagedError(f"{where} has the length of another number of frames")
    return np.frombuffer(values, dtype.newbyteorder("<"))


def _check_shard(content: memoryview, run: RunLayout, *, where: str) -> int:
    """Check the index and every frame of a shard; return the number of frames."""
    index_length = index_bytes(run.frames_per_block)
    if content.nbytes < index_length:
        raise RunDamagedError(f"{where} is too short for its index")
    table = checked(content[-index_length:], what=f"{where}: index of the shard")
    index = np.frombuffer(table, _ENTRY)
    present = index["offset"] != _ABSENT
    count = int(present.sum())
    if not count or not present[:count].all():
        raise RunDamagedError(f"{where}: frames are missing from the shard")
    entries = [(int(entry["offset"]), int(entry["bytes"])) for entry in index[:count]]
    ends = [0, *(offset + length for offset, length in entries)]
    begins = [*(offset for offset, _ in entries), content.nbytes - index_length]
    # Frames may have zeros between them, and never a part in common.
    if any(begin < end for begin, end in zip(begins, ends, strict=True)):
        raise RunDamagedError(f"{where}: the frames of the shard lie outside their places")
    whole = run.geometry.frame_bytes + CRC_BYTES
    for position, (offset, length) in enumerate(entries):
        what = f"{where}: frame {position} of the block"
        checked(content[offset : offset + length], what=what)
        if run.compression.name == "none" and length != whole:
            raise RunDamagedError(f"{what} has {length} bytes instead of {whole}")
    return count
