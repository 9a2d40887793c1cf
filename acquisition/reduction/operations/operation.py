"""What every fitted step has in common, and how wrong it can be."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.reduction.steps import Step

type Pixels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBound:
    """How far a pixel can be from what the step gives in exact arithmetic.

    For steps that take something away from a pixel's value, that is the pixel as it came in. The
    parts add up.
    """

    absolute: float = 0.0
    """In counts."""
    relative: float = 0.0
    """Times the largest absolute value that occurs while the pixel is computed."""
    noise: float = 0.0
    """Times the standard deviation of the pixel's own noise."""
    except_for: str | None = None
    """The pixels that it does not hold for."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


class PixelOperation(ABC):
    """A step on pixels, fitted to a geometry.

    It works on some rows of one plane (a channel) at a time, so that all steps of a chain pass
    over pixels that are still in the processor's cache.

    Parameters
    ----------
    step
        What is to be done.
    given
        Layout of the frames that come.
    geometry
        Layout of the frames that it makes of them; with the same planes.
    bound
        How wrong a pixel can be.
    """

    operations: ClassVar[tuple[str, ...]]
    """Names of the functions in `forebay.ops` that define the result, in their order."""
    in_place: ClassVar[bool] = False
    """Whether `apply` may be given the same rows twice."""
    makes_codes: ClassVar[bool] = False
    """Whether what comes out are no counts any more."""
    moves_only: ClassVar[bool] = False
    """Whether pixels are only moved, so that codes may come in."""

    def __init__(self, step: Step, given: Geometry, geometry: Geometry, bound: ErrorBound) -> None:
        self.step = step
        self.given = given
        self.geometry = geometry
        self.bound = bound

    @property
    def images(self) -> Mapping[str, Pixels]:
        """The images that it uses, (plane, y, x), by the parameters that name their files."""
        return {}

    def described(self, metadata: ImageMetadata) -> ImageMetadata:
        """Return what is known of the frames that come out."""
        return metadata

    def source_rows(self, rows: slice) -> slice:
        """Return the rows that `rows` of the result are made of."""
        return rows

    def prepare(self, rows: int) -> None:  # noqa: B027 (some need no memory)
        """Take the memory to work on so many rows of the result at a time."""

    @abstractmethod
    def apply(self, source: Pixels, target: Pixels, plane: int, rows: slice) -> None:
        """Make `rows` of a plane of the result, in `target`, from `source`."""

    @abstractmethod
    def repeat(self, frames: xr.DataArray) -> xr.DataArray:
        """Return what the functions of `forebay.ops` make of whole frames, with ``t`` or not."""

    def work(self, rows: int, dtype: npt.DTypeLike) -> Pixels:
        """Return memory for so many rows of the result."""
        return np.empty((rows, self.geometry.shape[-1]), dtype)


def planes(pixels: Pixels) -> Pixels:
    """Return a frame as (plane, y, x), without a copy."""
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]
