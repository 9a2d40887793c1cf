"""Several pixels become one, in preallocated memory."""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.reduction.operations.operation import ErrorBound, PixelOperation, Pixels
from forebay.acquisition.reduction.steps import BinStep
from forebay.ops.reduction.binning import bin_types, check_factor, check_multiple
from forebay.ops.reduction.integers import common_limits


class Binning(PixelOperation):
    """`forebay.ops.bin_pixels`.

    Raises
    ------
    OperationError
        If bins do not fill the frames, or no type holds their sums.
    """

    operations = ("bin_pixels",)
    step: BinStep

    def __init__(self, step: BinStep, given: Geometry) -> None:
        self._height, self._width = check_factor(step.factor)
        *lead, height, width = given.shape
        check_multiple("y", height, self._height)
        check_multiple("x", width, self._width)
        self._wide, result = bin_types(given.dtype, step.factor, step.method, step.dtype)
        shape = (*lead, height // self._height, width // self._width)
        super().__init__(step, given, Geometry(given.dims, shape, result), self._bound(step, given))
        self._count = self._height * self._width
        self._limits = self._clipped(given, result)

    def described(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return the metadata with the size of the larger pixels."""
        if metadata.pixel_size is None:
            return metadata
        height, width = metadata.pixel_size
        return replace(metadata, pixel_size=(height * self._height, width * self._width))

    def source_rows(self, rows: slice) -> slice:
        """Return the rows that `rows` of bins are made of."""
        return slice(rows.start * self._height, rows.stop * self._height)

    def prepare(self, rows: int) -> None:
        """Take the memory for sums over rows, over bins, and for rounding."""
        self._row_sums = np.empty((rows, self.given.shape[-1]), self._wide)
        self._sums = self.work(rows, self._wide)
        self._spare = self.work(rows, self._wide)

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:  # noqa: ARG002
        """Bin, in the order of additions that `forebay.ops.bin_pixels` has."""
        count = rows.stop - rows.start
        row_sums, sums = self._row_sums[:count], self._sums[:count]
        _add_up([source[start :: self._height] for start in range(self._height)], row_sums)
        _add_up([row_sums[:, start :: self._width] for start in range(self._width)], sums)
        if self.step.method == "mean":
            self._divide(sums, self._spare[:count])
        if self._limits is not None:
            np.clip(sums, *self._limits, out=sums)
        np.copyto(target, sums, casting="unsafe")

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames binned by `forebay.ops.bin_pixels`."""
        step = self.step
        return ops.bin_pixels(frames, factor=step.factor, method=step.method, dtype=step.dtype)

    def _divide(self, sums: Pixels, spare: Pixels) -> None:
        """Divide by the number of pixels; integers to the nearest one, and of two the even one."""
        count = self._count
        if sums.dtype.kind == "f":
            np.divide(sums, count, out=sums)
            return
        if count % 2:
            np.add(sums, count // 2, out=sums)
        else:
            np.floor_divide(sums, count, out=spare)
            np.bitwise_and(spare, 1, out=spare)
            np.add(sums, spare, out=sums)
            np.add(sums, count // 2 - 1, out=sums)
        np.floor_divide(sums, count, out=sums)

    def _clipped(self, given: Geometry, result: np.dtype[Any]) -> tuple[float, float] | None:
        """Return the limits of the result where bins can be beyond them."""
        if given.dtype.kind == "f":
            return None
        times = self._count if self.step.method == "sum" else 1
        ends, own = np.iinfo(result), np.iinfo(given.dtype)
        if ends.min <= times * int(own.min) and times * int(own.max) <= ends.max:
            return None
        return common_limits(self._wide, result)

    @staticmethod
    def _bound(step: BinStep, given: Geometry) -> ErrorBound:
        count = step.factor[0] * step.factor[1]
        if given.dtype.kind == "f":
            precision = float(np.finfo(np.float64 if given.dtype.itemsize == 8 else np.float32).eps)
            terms = count if step.method == "mean" else count**2
            return ErrorBound(relative=terms * precision)
        beyond = f"bins beyond the range of {step.dtype}" if step.dtype else None
        rounded = step.method == "mean" and count > 1
        return ErrorBound(absolute=0.5 if rounded else 0.0, except_for=beyond)


def _add_up(parts: list[Pixels], total: Pixels) -> None:
    """Add the parts, the first two first, in the type of the total."""
    if len(parts) == 1:
        np.copyto(total, parts[0])
        return
    np.add(parts[0], parts[1], out=total, dtype=total.dtype)
    for part in parts[2:]:
        np.add(total, part, out=total)
