"""A declared chain of reductions between the ring and the recorder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.errors import FrameError
from forebay.acquisition.frames import Geometry, ImageMetadata, check_geometry
from forebay.acquisition.reduction.bands import BandedOperations
from forebay.acquisition.reduction.fitting import FittedStep, fit_all
from forebay.acquisition.reduction.images import Image, digest
from forebay.acquisition.reduction.operations.operation import PixelOperation, Pixels
from forebay.acquisition.reduction.provenance import provenance
from forebay.acquisition.reduction.selection import Selection
from forebay.acquisition.reduction.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ReductionCounts:
    """What has gone through a chain."""

    frames_in: int = 0
    """Frames that came."""
    frames_out: int = 0
    """Frames that went on."""
    bytes_in: int = 0
    """Bytes of the frames that came."""
    bytes_out: int = 0
    """Bytes of the frames that went on."""
    seconds: float = 0.0
    """Time spent on them."""


class ReductionChain:
    """Steps that each frame goes through on its way into a run.

    All memory is taken when the chain is made; a frame is reduced in the thread that calls
    `apply`, one at a time.  Images that steps use are read when the chain is made.

    Parameters
    ----------
    steps
        What is done, in this order; `parse_step` makes one of a text.
    geometry
        Layout of the frames that come.
    images
        Images that take the place of the files that steps name, by their paths.
    clock
        Source of times.

    Raises
    ------
    ReductionError
        If a step does not fit the frames that come to it.
    SourceError
        If an image cannot be read.
    FrameError
        If a run could not keep the frames that come or those that go on.

    Examples
    --------
    >>> from forebay.acquisition.reduction import parse_step
    >>> camera = Geometry(("y", "x"), (4, 4), np.dtype("uint16"))
    >>> chain = ReductionChain([parse_step("bin:2"), parse_step("bit-depth:12")], camera)
    >>> chain.geometry.shape
    (2, 2)
    >>> slot = np.empty(chain.geometry.shape, chain.geometry.dtype)
    >>> chain.apply(np.full((4, 4), 1003, "uint16"), slot)
    True
    >>> slot.tolist(), chain.counts.bytes_in, chain.counts.bytes_out
    ([[1008, 1008], [1008, 1008]], 32, 8)
    """

    def __init__(
        self,
        steps: Sequence[Step],
        geometry: Geometry,
        *,
        images: Mapping[Path, Image] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._given = check_geometry(geometry)
        self.fitted: tuple[FittedStep, ...] = tuple(
            fit_all(steps, geometry, {} if images is None else images)
        )
        """The steps as they fit the frames that come to them."""
        self._geometry = check_geometry(self.fitted[-1].geometry if self.fitted else geometry)
        self._stages = _stages(self.fitted)
        self._frames_between = self._scratch()
        self._clock = clock
        self._counts = ReductionCounts()
        self._reason: str | None = None

    @property
    def geometry(self) -> Geometry:
        """Layout of the frames that go on."""
        return self._geometry

    @property
    def counts(self) -> ReductionCounts:
        """What has gone through the chain; may be asked for by any thread."""
        return self._counts

    @property
    def reason(self) -> str | None:
        """Why the last frame that did not go on did not; one of few texts."""
        return self._reason

    @property
    def images(self) -> Mapping[str, Image]:
        """The images that steps use, by the digests that the provenance names."""
        return {
            digest(image): image
            for step in self.fitted
            if isinstance(step, PixelOperation)
            for image in step.images.values()
        }

    def metadata(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return what is known of the frames that go on: larger pixels, fewer frames."""
        for step in self.fitted:
            metadata = step.described(metadata)
        return metadata

    def provenance(self) -> dict[str, Any]:
        """Return as JSON what is done to the frames, so that it can be done again."""
        return provenance(self.fitted, self._given, self._geometry)

    def apply(self, pixels: Pixels, out: Pixels) -> bool:
        """Reduce the next frame.

        Parameters
        ----------
        pixels
            The frame; it is not written to.
        out
            Where the reduced frame goes; it must not share memory with `pixels`.  What is in it
            afterwards has no meaning where the frame does not go on.

        Returns
        -------
        bool
            Whether the frame goes on.  If not, it is to be written down as dropped, with `reason`.

        Raises
        ------
        FrameError
            If one of the two has another layout than it must have.
        """
        started = self._clock.monotonic()
        _check(pixels, self._given, "comes")
        _check(out, self._geometry, "goes on")
        # Infinite and missing values of float frames give what they give in forebay.ops.
        with np.errstate(all="ignore"):
            kept = self._reduce(pixels, out)
        before = self._counts
        self._counts = ReductionCounts(
            frames_in=before.frames_in + 1,
            frames_out=before.frames_out + kept,
            bytes_in=before.bytes_in + pixels.nbytes,
            bytes_out=before.bytes_out + kept * out.nbytes,
            seconds=before.seconds + self._clock.monotonic() - started,
        )
        return kept

    def _reduce(self, pixels: Pixels, out: Pixels) -> bool:
        current = pixels
        for stage, scratch in zip(self._stages, self._frames_between, strict=True):
            if isinstance(stage, Selection):
                if not stage.accepts(current):
                    self._reason = stage.reason
                    return False
            else:
                target = out if scratch is None else scratch
                stage.run(current, target)
                current = target
        if current is pixels:
            np.copyto(out, pixels)
        return True

    def _scratch(self) -> list[Pixels | None]:
        """Take memory for whole frames between stages; the last one on pixels writes into `out`."""
        last = max(
            (i for i, stage in enumerate(self._stages) if isinstance(stage, BandedOperations)),
            default=-1,
        )
        return [
            np.empty(stage.geometry.shape, stage.geometry.dtype)
            if isinstance(stage, BandedOperations) and number != last
            else None
            for number, stage in enumerate(self._stages)
        ]


def _stages(fitted: Sequence[FittedStep]) -> list[BandedOperations | Selection]:
    """Put together what can be done band by band, and ask for nothing that is thrown away.

    A selection that does not look at the pixels comes before the steps on pixels that it follows:
    they keep nothing of a frame, so that nothing changes but the work.
    """
    order: list[FittedStep] = []
    for step in fitted:
        place = len(order)
        if isinstance(step, Selection) and not step.looks_at_pixels:
            while place and isinstance(order[place - 1], PixelOperation):
                place -= 1
        order.insert(place, step)
    stages: list[BandedOperations | Selection] = []
    for on_pixels, group in groupby(order, lambda step: isinstance(step, PixelOperation)):
        if on_pixels:
            stages.append(BandedOperations([s for s in group if isinstance(s, PixelOperation)]))
        else:
            stages.extend(s for s in group if isinstance(s, Selection))
    return stages


def _check(pixels: Pixels, geometry: Geometry, what: str) -> None:
    if pixels.shape != geometry.shape or pixels.dtype != geometry.dtype:
        raise FrameError(
            f"the frame that {what} has the shape {pixels.shape} and the dtype {pixels.dtype}; "
            f"the chain was made for {geometry.shape} and {geometry.dtype}"
        )
