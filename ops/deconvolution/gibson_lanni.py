"""How a point looks in three dimensions, through layers that the lens was not made for."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special
import xarray as xr

from forebay.ops._checks import check_number, check_whole
from forebay.ops.deconvolution.point_spread import (
    centred,
    check_dims,
    check_size,
    pixel_means,
    subpixel_places,
)
from forebay.ops.errors import OperationError

NODES_PER_CYCLE = 6
"""Points of the quadrature for each cycle that the integrand goes through, at least."""

MOST_CYCLES = 1000
"""The integrand goes through no more cycles than these."""

BATCH = 2**22
"""Values of the Bessel function that are held at a time."""


@dataclass(frozen=True)
class _Layer:
    """A layer of the light's way, as it is and as the lens was made for."""

    index: float
    thickness: npt.NDArray[np.float64]
    design_index: float
    design_thickness: float

    def path(self, sine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the excess of the optical path, by thickness and `sine`, the aperture used."""
        own = np.sqrt(np.maximum(self.index**2 - sine**2, 0))
        design = np.sqrt(np.maximum(self.design_index**2 - sine**2, 0))
        result: npt.NDArray[np.float64] = (
            np.multiply.outer(self.thickness, own) - self.design_thickness * design
        )
        return result


def gibson_lanni_psf(
    *,
    wavelength: float,
    numerical_aperture: float,
    pixel_size: float,
    z_step: float,
    size: tuple[int, int],
    depth: float = 0.0,
    sample_index: float = 1.33,
    immersion_index: float = 1.515,
    design_immersion_index: float = 1.515,
    cover_index: float = 1.515,
    design_cover_index: float = 1.515,
    cover_thickness: float = 170.0,
    design_cover_thickness: float = 170.0,
    working_distance: float = 150.0,
    subpixels: int = 3,
    dims: Sequence[Hashable] = ("z", "y", "x"),
) -> xr.DataArray:
    """Return the point-spread function of a stack, with the aberrations of mismatched layers.

    Parameters
    ----------
    wavelength
        Of the light in vacuum, micrometres, as all lengths here.
    numerical_aperture
        Of the lens.
    pixel_size
        Of a camera pixel in the object: its side by the magnification.
    z_step
        By how much the lens moves away from the sample from one image of the stack to the next.
    size
        Images of the stack, and pixels along each side of one; odd.
    depth
        Of the point below the cover slip, in the sample.
    sample_index
        Refractive index of what the point lies in.
    immersion_index, design_immersion_index
        Of what is between lens and cover slip, and what it should be.
    cover_index, design_cover_index
        Of the cover slip, and what it should be.
    cover_thickness, design_cover_thickness
        Of the cover slip, and what it should be.
    working_distance
        Thickness of the immersion layer that the lens is made for.
    subpixels
        A pixel's value is the mean of this many points along each of its sides, 1 to 64.
    dims
        The three dimensions of the result: along the axis of the lens first.

    Returns
    -------
    xarray.DataArray
        Float64, on the host; adds up to 1 over all three `dims`. Coordinates in micrometres, 0 in
        the middle, which is where the lens focuses just below the cover slip: a point at `depth`
        is at its sharpest at about ``-depth · immersion_index / sample_index``. Bring that to the
        middle, or what is deconvolved moves by as much; turn the stack round if its images follow
        each other the other way.

    Raises
    ------
    OperationError
        If a parameter is out of range, the aperture exceeds an index of the lens's own side, or
        the light is more than 1000 waves out of step.

    Notes
    -----
    ``|∫ exp(i W(ρ)) J₀(2π/λ · NA · r ρ) ρ dρ|²``, over ρ from 0 to 1, where W is 2π/λ times the
    optical path beyond the design's, the sum over the three layers (sample, cover slip, immersion)
    of ``t √(n² - (NA ρ)²) - t' √(n'² - (NA ρ)²)`` with their thicknesses t and indices n and those
    of the design: Gibson and Lanni, J. Opt. Soc. Am. A 9, 154 (1992), in the form of Li, Xue and
    Blu, J. Opt. Soc. Am. A 34, 1029 (2017). The pupil ends where the aperture reaches an index:
    light beyond is reflected. The integral is a Gauss-Legendre sum with 64 points and six more
    for each cycle of the integrand, within 1e-8 of the largest value.

    Needs about 8 bytes for each point, `subpixels` included, and 100 MB.

    Numbers that are not finite are refused.

    Examples
    --------
    >>> psf = gibson_lanni_psf(
    ...     wavelength=0.52, numerical_aperture=1.4, pixel_size=0.1, z_step=0.25, size=(9, 15)
    ... )
    >>> psf.shape, float(psf.sum().round(12)), float(psf.z[psf.argmax(...)["z"]])
    ((9, 15, 15), 1.0, 0.0)
    """
    check_dims(dims, count=3)
    positive = {
        "wavelength": wavelength,
        "numerical_aperture": numerical_aperture,
        "pixel_size": pixel_size,
        "z_step": z_step,
    }
    for name, value in positive.items():
        check_number(name, value, above=0)
    thicknesses = {
        "depth": depth,
        "cover_thickness": cover_thickness,
        "design_cover_thickness": design_cover_thickness,
        "working_distance": working_distance,
    }
    for name, value in thicknesses.items():
        check_number(name, value, least=0, most=1e5)
    indices = {
        "sample_index": sample_index,
        "immersion_index": immersion_index,
        "design_immersion_index": design_immersion_index,
        "cover_index": cover_index,
        "design_cover_index": design_cover_index,
    }
    for name, value in indices.items():
        check_number(name, value, least=1, most=5)
        if name != "sample_index" and value < numerical_aperture:
            raise OperationError(
                f"{name} is {value!r}, but an aperture of {numerical_aperture:g} needs at least "
                "that; check which lens it is"
            )
    check_whole("subpixels", subpixels, least=1)
    check_number("subpixels", subpixels, most=64)
    if np.shape(size) != (2,):
        raise OperationError(f"size is {size!r}, but must be images of the stack, and pixels")
    for each in size:
        check_size("size", each)
    planes, pixels = size
    defocus = np.float64(z_step) * (np.arange(planes, dtype=np.float64) - planes // 2)
    zero = np.zeros(planes)
    layers = [
        _Layer(sample_index, zero + depth, sample_index, 0.0),
        _Layer(cover_index, zero + cover_thickness, design_cover_index, design_cover_thickness),
        _Layer(
            immersion_index,
            defocus + working_distance,
            design_immersion_index,
            working_distance,
        ),
    ]
    lowest = min(indices.values())
    steepest = math.asin(min(numerical_aperture / lowest, 1.0))
    place = np.abs(subpixel_places(pixels, subpixels) * pixel_size)
    radii, where = np.unique(
        np.round(np.hypot(place[:, None], place[None, :]), 12), return_inverse=True
    )
    profile = _intensities(layers, radii, 2 * math.pi / wavelength, lowest, steepest)
    values = np.stack(
        [pixel_means(plane[where].reshape(place.size, -1), subpixels) for plane in profile]
    )
    return centred(values, dims, [z_step, pixel_size, pixel_size])


def _intensities(
    layers: Sequence[_Layer],
    radii: npt.NDArray[np.float64],
    wavenumber: float,
    lowest: float,
    steepest: float,
) -> npt.NDArray[np.float64]:
    """Return the intensity at each of `radii`, a row for each image.

    The pupil is gone through by the angle of the light in the layer of the `lowest` index, up to
    the `steepest`: by this, all paths are smooth up to the last.
    """
    probe = lowest * np.sin(np.linspace(0, steepest, 1001))
    phase = wavenumber * sum(layer.path(probe) for layer in layers)
    cycles = np.abs(np.diff(phase, axis=1)).sum(axis=1).max() / (2 * math.pi)
    cycles += wavenumber * probe[-1] * radii.max() / (2 * math.pi)
    if cycles > MOST_CYCLES:
        raise OperationError(
            f"the light at the rim of the lens is out of step by {cycles:.0f} waves, but at most "
            f"{MOST_CYCLES} can be summed; check that all lengths are in micrometres, or use a "
            "smaller size"
        )
    nodes, weights = scipy.special.roots_legendre(64 + math.ceil(NODES_PER_CYCLE * cycles))
    angle = (nodes + 1) / 2 * steepest
    sine = lowest * np.sin(angle)
    wave = np.exp(1j * wavenumber * sum(layer.path(sine) for layer in layers))
    wave = wave * (weights * sine * np.cos(angle))
    result = np.empty((wave.shape[0], radii.size))
    batch = max(BATCH // sine.size, 1)
    for start in range(0, radii.size, batch):
        some = radii[start : start + batch]
        bessel = scipy.special.j0(wavenumber * np.multiply.outer(sine, some))
        result[:, start : start + batch] = np.abs(wave @ bessel) ** 2
    return result
