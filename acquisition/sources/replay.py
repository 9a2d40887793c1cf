"""A recording as a source of frames."""

import os
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.sources.description import merged
from forebay.acquisition.sources.paced import Exposure, PacedSource
from forebay.acquisition.sources.parameters import whole

if TYPE_CHECKING:
    from forebay.acquisition.sources.readers.reader import Reader

CACHE_BYTES = 256 * 2**20
"""Most bytes of decoded frames that a replay keeps, unless it is told otherwise."""


class ReplaySource(PacedSource):
    """Replays a recording, once or over and over, as fast as possible or like a camera.

    Counters begin at 0 and timestamps are those of the replay, not of the recording.  The pixels
    of a frame cannot be written to.

    Parameters
    ----------
    recording
        Path of a folder or a file, with ``::`` and the name of an array where it holds several;
        or a reader, which the source closes when it is closed.
    rate
        Frames per second.  The source is then a free-running camera that waits for nobody: a
        late frame is delivered at once, and the counters go on.  Before the first frame, as many
        as fit into the cache are decoded.  None: as fast as they are asked for.
    frames
        Frames to deliver; the recording begins anew as often as needed.  None: once through.
    metadata
        What to say of the instrument; it takes precedence over what the recording says.
    cache_bytes
        Most bytes of decoded frames to keep: the first frames of the recording, for its next
        round.  Those behind them are decoded again in each round.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If the recording cannot be read, or a parameter is out of range.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/two.npy", np.arange(12, dtype="uint8").reshape(2, 2, 3))
    ...     with ReplaySource(f"{folder}/two.npy", frames=3) as source:
    ...         [(frame.counter, int(frame.data[0, 0])) for frame in source.frames()]
    [(0, 0), (1, 6), (2, 0)]
    """

    def __init__(
        self,
        recording: "str | os.PathLike[str] | Reader",
        *,
        rate: float | None = None,
        frames: int | None = None,
        metadata: ImageMetadata | None = None,
        cache_bytes: int = CACHE_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(rate=rate, frames=frames, clock=clock)
        room = whole("cache_bytes", cache_bytes, 0, 2**62)
        if isinstance(recording, str | os.PathLike):
            # The readers bring the libraries of all formats, which not every user needs.
            from forebay.acquisition.sources.readers.opening import open_reader

            recording = open_reader(os.fspath(recording))
        self._reader = recording
        self._geometry = recording.geometry
        self._length = len(recording)
        self._limit = self._length if self._limit is None else self._limit
        self._cached: dict[int, npt.NDArray[Any]] = {}
        reused = rate is not None or self._limit > self._length
        fitting = room // self._geometry.frame_bytes if reused else 0
        self._to_cache = min(fitting, self._length, self._limit)
        self._metadata = merged(_replayed(recording.metadata, self._rate), metadata)

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame."""
        return self._geometry

    @property
    def metadata(self) -> ImageMetadata:
        """What the recording says, with the rate of the replay where it has one.

        The rate that the recording was made at is then ``recorded_frame_rate`` in ``instrument``.
        """
        return self._metadata

    def _prepare(self) -> None:
        """Fill the cache, as far as the recording can be read; what is wrong is told in time."""
        if self.can_wait:
            return
        for index in range(self._to_cache):
            with self._busy:
                if self._stopped.is_set():
                    return
                try:
                    self._decode(index)
                except SourceError:
                    return

    def _expose(self, counter: int) -> Exposure:
        return Exposure(self._decode(counter % self._length))

    def _decode(self, index: int) -> npt.NDArray[Any]:
        if index in self._cached:
            return self._cached[index]
        pixels = self._reader.read(index)
        expected = self._geometry
        if pixels.shape != expected.shape or pixels.dtype != expected.dtype:
            raise SourceError(
                f"{self._reader.name(index)} is {_described(pixels.shape, pixels.dtype)}, but the "
                f"recording began with {_described(expected.shape, expected.dtype)}; convert it, "
                "or replay the frames from it on as a recording of their own"
            )
        pixels.flags.writeable = False
        if index < self._to_cache:
            self._cached[index] = pixels
        return pixels

    def _free(self) -> None:
        self._cached.clear()
        self._reader.close()


def _replayed(found: ImageMetadata, rate: float | None) -> ImageMetadata:
    """Say at which rate the frames come now, and at which they were recorded."""
    if rate is None:
        return found
    recorded = found.frame_rate
    facts = {} if recorded in (None, rate) else {"recorded_frame_rate": recorded}
    return merged(found, ImageMetadata(frame_rate=rate, instrument=facts))


def _described(shape: tuple[int, ...], dtype: object) -> str:
    """Return a shape and a type as one reads them.

    Examples
    --------
    >>> _described((424, 640), "uint8")
    '424 × 640 uint8'
    """
    return f"{' × '.join(map(str, shape))} {dtype}"
