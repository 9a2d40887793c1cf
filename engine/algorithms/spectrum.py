"""The background of a run and its mean power spectrum."""

from typing import Annotated

import xarray as xr
from pydantic import Field

from forebay.engine.declare import algorithm
from forebay.engine.definition import WholeRun
from forebay.ops import background, power_spectrum, subtract_background


@algorithm("background-spectrum", version="1.0.0", needs=WholeRun())
def background_spectrum(
    frames: xr.DataArray, *, background_frames: Annotated[int, Field(ge=1)] = 64
) -> xr.Dataset:
    """Estimate a run's background, and the mean power spectrum of its frames without it.

    Parameters
    ----------
    frames
        Frames with the dims (t, y, x) or (t, c, y, x).
    background_frames
        Frames, evenly spread over the run, whose median is the background; memory for so many is
        needed.

    Returns
    -------
    xarray.Dataset
        ``background``, and ``spectrum``, the spatial power spectral density of the frames less
        the background, averaged over the run.
    """
    still = background(frames, sample=background_frames)
    spectra = power_spectrum(subtract_background(frames, still))
    return xr.Dataset({"background": still, "spectrum": spectra.mean("t")})
