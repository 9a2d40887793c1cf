"""A simulated camera."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.frames import FrameFlag, Geometry, ImageMetadata
from forebay.acquisition.sources.description import merged
from forebay.acquisition.sources.paced import Exposure, PacedSource
from forebay.acquisition.sources.simulated.loss import Loss
from forebay.acquisition.sources.simulated.scene import Scene
from forebay.acquisition.sources.simulated.truth import truth_table, write_truth_table

if TYPE_CHECKING:
    import pandas as pd


class SimulatedSource(PacedSource):
    """A camera that looks at a simulated scene, and the truth about what it saw.

    Frames are uint16 with the axes y and x.  One with a pixel at the upper limit has the flag
    ``SATURATED``.  Where frames cannot be computed as fast as `rate` asks, they are late, and are
    delivered at once; the counters go on.

    Parameters
    ----------
    scene
        What there is to see; the default scene where it is None.
    rate
        Frames per second; None for as fast as possible.
    frames
        Exposures that the camera counts, lost ones among them; None goes on until `stop`, as a
        camera does.
    lost_counters
        Exposures that the camera counts and never delivers.
    lost_fraction
        The chance of each exposure to be lost, 0 to 0.999; the scene's seed decides which are.
    metadata
        What to say of the instrument; it takes precedence over what the simulation says itself.
    clock
        Source of times.

    Raises
    ------
    SourceError
        If a parameter is out of range.

    Notes
    -----
    Nobody can see from the frames that exposures were lost before the first delivered one or
    behind the last; a run's count begins and ends with delivered frames.

    Examples
    --------
    >>> with SimulatedSource(Scene(shape=(32, 32), emitters=2), frames=4, lost_counters={1}) as s:
    ...     [frame.counter for frame in s.frames()]
    [0, 2, 3]
    >>> s.truth()[["frame_id", "particle"]].to_numpy().tolist()
    [[0, 0], [0, 1], [2, 0], [2, 1], [3, 0], [3, 1]]
    """

    def __init__(
        self,
        scene: Scene | None = None,
        *,
        rate: float | None = None,
        frames: int | None = None,
        lost_counters: Iterable[int] = (),
        lost_fraction: float = 0.0,
        metadata: ImageMetadata | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(rate=rate, frames=frames, clock=clock)
        self._scene = scene or Scene()
        self._loss = Loss.of(lost_counters, lost_fraction, seed=self._scene.seed)
        self._counted = 0
        own = ImageMetadata(frame_rate=self._rate, instrument={"simulated": self._scene.as_json()})
        self._metadata = merged(own, metadata)

    @property
    def scene(self) -> Scene:
        """What the camera looks at."""
        return self._scene

    @property
    def geometry(self) -> Geometry:
        """The layout of every frame."""
        return Geometry(("y", "x"), self._scene.shape, np.dtype(np.uint16))

    @property
    def metadata(self) -> ImageMetadata:
        """The nominal frame rate, and under ``simulated`` the parameters of the scene."""
        return self._metadata

    def truth(self) -> "pd.DataFrame":
        """Return what there was to see in the frames that were delivered until now.

        Returns
        -------
        pandas.DataFrame
            A row for each emitter in the field of view in each frame: ``frame_id`` (the frame's
            counter), ``particle``, ``y`` and ``x`` (pixels, 0 in the middle of the first pixel),
            ``photons`` (mean, over all pixels).  It is computed anew at each call.
        """
        return truth_table(self._scene, self._delivered())

    def write_truth(self, path: str | os.PathLike[str]) -> None:
        """Write what `truth` returns as a Parquet file, replacing a file that is there.

        Raises
        ------
        StorageError
            If it cannot be written.  What was at `path` is still there.
        """
        write_truth_table(self._scene, self._delivered(), Path(path))

    def _delivered(self) -> Iterator[int]:
        return (counter for counter in range(self._counted) if not self._loss.takes(counter))

    def _expose(self, counter: int) -> Exposure | None:
        if self._loss.takes(counter):
            return None
        data = self._scene.image(counter)
        full = bool((data == self._scene.top).any())
        return Exposure(data, FrameFlag.SATURATED if full else FrameFlag(0))

    def _delivering(self, counter: int) -> None:
        self._counted = counter + 1
