"""A rectangle of the frames, on its own or in its place."""

from dataclasses import replace

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.operations.operation import ErrorBound, PixelOperation, Pixels
from forebay.acquisition.reduction.steps import RegionStep
from forebay.ops.reduction.integers import check_held
from forebay.ops.reduction.region import check_bounds


class Cropping(PixelOperation):
    """`forebay.ops.crop`.

    Raises
    ------
    OperationError
        If the rectangle is not within the frames.
    """

    operations = ("crop",)
    moves_only = True

    def __init__(self, step: RegionStep, given: Geometry) -> None:
        *lead, height, width = given.shape
        check_bounds("y", height, step.y)
        check_bounds("x", width, step.x)
        self._columns = slice(*step.x)
        self._top = step.y[0]
        self._bounds = {"y": step.y, "x": step.x}
        shape = (*lead, step.y[1] - step.y[0], step.x[1] - step.x[0])
        super().__init__(step, given, replace(given, shape=shape), ErrorBound())

    def source_rows(self, rows: slice) -> slice:
        """Return where `rows` of the rectangle lie in the frames."""
        return slice(rows.start + self._top, rows.stop + self._top)

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:  # noqa: ARG002
        """Copy the columns of the rectangle."""
        np.copyto(target, source[:, self._columns])

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames cropped by `forebay.ops.crop`."""
        return ops.crop(frames, bounds=self._bounds)


class Masking(PixelOperation):
    """`forebay.ops.mask_outside`.

    Raises
    ------
    OperationError
        If the rectangle is not within the frames, or pixels cannot be `fill`.
    """

    operations = ("mask_outside",)
    in_place = True

    def __init__(self, step: RegionStep, given: Geometry) -> None:
        check_bounds("y", given.shape[-2], step.y)
        check_bounds("x", given.shape[-1], step.x)
        self._fill = check_held("fill", step.fill, given.dtype)
        self._bounds = {"y": step.y, "x": step.x}
        outside = f"pixels outside of the rectangle, which are {step.fill:g}"
        super().__init__(step, given, given, ErrorBound(except_for=outside))

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:  # noqa: ARG002
        """Fill what lies outside, and copy the rest."""
        (top, bottom), (left, right) = self._bounds.values()
        count = rows.stop - rows.start
        first = min(max(top - rows.start, 0), count)
        last = min(max(bottom - rows.start, first), count)
        if target is not source:
            np.copyto(target[first:last, left:right], source[first:last, left:right])
        target[:first] = self._fill
        target[last:] = self._fill
        target[first:last, :left] = self._fill
        target[first:last, right:] = self._fill

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames masked by `forebay.ops.mask_outside`."""
        return ops.mask_outside(frames, bounds=self._bounds, fill=self._fill)
