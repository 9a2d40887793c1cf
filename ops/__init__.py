"""Operations on frames: pure functions, xarray in, xarray out; NumPy or CuPy, eager or Dask.

Each takes a `xarray.DataArray` first and keeps its dimensions, coordinates, name and attributes.
On Dask-backed frames nothing is computed before the result is asked for. Work is done in float32,
or in float64 where the frames are float64. Whatever cannot be done raises `OperationError`.
"""

from forebay.ops.correction.background import background, subtract_background
from forebay.ops.correction.flat import flat_field
from forebay.ops.errors import OperationError
from forebay.ops.filters.fourier import fourier_bandpass
from forebay.ops.filters.gaussian import bandpass
from forebay.ops.particles.finding import find_particles
from forebay.ops.particles.matching import Matches, match_points
from forebay.ops.spectra.power import power_spectrum
from forebay.ops.spectra.radial import radial_average

__all__ = [
    "Matches",
    "OperationError",
    "background",
    "bandpass",
    "find_particles",
    "flat_field",
    "fourier_bandpass",
    "match_points",
    "power_spectrum",
    "radial_average",
    "subtract_background",
]
