"""How a point looks: `gaussian_psf`, `airy_psf`, `gibson_lanni_psf`, `measured_psf`."""

from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.ndimage
import scipy.special
import xarray as xr

from forebay.ops import OperationError, airy_psf, gaussian_psf, gibson_lanni_psf, measured_psf
from forebay.ops.deconvolution import point_spread
from forebay.ops.deconvolution.point_spread import (
    FIFTH_DARK_RING,
    as_psf,
    spots_in_the_middle,
)

LENS: dict[str, Any] = {"wavelength": 0.6, "numerical_aperture": 1.4, "pixel_size": 0.07}


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """Give a stack through a watery sample, well below the cover slip, without subpixels."""
    return gibson_lanni_psf(**LENS, z_step=0.3, size=(13, 21), depth=2.0, subpixels=1)


@pytest.mark.parametrize(
    "psf",
    [
        gaussian_psf(sigma=[2, 0.5]),
        airy_psf(**LENS),
        airy_psf(**LENS, size=7, subpixels=2, dims=("v", "u")),
        gibson_lanni_psf(**LENS, z_step=0.3, size=(5, 9)),
    ],
)
def test_all_are_normalised_and_nowhere_negative(psf: xr.DataArray) -> None:
    """A point-spread function adds up to 1, has its middle in the middle, and is symmetric."""
    assert float(psf.sum()) == pytest.approx(1, abs=1e-12)
    assert float(psf.min()) >= 0
    assert psf.dtype == np.float64
    for dim in psf.dims:
        assert float(psf[dim][psf.sizes[dim] // 2]) == 0
    np.testing.assert_allclose(psf, psf.values[..., ::-1, ::-1], atol=1e-15)


def test_the_gaussian_is_scipys() -> None:
    """It is what scipy makes of a single bright pixel."""
    point = np.zeros((17, 9))
    point[8, 4] = 1

    expected = scipy.ndimage.gaussian_filter(point, (2, 1), truncate=4.0)

    np.testing.assert_allclose(gaussian_psf(sigma=(2, 1)), expected, atol=1e-15)


def test_the_airy_disk_is_dark_where_it_should_be() -> None:
    """The first dark ring is at 0.61 λ / NA, and the light within it is 83.8 %."""
    fine = airy_psf(wavelength=1, numerical_aperture=1, pixel_size=0.02, size=301, subpixels=1)
    radius = np.hypot(fine.y, fine.x)

    centre_row = fine.sel(y=0)
    dark = centre_row.where((centre_row.x > 0.4) & (centre_row.x < 0.8)).idxmin()
    assert float(dark) == pytest.approx(0.6098, abs=0.02)
    v = 2 * np.pi * 3.0
    all_light = 1 - scipy.special.j0(v) ** 2 - scipy.special.j1(v) ** 2
    within = float(fine.where(radius < 0.6098).sum() / fine.where(radius < 3).sum()) * all_light
    assert within == pytest.approx(0.838, abs=0.003)


def test_a_pixel_holds_the_mean_over_its_area() -> None:
    """Each value is the integral over its pixel, by scipy's quadrature, relative to the middle one."""
    psf = airy_psf(**LENS, size=9, subpixels=15)

    def intensity(y: float, x: float) -> float:
        v = 2 * np.pi * 1.4 / 0.6 * 0.07 * np.hypot(y, x)
        return float((2 * scipy.special.j1(v) / v) ** 2) if v else 1.0

    expected = [
        scipy.integrate.dblquad(intensity, x - 0.5, x + 0.5, y - 0.5, y + 0.5, epsabs=1e-9)[0]
        for y, x in [(0, 0), (0, 3), (2, 4)]
    ]
    result = [float(psf[4 + y, 4 + x]) for y, x in [(0, 0), (0, 3), (2, 4)]]
    np.testing.assert_allclose(
        np.array(result) / result[0], np.array(expected) / expected[0], atol=1e-4
    )


def test_without_a_size_the_airy_disk_has_five_dark_rings() -> None:
    """The default reaches to the fifth zero of J₁."""
    psf = airy_psf(**LENS)

    assert scipy.special.jn_zeros(1, 5)[-1] == pytest.approx(FIFTH_DARK_RING, abs=1e-12)
    reach = FIFTH_DARK_RING / (2 * np.pi * 1.4 / 0.6)
    assert reach <= float(psf.x.max()) < reach + 0.07


def test_gibson_and_lanni_by_quadrature(stack: xr.DataArray) -> None:
    """Intensities are the published integral, by scipy's adaptive quadrature."""

    def intensity(z: float, radius: float) -> float:
        def phase(rho: float) -> float:
            squared = (1.4 * rho) ** 2
            sample = 2.0 * np.sqrt(1.33**2 - squared)
            # Cover slip as designed; the immersion layer is thicker by z.
            immersion = (150 + z) * np.sqrt(1.515**2 - squared) - 150 * np.sqrt(1.515**2 - squared)
            return float(2 * np.pi / 0.6 * (sample + immersion))

        def integrand(rho: float, wave: Any) -> float:
            bessel = scipy.special.j0(2 * np.pi / 0.6 * 1.4 * radius * rho)
            return float(wave(phase(rho)) * bessel * rho)

        parts = [
            scipy.integrate.quad(
                integrand, 0, 1.33 / 1.4, args=(wave,), limit=400, epsabs=1e-12, epsrel=1e-11
            )[0]
            for wave in (np.cos, np.sin)
        ]
        return float(parts[0] ** 2 + parts[1] ** 2)

    places = [(6, 10, 10), (0, 10, 10), (1, 13, 4), (5, 10, 12), (12, 20, 20)]
    expected = [
        intensity(0.3 * (z - 6), 0.07 * float(np.hypot(y - 10, x - 10))) for z, y, x in places
    ]

    result = [float(stack[place]) for place in places]

    np.testing.assert_allclose(
        np.array(result) / result[0], np.array(expected) / expected[0], atol=1e-8
    )


def test_the_focus_moves_with_the_depth(stack: xr.DataArray) -> None:
    """At the cover slip the point is sharpest in the middle; deeper down where the lens is nearer."""
    on_top = gibson_lanni_psf(**LENS, z_step=0.3, size=(13, 21))

    assert float(on_top.max(("y", "x")).idxmax("z")) == 0
    np.testing.assert_allclose(on_top, on_top[::-1], atol=1e-12)
    assert -3 < float(stack.max(("y", "x")).idxmax("z")) < -1


def test_in_focus_it_is_nearly_the_airy_disk() -> None:
    """Without aberrations, the middle image is the Airy disk: there the phase is flat."""
    flat = gibson_lanni_psf(**LENS, z_step=0.3, size=(1, 25), sample_index=1.515, subpixels=5).isel(
        z=0
    )

    np.testing.assert_allclose(flat, airy_psf(**LENS, size=25), atol=1e-9)


def beads(rng: np.random.Generator, noise: float = 0.0) -> xr.DataArray:
    """Return crops of beads off the middle, of different brightness, on different grounds."""
    y, x = np.mgrid[:17, :17] - 8
    crops = []
    for _ in range(6):
        at_y, at_x = rng.uniform(-1, 1, 2)
        spot = np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 1.5**2))
        crops.append(rng.uniform(50, 200) + rng.uniform(500, 900) * spot)
    values = np.array(crops) + noise * rng.normal(size=(6, 17, 17))
    return xr.DataArray(values, dims=("bead", "y", "x"), name="counts", attrs={"units": "ADU"})


