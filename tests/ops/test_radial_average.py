"""Spectra without their direction: `radial_average`."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops import OperationError, power_spectrum, radial_average
from forebay.ops.spectra.radial import mean_over_rings


def plane(rows: int, columns: int, *, steps: tuple[float, float] = (1.0, 1.0)) -> xr.DataArray:
    """Return the distance from zero frequency at each point of a plane."""
    y = np.fft.fftshift(np.fft.fftfreq(rows, steps[0]))
    x = np.fft.fftshift(np.fft.fftfreq(columns, steps[1]))
    coords = {"freq_y": y, "freq_x": x}
    return xr.DataArray(np.hypot(y[:, None], x), dims=("freq_y", "freq_x"), coords=coords)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (15, 17), (9, 41), (33, 7)])
def test_rings_are_means_by_label(rng: np.random.Generator, rows: int, columns: int) -> None:
    """Each ring is scipy's mean over the points whose distance rounds to its number."""
    radius = plane(rows, columns)
    values = radius.copy(data=rng.normal(size=(rows, columns)))
    width = 1 / min(rows, columns)
    label = np.rint(radius.values / width).astype(int)

    result = radial_average(values)

    rings = np.arange(result.sizes["freq_r"])
    np.testing.assert_allclose(result, scipy.ndimage.mean(values.values, label, rings), rtol=1e-12)
    np.testing.assert_allclose(result.freq_r, width * rings)
    assert float(result.freq_r[-1]) <= 0.5 < float(result.freq_r[-1]) + width * 1.01


def test_a_round_spectrum_comes_back() -> None:
    """A smooth function of distance alone is what its average shows."""
    radius = plane(128, 128)

    result = radial_average(radius.copy(data=np.exp(-((radius.values / 0.2) ** 2))))

    np.testing.assert_allclose(result, np.exp(-((result.freq_r / 0.2) ** 2)), atol=0.005)


def test_unequal_pixels_make_round_rings_still() -> None:
    """Where pixels are longer than wide, rings are round in frequency, up to the smaller band."""
    radius = plane(64, 64, steps=(2.0, 1.0))

    result = radial_average(radius)

    width = 1 / 64
    np.testing.assert_allclose(result, result.freq_r, atol=width / 2)
    assert float(result.freq_r[-1]) == pytest.approx(0.25)


def test_radial_is_the_average_of_the_spectrum(frames: xr.DataArray) -> None:
    """power_spectrum(radial=True) is radial_average(power_spectrum()), frequencies and unit too."""
    result = power_spectrum(frames, radial=True)

    xr.testing.assert_identical(result, radial_average(power_spectrum(frames)))
    assert result.dims == ("t", "freq_r")
    assert result.freq_r.attrs == {"units": "cycles per µm"}


def test_a_nan_makes_its_own_ring_nan() -> None:
    """A NaN point is in the mean of its ring, and in no other."""
    radius = plane(16, 16)
    radius[8, 11] = np.nan

    assert np.flatnonzero(np.isnan(radial_average(radius))).tolist() == [3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator, dtype: str) -> None:
    """The block function gives on any device what NumPy gives."""
    values = rng.normal(size=(3, 8, 10)).astype(dtype)
    options: dict[str, Any] = {
        "first": tuple(np.arange(-4.0, 4)),
        "second": tuple(np.arange(-5.0, 5)),
    }

    result = xp.host(mean_over_rings(xp.array(values), **options))

    np.testing.assert_allclose(result, mean_over_rings(values, **options), rtol=1e-5)
    assert result.shape == (3, 5)
    assert result.dtype == dtype


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("freq_y",), "rings need two dimensions"),
        (("freq_y", "freq_z"), "'freq_z' is needed"),
        (("t", "freq_x"), "no frequencies along 't'"),
        (("c", "freq_x"), "no frequencies along 'c'"),
        (("freq_t", "freq_x"), "in cycles per second along 'freq_t' and in None along 'freq_x'"),
    ],
)
def test_planes_without_frequencies_in_one_unit_are_refused(
    dims: tuple[str, ...], message: str
) -> None:
    """What has no rings, or no round ones, is an error that names the dimension."""
    spectrum = plane(4, 6).expand_dims(t=2, c=["red", "blue"], freq_t=[0.0, 1.0])
    spectrum.freq_t.attrs["units"] = "cycles per second"
    spectrum = spectrum.drop_vars("t", errors="ignore")

    with pytest.raises(OperationError, match=message):
        radial_average(spectrum, dims=dims)
