"""Pixels become codes that lie as close as their noise allows."""

from dataclasses import replace

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.operations.operation import ErrorBound, PixelOperation, Pixels
from forebay.acquisition.reduction.steps import CompandStep


class CompandingToCodes(PixelOperation):
    """`forebay.ops.compand`; `forebay.ops.expand` gives the counts back.

    Raises
    ------
    OperationError
        If the frames are not uint8 or uint16, or there are more codes than their type holds.
    """

    operations = ("compand",)
    makes_codes = True
    step: CompandStep

    def __init__(self, step: CompandStep, given: Geometry) -> None:
        self.companding = ops.Companding(
            gain=step.gain,
            read_noise=step.read_noise,
            offset=step.offset,
            spacing=step.spacing,
            maximum=step.maximum,
        )
        self._table = self.companding.codes(given.dtype, step.dtype)
        bound = ErrorBound(
            absolute=self.companding.constant_error,
            noise=step.spacing / 2,
            except_for=f"pixels above {step.maximum}; all others once the codes are expanded",
        )
        super().__init__(step, given, replace(given, dtype=self._table.dtype), bound)

    def prepare(self, rows: int) -> None:
        """Take the memory for pixels as indices, which a look-up wants in this type."""
        self._index = self.work(rows, np.intp)

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:  # noqa: ARG002
        """Look each pixel up."""
        index = self._index[: rows.stop - rows.start]
        np.copyto(index, source)
        # The table has an entry for each value; "clip" spares a copy that checks are made on.
        np.take(self._table, index, out=target, mode="clip")

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the codes of `forebay.ops.compand`."""
        return ops.compand(frames, self.companding, dtype=self.step.dtype)