def test_beads_are_brought_together(rng: np.random.Generator) -> None:
    """Beads that lie anywhere about the middle, as bright as they are, give their common shape."""
    psf = measured_psf(beads(rng))

    expected = gaussian_psf(sigma=1.5, truncate=8 / 1.5)
    np.testing.assert_allclose(psf, expected, atol=3e-3 * float(expected.max()))
    assert float(psf.sum()) == pytest.approx(1, abs=1e-12)
    assert float(psf.min()) >= 0
    assert psf.attrs == {}


def test_measured_lazily(rng: np.random.Generator) -> None:
    """Lazy crops, cut anywhere, give the eager result; integers give float32."""
    counts = beads(rng, noise=2).astype(np.uint16)

    lazy = measured_psf(counts.chunk({"bead": 2, "y": 5}))

    np.testing.assert_allclose(lazy.compute(), measured_psf(counts), rtol=1e-6)
    assert lazy.dtype == np.float32
    turned = measured_psf(counts.transpose("x", "bead", "y"))
    assert turned.dims == ("x", "y")
    np.testing.assert_allclose(turned.T, measured_psf(counts), atol=1e-7)


def test_each_chunk_of_crops_is_by_itself(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many crops there are, no task holds more than its chunk."""
    seen = []

    def watched(array: Any) -> Any:
        seen.append(array.shape)
        return spots_in_the_middle(array)

    monkeypatch.setattr(point_spread, "spots_in_the_middle", watched)
    measured_psf(beads(rng).chunk({"bead": 2})).compute()
    assert seen == [(2, 17, 17)] * 3


def test_a_crop_without_a_bead_gives_nan(rng: np.random.Generator) -> None:
    """An empty crop, or one with a NaN, is not passed over in silence."""
    crops = beads(rng)
    for value in (crops[2] * 0 + 7, crops[2] * np.nan):
        broken = crops.copy(deep=True)
        broken[2] = value
        assert bool(measured_psf(broken).isnull().all())
        assert bool(measured_psf(broken.chunk({"bead": 2})).isnull().all())


def test_beads_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block function gives on any device what NumPy gives."""
    values = beads(rng).values

    spots = spots_in_the_middle(xp.array(values))
    result = xp.host(as_psf(xp.namespace.sum(spots, axis=0), dtype=xp.namespace.float64))

    np.testing.assert_allclose(result, measured_psf(beads(np.random.default_rng(20))), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_psf(sigma=0), "sigma is 0, but must be"),
        (lambda: gaussian_psf(sigma=1e9), "sigma is 1000000000.0"),
        (lambda: gaussian_psf(sigma=(1, 2, 3)), "sigma has 3 values"),
        (lambda: gaussian_psf(sigma=1, dims=("y", "y")), "different names"),
        (lambda: airy_psf(**LENS | {"wavelength": -1}), "wavelength is -1"),
        (lambda: airy_psf(**LENS, size=8), "size is 8, but must be an odd"),
        (lambda: airy_psf(**LENS, size=9999), "at most 4096"),
        (lambda: airy_psf(**LENS, subpixels=99), "subpixels is 99"),
        (lambda: airy_psf(**LENS, dims=("y",)), "must be 2 different names"),
        (lambda: gibson_lanni_psf(**LENS, z_step=0, size=(3, 3)), "z_step is 0"),
        (lambda: gibson_lanni_psf(**LENS, z_step=1, size=(4, 3)), "size is 4"),
        (lambda: gibson_lanni_psf(**LENS, z_step=1, size=(3, 3, 3)), "size is \\(3, 3, 3\\)"),  # type: ignore[arg-type]
        (
            lambda: gibson_lanni_psf(**LENS, z_step=1, size=(3, 3), immersion_index=1.33),
            "immersion_index is 1.33, but an aperture of 1.4 needs at least that",
        ),
        (
            lambda: gibson_lanni_psf(**LENS, z_step=1, size=(3, 3), depth=1e5),
            "out of step by .* waves",
        ),
        (lambda: measured_psf(xr.DataArray(np.ones((2, 5, 5)), dims=("t", "y", "x"))), "'bead' is"),
        (
            lambda: measured_psf(xr.DataArray(np.ones((2, 4, 5)), dims=("bead", "y", "x"))),
            "the size of beads along 'y' is 4, but must be an odd",
        ),
        (
            lambda: measured_psf(xr.DataArray(np.ones((2, 2, 5, 5)), dims=("bead", "z", "y", "x"))),
            "select or stack the others",
        ),
    ],
)
def test_bad_parameters_are_named(call: Any, message: str) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        call()
