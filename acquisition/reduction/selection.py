"""Which frames go on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.reduction.bands import bands
from forebay.acquisition.reduction.operations.operation import Pixels, planes
from forebay.acquisition.reduction.steps import NOT_SELECTED, SelectStep


class Selection(ABC):
    """A step that lets frames through or not; it remembers what it has seen."""

    operations: ClassVar[tuple[str, ...]] = ()
    """Names of the functions in `forebay.ops` that it decides by."""
    looks_at_pixels: ClassVar[bool] = True
    """Whether it has to be given the pixels."""

    def __init__(self, step: SelectStep, geometry: Geometry, reason: str) -> None:
        self.step = step
        self.geometry = geometry
        self.reason = f"{NOT_SELECTED}: {reason}"
        """Why a frame is left out."""

    def described(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return what is known of the frames that are let through."""
        return metadata

    @abstractmethod
    def accepts(self, pixels: Pixels) -> bool:
        """Tell whether the next frame goes on."""

    @abstractmethod
    def kept(self, frames: xr.DataArray) -> list[int]:
        """Return the positions along ``t`` of the frames that go on, if these are the first."""


class EveryNth(Selection):
    """The first of every so many frames, in the order in which they come."""

    looks_at_pixels = False

    def __init__(self, step: SelectStep, geometry: Geometry, every: int) -> None:
        super().__init__(step, geometry, f"one frame of {every} is kept")
        self._every = every
        self._seen = 0

    def described(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return the metadata with the lower frame rate."""
        if metadata.frame_rate is None:
            return metadata
        return replace(metadata, frame_rate=metadata.frame_rate / self._every)

    def accepts(self, pixels: Pixels) -> bool:  # noqa: ARG002
        """Count."""
        self._seen += 1
        return (self._seen - 1) % self._every == 0

    def kept(self, frames: xr.DataArray) -> list[int]:
        """Return the positions of the first of every so many."""
        return list(range(0, frames.sizes["t"], self._every))


class Changed(Selection):
    """Frames that differ from the last one that went on; the first one does."""

    operations = ("mean_change",)

    def __init__(self, step: SelectStep, geometry: Geometry, least: float) -> None:
        reason = f"changed by less than {least:g} since the last frame kept"
        super().__init__(step, geometry, reason)
        self._least = least
        self._last = np.empty(geometry.shape, geometry.dtype)
        self._any = False
        self._bands = bands(*geometry.shape[-2:])
        real = np.float64 if geometry.dtype == np.float64 else np.float32
        self._difference = np.empty((self._bands[0].stop, geometry.shape[-1]), real)

    def accepts(self, pixels: Pixels) -> bool:
        """Compare, and keep the frame to compare the next ones with."""
        if self._any and self._change(pixels) < self._least:
            return False
        np.copyto(self._last, pixels)
        self._any = True
        return True

    def kept(self, frames: xr.DataArray) -> list[int]:
        """Return the positions, found by `forebay.ops.mean_change`; computes the frames."""
        found: list[int] = []
        last: xr.DataArray | None = None
        for position, frame in _each(frames):
            if last is not None:
                change = ops.mean_change(frame, last, dims=frame.dims)
                if float(change) < self._least:
                    continue
            found.append(position)
            last = frame
        return found

    def _change(self, pixels: Pixels) -> float:
        total = 0.0
        for plane, last in zip(planes(pixels), planes(self._last), strict=True):
            for rows in self._bands:
                difference = self._difference[: rows.stop - rows.start]
                np.subtract(plane[rows], last[rows], out=difference, dtype=difference.dtype)
                np.abs(difference, out=difference)
                total += float(difference.sum(dtype=np.float64))
        return total / pixels.size


class Varied(Selection):
    """Frames in which something is to be seen."""

    operations = ("pixel_variance",)

    def __init__(self, step: SelectStep, geometry: Geometry, least: float) -> None:
        super().__init__(step, geometry, f"the variance of its pixels is below {least:g}")
        self._least = least
        self._bands = bands(*geometry.shape[-2:])
        self._values = np.empty((self._bands[0].stop, geometry.shape[-1]), np.float64)

    def accepts(self, pixels: Pixels) -> bool:
        """Take the mean of the squares less the square of the mean."""
        total = squares = 0.0
        for plane in planes(pixels):
            for rows in self._bands:
                values = self._values[: rows.stop - rows.start]
                np.copyto(values, plane[rows])
                total += float(values.sum())
                np.multiply(values, values, out=values)
                squares += float(values.sum())
        mean = total / pixels.size
        return max(squares / pixels.size - mean * mean, 0.0) >= self._least

    def kept(self, frames: xr.DataArray) -> list[int]:
        """Return the positions, found by `forebay.ops.pixel_variance`; computes the frames."""
        return [
            position
            for position, frame in _each(frames)
            if float(ops.pixel_variance(frame, dims=frame.dims)) >= self._least
        ]


def selection(step: SelectStep, geometry: Geometry) -> Selection:
    """Return the selection that a step asks for."""
    if step.every is not None:
        return EveryNth(step, geometry, step.every)
    if step.min_change is not None:
        return Changed(step, geometry, step.min_change)
    return Varied(step, geometry, step.min_variance or 0.0)


def _each(frames: xr.DataArray) -> Iterator[tuple[int, xr.DataArray]]:
    """Return the frames one after the other, without what would keep them from being compared."""
    for position in range(frames.sizes["t"]):
        yield position, frames.isel(t=position).reset_coords(drop=True).compute()
