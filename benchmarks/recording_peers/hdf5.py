"""h5py's direct chunks in one HDF5 file, aligned to pages; flushed behind each shard's frames."""

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from benchmarks.recording_peers.files import flush, flush_all
from benchmarks.recording_peers.peer import PAGE, Compression, Recording, Stream

DURABILITY = "file, after each shard (added here)"
CHECKS = "none of the frames"
COMPRESSIONS: tuple[Compression, ...] = ("none",)


def prepare(stream: Stream, folder: Path) -> Recording:
    """Make the file."""
    folder.mkdir(parents=True)
    path = folder / "frames.h5"
    file = h5py.File(path, "x", libver="latest", alignment_threshold=PAGE, alignment_interval=PAGE)
    frames = file.create_dataset(
        "frames",
        stream.shape,
        np.uint16,
        chunks=(1, *stream.shape[1:]),
        maxshape=(None, None, None),
    )

    def record() -> None:
        for position in range(stream.frames):
            frames.id.write_direct_chunk((position, 0, 0), stream.frame(position))
            if (position + 1) % stream.frames_per_shard == 0:
                file.flush()
                flush(path)
        file.close()
        flush_all(folder)

    return Recording(record, lambda position: _read(path, position))


def _read(path: Path, position: int) -> npt.NDArray[np.generic]:
    with h5py.File(path) as file:
        return np.asarray(file["frames"][position])
