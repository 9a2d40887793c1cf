"""What is recorded, and what a module must have that records it."""

import functools
import importlib
import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

type Compression = Literal["none", "lz4"]
type Pixels = npt.NDArray[np.uint16]

IN_FLIGHT = 3
"""Shards that are written at a time, by whoever can write several."""
PAGE = 4096

_PICTURES = Path(__file__).parents[2] / "examples" / "data" / "bulk_water"
_NOISE_LEVELS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Frames to record: the pictures of one shard, again and again."""

    side: int
    """Height and width of a frame, pixels."""
    frames_per_shard: int
    """Frames in a shard, all different."""
    shards: int
    """Shards to record."""
    compression: Compression = "none"
    """How they are packed: not at all, or by Blosc with bit shuffle, LZ4 and level 5."""

    @classmethod
    def of(cls, side: int, *, gigabytes: float, shard_bytes: int) -> Self:
        """Return about so many bytes of square frames, in shards of about such a size."""
        frame_bytes = 2 * side**2
        frames_per_shard = max(1, shard_bytes // frame_bytes)
        shards = max(2, round(gigabytes * 1e9 / (frames_per_shard * frame_bytes)))
        return cls(side=side, frames_per_shard=frames_per_shard, shards=shards)

    @property
    def frames(self) -> int:
        """Frames to record."""
        return self.shards * self.frames_per_shard

    @property
    def nbytes(self) -> int:
        """Bytes to record, before compression."""
        return 2 * self.frames * self.side**2

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of what is recorded: t, y, x."""
        return (self.frames, self.side, self.side)

    def frame(self, position: int) -> Pixels:
        """Return one of the frames."""
        frame: Pixels = self.shard()[position % self.frames_per_shard]
        return frame

    def shard(self) -> Pixels:
        """Return the frames of a shard, which are the same in each: t, y, x."""
        return _pictures(self.side, self.frames_per_shard)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that is to be made."""

    record: Callable[[], object]
    """Makes it."""
    read: Callable[[int], npt.NDArray[np.generic]]
    """Returns a frame of it, by its position."""


class Peer(Protocol):
    """What a module of this package has.

    It is given frames that are there already and stay there, and may read them as it likes.
    """

    DURABILITY: str
    """What is on the disk for sure, and when."""
    CHECKS: str
    """What checksums are stored."""
    COMPRESSIONS: tuple[Compression, ...]
    """The compressions that it has."""

    @staticmethod
    def prepare(stream: Stream, folder: Path) -> Recording:
        """Make ready to record a stream in a folder that does not exist yet."""


def load_peer(name: str) -> Peer:
    """Return a peer by the name of its module.

    Raises
    ------
    ImportError
        If there is no such module, or what it needs is not installed.
    """
    return cast(Peer, importlib.import_module(f"benchmarks.recording_peers.{name}"))


def each_shard(stream: Stream, write: Callable[[int], object]) -> None:
    """Call a function for each shard, several at a time."""
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        for written in [threads.submit(write, number) for number in range(stream.shards)]:
            written.result()


def aligned_memory(nbytes: int) -> npt.NDArray[np.uint8]:
    """Return memory that begins at a page, on huge pages where the system has them."""
    mapped = mmap.mmap(-1, nbytes + -nbytes % PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapped.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapped, np.uint8)[:nbytes]


@functools.cache
def _pictures(side: int, count: int) -> Pixels:
    """Return real pictures side by side, with noise in four bits below theirs: 12 bits."""
    random = np.random.default_rng(1)
    frames = aligned_memory(2 * count * side**2).view(np.uint16).reshape(count, side, side)
    files = sorted(_PICTURES.glob("*.png"))
    for number, frame in enumerate(frames):
        picture = np.asarray(Image.open(files[number % len(files)]), np.uint16)
        repeats = [-(-side // length) for length in picture.shape]
        frame[:] = np.tile(picture, repeats)[:side, :side] * _NOISE_LEVELS
        frame += random.integers(0, _NOISE_LEVELS, frame.shape, np.uint16)
    return frames
