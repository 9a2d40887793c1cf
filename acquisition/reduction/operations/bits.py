"""The lowest bits of a pixel are rounded away."""

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.operations.operation import ErrorBound, PixelOperation, Pixels
from forebay.acquisition.reduction.steps import BitDepthStep
from forebay.ops.reduction.bits import check_bits


class BitDepth(PixelOperation):
    """`forebay.ops.drop_low_bits`.

    Raises
    ------
    OperationError, ReductionError
        If the frames have no integers, or not so many bits.
    """

    operations = ("drop_low_bits",)
    in_place = True

    def __init__(self, step: BitDepthStep, given: Geometry) -> None:
        available = 8 * given.dtype.itemsize
        depth = available if step.of is None else step.of
        if step.bits > depth or depth > available:
            raise ReductionError(
                f"{step.bits} bits of {depth} cannot be kept of frames of {given.dtype}, which "
                f"have {available}; keep fewer, and leave out 'of' or give the camera's bits"
            )
        self._dropped = depth - step.bits
        check_bits(given.dtype, self._dropped)
        self._kept = np.array(-1).astype(given.dtype) >> self._dropped << self._dropped
        bound = ErrorBound(absolute=2.0 ** (self._dropped - 1) if self._dropped else 0.0)
        super().__init__(step, given, given, bound)

    def prepare(self, rows: int) -> None:
        """Take the memory to round in."""
        self._rounded = self.work(rows, self.given.dtype)
        self._saturated = self.work(rows, bool)

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:  # noqa: ARG002
        """Round to the nearest multiple, and of two to the even one."""
        if self._dropped == 0:
            np.copyto(target, source)
            return
        count, half = rows.stop - rows.start, 1 << (self._dropped - 1)
        rounded, saturated = self._rounded[:count], self._saturated[:count]
        highest = int(np.iinfo(self.given.dtype).max)
        np.greater(source, highest - half, out=saturated)
        np.right_shift(source, self._dropped, out=rounded)
        np.bitwise_and(rounded, 1, out=rounded)
        np.add(rounded, half - 1, out=rounded)
        np.add(rounded, source, out=rounded)
        np.bitwise_and(rounded, self._kept, out=target)
        np.copyto(target, highest, where=saturated)

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames rounded by `forebay.ops.drop_low_bits`."""
        return ops.drop_low_bits(frames, count=self._dropped)
