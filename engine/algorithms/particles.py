"""Finding particles in every frame."""

from typing import TYPE_CHECKING, Annotated, Any

import xarray as xr
from pydantic import AfterValidator, Field

from forebay.engine.declare import algorithm
from forebay.engine.definition import Blockwise
from forebay.ops import find_particles as find
from forebay.ops import scratch_bytes

if TYPE_CHECKING:
    import dask.dataframe
    import pandas as pd


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("it must be odd, so that a pixel is in its middle")
    return number


def _scratch(frames: xr.DataArray, **parameters: Any) -> int:
    return scratch_bytes("find_particles", frames, **parameters)


@algorithm(
    "find-particles",
    version="1.0.0",
    needs=Blockwise(),
    scratch=_scratch,
    divisible=True,
    eager=True,
)
def find_particles(
    frames: xr.DataArray,
    *,
    diameter: Annotated[int, Field(ge=3), AfterValidator(_odd)] = 11,
    minmass: Annotated[float, Field(ge=0)] = 0.0,
    invert: bool = False,
) -> "pd.DataFrame | dask.dataframe.DataFrame":
    """Find the particles of each frame: place, mass, size, eccentricity.

    Parameters
    ----------
    frames
        Frames with the dims (t, y, x) or (t, c, y, x).
    diameter
        Odd number of pixels, somewhat larger than a particle.
    minmass
        Least brightness of a particle, summed over its pixels.
    invert
        Whether particles are dark on a bright ground.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        A row for each particle; see `forebay.ops.find_particles`.
    """
    return find(frames, diameter=diameter, minmass=minmass, invert=invert)
