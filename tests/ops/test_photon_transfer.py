"""Gain and noise from mean and variance: `photon_transfer`, `to_electrons`."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask.base import compute, persist

from forebay.ops import OperationError, photon_transfer, to_electrons

GAIN, READ_NOISE, OFFSET = 2.5, 4.0, 100.0
LEVELS = np.array([50.0, 200.0, 800.0, 2500.0])


@pytest.fixture(scope="module")
def stacks() -> tuple[xr.DataArray, xr.DataArray]:
    """Give 40 frames of each of four levels of an uneven field, and 40 dark ones."""
    rng = np.random.default_rng(20)
    uneven = rng.uniform(0.5, 1.5, (24, 30))
    electrons = rng.poisson(LEVELS[:, None, None, None] * uneven, (4, 40, 24, 30))
    noise = rng.normal(0, READ_NOISE, (5, 40, 24, 30))
    counts = (electrons + noise[:4]) / GAIN + OFFSET
    frames = xr.DataArray(counts, dims=("level", "t", "y", "x"), attrs={"units": "count"})
    return frames, xr.DataArray(noise[4] / GAIN + OFFSET, dims=("t", "y", "x"))


@pytest.mark.parametrize("lazy", [False, True])
def test_the_camera_is_found_again(stacks: tuple[xr.DataArray, xr.DataArray], lazy: bool) -> None:
    """Gain, read noise and offset of a simulated camera come out within 2 percent."""
    frames, dark = stacks
    if lazy:
        frames, dark = frames.chunk({"t": 9, "y": 7}), dark.chunk({"t": 11})

    camera = photon_transfer(frames, dark, level="level")

    assert (camera["gain"].chunks is not None) == lazy
    assert float(camera.gain) == pytest.approx(GAIN, rel=0.02)
    assert float(camera.read_noise) == pytest.approx(READ_NOISE, rel=0.02)
    assert float(camera.offset) == pytest.approx(OFFSET, abs=0.05)
    np.testing.assert_allclose(camera.signal, LEVELS / GAIN, rtol=0.03)
    np.testing.assert_allclose(camera.variance, camera.signal / GAIN, rtol=0.1)
    assert camera.gain.units == "electron/count"
    assert camera.read_noise.units == "electron"
    assert camera.gain.dtype == np.float64


@pytest.mark.parametrize("level", [None, "level"])
@pytest.mark.parametrize("dims", [("y", "x"), ()])
def test_dask_computes_all_of_it_at_once(
    stacks: tuple[xr.DataArray, xr.DataArray], level: str | None, dims: tuple[str, ...]
) -> None:
    """`dask.compute` gives what `compute` gives: nothing that is asked for is lost on the way."""
    frames, dark = stacks[0].chunk({"t": 9}), stacks[1].chunk({"t": 11})
    camera = photon_transfer(frames if level else frames[1], dark, level=level, dims=dims)

    (found,) = compute(camera)  # type: ignore[no-untyped-call]
    (kept,) = persist(camera)  # type: ignore[no-untyped-call]

    xr.testing.assert_identical(found, camera.compute())
    xr.testing.assert_identical(kept.compute(), found)


def test_one_level_is_the_textbook_ratio(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    """With a single level the gain is the mean signal over its shot noise variance."""
    frames, dark = stacks[0][2], stacks[1]

    camera = photon_transfer(frames, dark)

    shot = frames.values.var(0, ddof=1).mean() - dark.values.var(0, ddof=1).mean()
    assert float(camera.gain) == pytest.approx((frames.values.mean() - dark.values.mean()) / shot)
    assert "level" not in camera.dims


def test_the_line_is_the_weighted_one(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    """The slope is what numpy fits through zero, twice: unweighted, and with what that expects."""
    frames, dark = stacks

    camera = photon_transfer(frames, dark, level="level")

    x, y = camera.signal.values, camera.variance.values
    first = np.linalg.lstsq(x[:, None], y)[0][0]
    weight = 1 / (dark.values.var(0, ddof=1).mean() + first * x)
    slope = np.linalg.lstsq((x * weight)[:, None], y * weight)[0][0]
    assert float(camera.gain) == pytest.approx(1 / slope, rel=1e-12)


def test_saturated_levels_are_left_out(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    """A level that is clipped spoils the gain, unless it is above `saturation`."""
    frames, dark = stacks
    clipped = frames.clip(max=1000)

    spoiled = photon_transfer(clipped, dark, level="level")
    without = photon_transfer(clipped, dark, level="level", saturation=700)

    assert abs(float(spoiled.gain) - GAIN) > 0.2
    assert float(without.gain) == pytest.approx(GAIN, rel=0.03)
    np.testing.assert_array_equal(without.signal, spoiled.signal)


def test_without_dims_there_is_a_map(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    """Each pixel has its own gain and noise, scattered around the true ones."""
    frames, dark = stacks

    camera = photon_transfer(frames, dark, level="level", dims=())

    assert camera.gain.dims == ("y", "x")
    assert float(camera.gain.median()) == pytest.approx(GAIN, rel=0.05)


def test_nothing_can_be_said_of_equal_frames(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    """Frames without shot noise have no gain; a NaN makes it NaN."""
    frames, dark = stacks[0][0], stacks[1]
    noisy = frames.copy()
    noisy[3, 4, 5] = np.nan

    assert np.isnan(photon_transfer(dark + 5, dark).gain)
    assert np.isnan(photon_transfer(frames * 0 + 7, dark * 0).gain)
    assert np.isnan(photon_transfer(noisy, dark).gain)


@pytest.mark.parametrize("lazy", [False, True])
def test_electrons_have_the_variance_of_their_mean(
    stacks: tuple[xr.DataArray, xr.DataArray], lazy: bool
) -> None:
    """Frames in electrons, with the gain and offset found, follow Poisson statistics."""
    frames, dark = stacks
    camera = photon_transfer(frames, dark, level="level")
    given_frames = frames.chunk({"t": 9}) if lazy else frames

    result = to_electrons(given_frames[2], gain=camera.gain, offset=dark.mean("t"))

    assert result.attrs == {"units": "electron"}
    variance = float(result.var("t", ddof=1).mean()) - READ_NOISE**2
    assert float(result.mean()) == pytest.approx(800, rel=0.03)
    assert variance == pytest.approx(float(result.mean()), rel=0.03)


def test_numbers_and_maps_convert_alike(frames: xr.DataArray) -> None:
    """One gain for all is a map with that gain everywhere; integers give float32."""
    image = frames.isel(t=0, drop=True).astype("float32") * 0

    one = to_electrons(frames, gain=0.5, offset=100)

    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, (frames.values.astype("float32") - 100) * 0.5)
    xr.testing.assert_identical(one, to_electrons(frames, gain=image + 0.5, offset=image + 100))


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        (lambda a, b: (a, b), {"dim": "z"}, "'z' is needed"),
        (lambda a, b: (a, b), {"level": "z"}, "'z' is needed"),
        (lambda a, b: (a[:, :1], b), {}, "the variance of frames needs at least 2"),
        (lambda a, b: (a, b[:1]), {}, "the variance of dark needs at least 2"),
        (lambda a, b: (a, b[:, 1:]), {}, "does not lie on the pixels"),
        (lambda a, b: (a, a), {}, "dark has the dimension 'level'"),
        (lambda a, b: (a, b.values), {}, "dark is a ndarray"),
        (lambda a, b: (a, b), {"saturation": "high"}, "saturation is 'high'"),
    ],
)
def test_stacks_that_do_not_fit_are_refused(
    stacks: tuple[xr.DataArray, xr.DataArray],
    change: Any,
    parameters: dict[str, Any],
    message: str,
) -> None:
    """What is missing or does not fit is named."""
    with pytest.raises(OperationError, match=message):
        photon_transfer(*change(*stacks), **({"level": "level"} | parameters))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gain": 0}, "gain is 0"),
        ({"gain": 1, "offset": np.inf}, "offset is inf"),
        ({"gain": xr.DataArray(np.ones(3), dims="x")}, "gain does not lie on the pixels"),
    ],
)
def test_bad_parameters_are_named(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A gain or offset that cannot be is named."""
    with pytest.raises(OperationError, match=message):
        to_electrons(frames, **parameters)
