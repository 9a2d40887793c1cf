"""Codes that lie as close as the noise of a pixel allows.

The noise of a camera's pixel grows with the square root of its light.  A scale on which it is the
same everywhere needs far fewer steps than the pixel has values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.ops._checks import check_frames, check_number, check_whole
from forebay.ops.errors import OperationError
from forebay.ops.pointwise.formulas import looked_up
from forebay.ops.pointwise.one_pass import apply_pointwise

_HIGHEST = 65_535
_FINEST, _COARSEST = 1e-6, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Companding:
    """A camera's noise, and codes for its pixels that lie `spacing` of it apart.

    Raises
    ------
    OperationError
        If a number is out of range.

    Notes
    -----
    A pixel of n electrons has the noise ``sqrt(n + read_noise**2)``, and one below the offset has
    `read_noise`. The codes divide the generalised Anscombe transform evenly, but for its constant,
    and a straight line below the offset: F. Murtagh, J.-L. Starck and A. Bijaoui, Astron.
    Astrophys. Suppl. 112, 179 (1995).
    """

    gain: float
    """Electrons for each count of the camera."""
    read_noise: float
    """Standard deviation of a pixel without light, in electrons."""
    offset: float = 0.0
    """Counts that a pixel without light has."""
    spacing: float = 1.0
    """Distance of neighbouring codes, in standard deviations of the noise."""
    maximum: int = _HIGHEST
    """Highest count of the camera; what lies above gets its code."""

    def __post_init__(self) -> None:
        check_number("gain", self.gain, least=_FINEST, most=_COARSEST)
        check_number("read_noise", self.read_noise, least=_FINEST, most=_COARSEST)
        check_number("offset", self.offset, least=0, most=_HIGHEST)
        check_number("spacing", self.spacing, least=_FINEST, most=_COARSEST)
        if check_whole("maximum", self.maximum, least=1) > _HIGHEST:
            raise OperationError(f"maximum is {self.maximum}, but must be at most {_HIGHEST}")

    def noise(self, counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the standard deviation of pixels of these counts, in counts."""
        electrons = (np.asarray(counts, np.float64) - self.offset) * self.gain
        noise: npt.NDArray[np.float64] = np.sqrt(np.maximum(electrons, 0) + self.read_noise**2)
        return noise / self.gain

    @property
    def constant_error(self) -> float:
        """The part of the error that is the same for all pixels, in counts.

        A pixel up to `maximum` changes by at most ``spacing / 2`` of its noise and this: the noise
        changes within a step, and counts are whole numbers.
        """
        return self.spacing**2 / (16 * self.gain) + 0.5

    def codes(self, given: np.dtype[Any], code: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the code for each value that a pixel of the dtype `given` can have.

        Raises
        ------
        OperationError
            If `given` or `code` is not uint8 or uint16, or `code` does not hold all codes.
        """
        counts = np.arange(np.iinfo(_checked("frames", given)).max + 1)
        most = np.iinfo(_checked("codes", np.dtype(code))).max
        codes = np.rint(
            (self._scaled(np.minimum(counts, self.maximum)) - self._lowest) / self.spacing
        )
        if codes[-1] > most:
            raise OperationError(
                f"{codes[-1] + 1:.0f} codes are needed, but {np.dtype(code)} has {most + 1}; use a "
                "larger spacing, say what the camera's maximum is, or use uint16"
            )
        return codes.astype(code)

    def counts(self, code: np.dtype[Any]) -> npt.NDArray[np.uint16]:
        """Return the count for each value that a code of the dtype `code` can have.

        Raises
        ------
        OperationError
            If `code` is not uint8 or uint16.
        """
        scaled = np.arange(np.iinfo(_checked("codes", code)).max + 1) * self.spacing + self._lowest
        above = (self.read_noise + scaled / 2) ** 2 - self.read_noise**2
        electrons = np.where(scaled < 0, scaled * self.read_noise, above)
        counts = np.rint(electrons / self.gain + self.offset)
        return np.clip(counts, 0, self.maximum).astype(np.uint16)

    @property
    def _lowest(self) -> float:
        return float(self._scaled(np.zeros(1))[0])

    def _scaled(self, counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return counts on the scale on which the noise is one everywhere."""
        electrons = (counts - self.offset) * self.gain
        root: npt.NDArray[np.float64] = np.sqrt(np.maximum(electrons, 0) + self.read_noise**2)
        return np.minimum(electrons, 0) / self.read_noise + 2 * (root - self.read_noise)


def compand(
    frames: xr.DataArray, companding: Companding, *, dtype: npt.DTypeLike = "uint8"
) -> xr.DataArray:
    """Return a code for each pixel, such that `expand` gives it back to within its noise.

    Parameters
    ----------
    frames
        uint8 or uint16, as they come from the camera; NumPy or CuPy, eager or Dask.
    companding
        The camera's noise, and how close the codes lie.
    dtype
        Of the codes: uint8 or uint16.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `frames`. Codes grow with the pixels.
        `expand` gives a pixel that is not above ``companding.maximum`` to within
        ``spacing / 2 * noise + spacing**2 / (16 * gain) + 0.5`` counts.

    Raises
    ------
    OperationError
        If `frames` is of another dtype, or there are more codes than `dtype` has values.

    Notes
    -----
    A NaN or infinite pixel cannot occur: only integers are taken. Works chunk by chunk with
    Dask; a task needs its result, and a table of 6 MB, as scratch.

    Integers are those of the formula.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = xr.DataArray(np.array([[100, 104, 1000, 4095]], "uint16"), dims=("y", "x"))
    >>> camera = Companding(gain=0.5, read_noise=2.0, offset=100, maximum=4095)
    >>> codes = compand(frames, camera)
    >>> codes.values, expand(codes, camera).values
    (array([[ 25,  26,  64, 110]], dtype=uint8), array([[ 100,  104, 1016, 4052]], dtype=uint16))
    """
    check_frames(frames, ())
    table = companding.codes(frames.dtype, dtype)
    return apply_pointwise(looked_up, frames, dtype=table.dtype, table=table)


def expand(codes: xr.DataArray, companding: Companding) -> xr.DataArray:
    """Return the counts that codes of `compand` stand for.

    Parameters
    ----------
    codes
        What `compand` gave; NumPy or CuPy, eager or Dask.
    companding
        What it was given.

    Returns
    -------
    xarray.DataArray
        Dimensions, coordinates, name and attributes of `codes`; uint16.

    Raises
    ------
    OperationError
        If `codes` is not of dtype uint8 or uint16.

    Notes
    -----
    It is the inverse of the transform that `Companding` names, at the middle of what shares a code,
    rounded to whole counts. Codes are integers, which have no NaN. Works chunk by chunk with
    Dask; a task needs its result, and a table of 6 MB, as scratch.

    Integers are those of the formula.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> camera = Companding(gain=0.5, read_noise=2.0, offset=100, maximum=4095)
    >>> expand(xr.DataArray(np.array([25, 64], "uint8"), dims="x"), camera).values
    array([ 100, 1016], dtype=uint16)
    """
    check_frames(codes, (), name="codes")
    table = companding.counts(codes.dtype)
    return apply_pointwise(looked_up, codes, dtype=table.dtype, table=table)


def _checked(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype not in (np.uint8, np.uint16):
        raise OperationError(f"{name} is of dtype {dtype}, but must be uint8 or uint16")
    return dtype
