"""Pixels near the background become the background."""

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.operations.operation import ErrorBound, PixelOperation, Pixels
from forebay.acquisition.reduction.steps import SparsifyStep
from forebay.ops.reduction.integers import check_held
from forebay.ops.reduction.sparse import background_limits


class Sparsifying(PixelOperation):
    """`forebay.ops.sparsify`.

    Raises
    ------
    OperationError
        If pixels cannot be the background.
    """

    operations = ("sparsify",)
    in_place = True
    step: SparsifyStep

    def __init__(self, step: SparsifyStep, given: Geometry) -> None:
        self._low, self._high = background_limits(given.dtype, step.threshold, step.background)
        self._background = check_held("background", step.background, given.dtype)
        most = max(self._high - self._background, self._background - self._low)
        super().__init__(step, given, given, ErrorBound(absolute=float(most)))
        # Where no pixel can be lower, there is nothing to compare.
        self._one_sided = given.dtype.kind != "f" and self._low == np.iinfo(given.dtype).min

    def prepare(self, rows: int) -> None:
        """Take the memory for where pixels stand out, and by how much."""
        self._stands_out = self.work(rows, bool)
        self._below = self.work(rows, bool)
        self._difference = self.work(rows, self.given.dtype)

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:  # noqa: ARG002
        """Put the background where it is near, and copy the rest."""
        count = rows.stop - rows.start
        stands_out = self._find(source, count)
        if self.given.dtype.kind == "f":
            np.logical_not(stands_out, out=stands_out)
            np.copyto(target, source)
            np.copyto(target, self._background, where=stands_out)
            return
        # Integers wrap around, so that this is exact; ten times as fast as to choose by a mask.
        difference = self._difference[:count]
        np.subtract(source, self._background, out=difference)
        np.multiply(difference, stands_out, out=difference)
        np.add(difference, self._background, out=target)

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames made sparse by `forebay.ops.sparsify`."""
        step = self.step
        return ops.sparsify(frames, threshold=step.threshold, background=step.background)

    def _find(self, source: Pixels, count: int) -> Pixels:
        """Tell where pixels stand out; NaN does."""
        stands_out, below = self._stands_out[:count], self._below[:count]
        np.less_equal(source, self._high, out=stands_out)
        if not self._one_sided:
            np.greater_equal(source, self._low, out=below)
            np.logical_and(stands_out, below, out=stands_out)
        return np.logical_not(stands_out, out=stands_out)
