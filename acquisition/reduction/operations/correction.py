"""Frames corrected by an image, and rounded to the type that they came in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.operations.operation import ErrorBound, PixelOperation, Pixels
from forebay.acquisition.reduction.steps import BackgroundStep, FlatFieldStep
from forebay.ops.correction.flat import usable_gain
from forebay.ops.reduction.integers import common_limits

_MAX_INTEGER_BYTES = 2


def working_dtype(given: Geometry) -> np.dtype[Any]:
    """Return the type that frames are corrected in: float32, or float64 for float64 frames.

    Raises
    ------
    ReductionError
        If it does not hold all values of the frames.
    """
    if given.dtype.kind != "f" and given.dtype.itemsize > _MAX_INTEGER_BYTES:
        raise ReductionError(
            f"frames of {given.dtype} are not held exactly by float32, in which they would be "
            "corrected; put this step before a binning, or give the binning dtype=uint16"
        )
    return np.dtype(np.float64 if given.dtype == np.float64 else np.float32)


def rounded_dtype(step: BackgroundStep | FlatFieldStep, given: Geometry) -> np.dtype[Any] | None:
    """Return the integer type that a corrected frame is to have; None for a float."""
    if step.dtype == "float" or (step.dtype is None and given.dtype.kind == "f"):
        return None
    return np.dtype(step.dtype or given.dtype)


class Correction(PixelOperation):
    """What both corrections have in common: the rounding at the end.

    Parameters
    ----------
    step
        What is to be done.
    given
        Layout of the frames that come.
    error
        Error of the result before it is rounded, as a part of `largest`.
    largest
        The largest absolute value that occurs; None for the largest that the result can have.
    """

    in_place = True
    step: BackgroundStep | FlatFieldStep

    def __init__(
        self,
        step: BackgroundStep | FlatFieldStep,
        given: Geometry,
        error: int,
        largest: float | None,
    ) -> None:
        self._real = working_dtype(given)
        precision = error * float(np.finfo(self._real).eps)
        result = rounded_dtype(step, given)
        if result is None:
            self._limits = None
            bound = ErrorBound(relative=precision)
        else:
            self._limits = common_limits(self._real, result)
            largest = float(np.iinfo(result).max) if largest is None else largest
            beyond = f"results beyond the range of {result}, and dead pixels"
            bound = ErrorBound(absolute=0.5 + precision * largest, except_for=beyond)
        super().__init__(step, given, replace(given, dtype=result or self._real), bound)

    def prepare(self, rows: int) -> None:
        """Take the memory to correct in."""
        self._corrected = self.work(rows, self._real)
        self._missing = self.work(rows, bool)

    def rounded(self, corrected: xr.DataArray) -> xr.DataArray:
        """Return the frames as integers, if they are to be."""
        if self._limits is None:
            return corrected
        return ops.to_integers(corrected, dtype=self.geometry.dtype)

    def round_into(self, target: Pixels, corrected: Pixels) -> None:
        """Do the same in place."""
        if self._limits is not None:
            np.rint(corrected, out=corrected)
            np.clip(corrected, *self._limits, out=corrected)
            if self.given.dtype.kind == "f":
                missing = self._missing[: len(corrected)]
                np.copyto(corrected, 0, where=np.isnan(corrected, out=missing))
        np.copyto(target, corrected, casting="unsafe")


class Background(Correction):
    """`forebay.ops.subtract_background`, an offset, and `forebay.ops.to_integers`.

    Raises
    ------
    ReductionError
        If the frames cannot be corrected, or the image has pixels without a value.
    """

    operations = ("subtract_background", "to_integers")
    step: BackgroundStep

    def __init__(self, step: BackgroundStep, given: Geometry, image: Pixels) -> None:
        _check_finite(image, "the background")
        highest = np.iinfo(given.dtype).max if given.dtype.kind != "f" else 0
        largest = max(highest, float(np.abs(image).max()), abs(step.offset))
        super().__init__(step, given, 4, largest)
        self._image = image
        self._offset = self._real.type(step.offset)

    @property
    def images(self) -> Mapping[str, Pixels]:
        """The image that is subtracted."""
        return {"image": self._image}

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:
        """Subtract, add the offset and round."""
        corrected = self._corrected[: rows.stop - rows.start]
        np.subtract(source, self._image[plane, rows], out=corrected, dtype=self._real)
        if self._offset:
            np.add(corrected, self._offset, out=corrected)
        self.round_into(target, corrected)

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames corrected by the functions of `forebay.ops`."""
        corrected = ops.subtract_background(frames, _as_image(self._image, frames))
        raised = (corrected + self._offset).rename(frames.name).assign_attrs(frames.attrs)
        return self.rounded(raised)


class FlatField(Correction):
    """`forebay.ops.flat_field` and `forebay.ops.to_integers`.

    Raises
    ------
    ReductionError
        If the frames cannot be corrected, the dark image has pixels without a value, or no pixel
        of the flat image is brighter than it.
    """

    operations = ("flat_field", "to_integers")
    step: FlatFieldStep

    def __init__(
        self, step: FlatFieldStep, given: Geometry, flat: Pixels, dark: Pixels | None
    ) -> None:
        self._flat, self._dark = flat, dark
        gain = flat
        if dark is not None:
            _check_finite(dark, "the dark image")
            gain = flat - dark
        usable, level = usable_gain(xr.DataArray(gain, dims=("c", "y", "x")), ("y", "x"))
        if not np.isfinite(level).all():
            raise ReductionError(
                "no pixel of the flat image is brighter than the dark one, or some have no value; "
                "take it again, under even light"
            )
        super().__init__(step, given, 4, None)
        self._factor = (level / usable).transpose("c", "y", "x").to_numpy()
        if self._limits is not None:
            # What is multiplied by it is the 0 that to_integers makes of NaN.
            self._factor = np.where(np.isnan(self._factor), self._real.type(0), self._factor)

    @property
    def images(self) -> Mapping[str, Pixels]:
        """The images of an even field and without light."""
        return {"image": self._flat} | ({} if self._dark is None else {"dark": self._dark})

    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:
        """Take the dark image off, divide by the gain, relative to its level, and round."""
        corrected = self._corrected[: rows.stop - rows.start]
        if self._dark is None:
            np.copyto(corrected, source)
        else:
            np.subtract(source, self._dark[plane, rows], out=corrected, dtype=self._real)
        np.multiply(corrected, self._factor[plane, rows], out=corrected)
        self.round_into(target, corrected)

    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return the frames corrected by the functions of `forebay.ops`."""
        dark = None if self._dark is None else _as_image(self._dark, frames)
        return self.rounded(ops.flat_field(frames, flat=_as_image(self._flat, frames), dark=dark))


def _check_finite(image: Pixels, name: str) -> None:
    if not np.isfinite(image).all():
        raise ReductionError(f"{name} has pixels that are NaN or infinite; give each a value")


def _as_image(image: Pixels, frames: xr.DataArray) -> xr.DataArray:
    """Return an image for whole frames."""
    if "c" in frames.dims:
        return xr.DataArray(image, dims=("c", "y", "x"))
    return xr.DataArray(image[0], dims=("y", "x"))
