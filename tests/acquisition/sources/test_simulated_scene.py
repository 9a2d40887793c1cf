"""The physics of the simulated scene, compared with what its parameters promise."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from forebay.acquisition import FrameFlag
from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources import Scene, SimulatedSource

QUIET = Scene(shape=(128, 128), emitters=1, read_noise=0.0, offset=0.0, background=0.0, seed=11)


def central(scene: Scene) -> Scene:
    """Give the scene a seed with which its one emitter lies well within the frame."""
    margin = 8 * scene.sigma + 2
    for seed in range(1000):
        tried = dataclasses.replace(scene, seed=seed)
        one = tried.emitters_at(0)
        inside = [
            margin < at < side - margin
            for at, side in zip((one.y[0], one.x[0]), tried.shape, strict=True)
        ]
        if all(inside):
            return tried
    raise AssertionError("no seed puts the emitter into the middle")


def stack(scene: Scene, count: int) -> npt.NDArray[np.float64]:
    return np.stack([scene.image(frame) for frame in range(count)]).astype(float)


def test_the_same_seed_gives_the_same_frames_in_any_order() -> None:
    """A frame depends on the parameters and its number alone."""
    one, two = Scene(diffusion=0.3, seed=4), Scene(diffusion=0.3, seed=4)
    forth = [one.image(frame) for frame in (0, 1, 77)]
    back = [two.image(frame) for frame in (77, 1, 0)][::-1]
    np.testing.assert_array_equal(forth, back)
    assert not np.array_equal(one.image(1), one.image(2))
    assert not np.array_equal(one.image(1), Scene(diffusion=0.3, seed=5).image(1))


def test_all_photons_of_an_emitter_arrive() -> None:
    """The pixels of the mean image add up to the photons, and those of frames to as many."""
    scene = central(dataclasses.replace(QUIET, photons=3000.0))
    assert scene.expected(0).sum() == pytest.approx(3000.0, rel=2e-6)
    totals = stack(scene, 200).sum(axis=(1, 2))
    assert totals.mean() == pytest.approx(3000.0, abs=4 * np.sqrt(3000 / 200))
    assert totals.var() == pytest.approx(3000.0, rel=0.4)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_an_emitter_is_a_gaussian_integrated_over_each_pixel(sigma: float) -> None:
    """Each pixel holds the normal distribution's probability between its edges."""
    scene = central(dataclasses.replace(QUIET, sigma=sigma))
    one = scene.emitters_at(0)
    factors = []
    for at, side in ((one.y[0], 128), (one.x[0], 128)):
        edges = norm.cdf(np.arange(side + 1) - 0.5, loc=at, scale=sigma)
        factors.append(np.diff(edges))
    truth = scene.photons * np.outer(*factors)
    np.testing.assert_allclose(scene.expected(0), truth, atol=1e-6 * scene.photons)


def test_the_width_and_the_centre_of_an_image_are_those_of_the_emitter() -> None:
    """The mean image has its centroid at the truth and the variance sigma² + 1/12."""
    scene = central(dataclasses.replace(QUIET, sigma=2.0))
    image, one = scene.expected(0), scene.emitters_at(0)
    rows = np.arange(128)
    along_y = image.sum(axis=1) / image.sum()
    centre = (rows * along_y).sum()
    assert centre == pytest.approx(one.y[0], abs=1e-4)
    assert ((rows - centre) ** 2 * along_y).sum() == pytest.approx(4 + 1 / 12, rel=1e-3)


def test_the_noise_is_that_of_photons_and_of_the_camera() -> None:
    """Mean = offset + gain × m; variance = gain² × (m + read_noise²) + 1/12 of rounding."""
    scene = Scene(
        shape=(64, 64), emitters=0, background=50.0, gain=2.0, offset=100.0, read_noise=3.0
    )
    pixels = stack(scene, 40)
    count = pixels.size
    variance = 4 * (50 + 9) + 1 / 12
    assert pixels.mean() == pytest.approx(200, abs=5 * np.sqrt(variance / count))
    assert pixels.var() == pytest.approx(variance, rel=5 * np.sqrt(2.1 / count))
    without = dataclasses.replace(scene, read_noise=0.0, gain=1.0, offset=0.0)
    assert stack(without, 40).var() == pytest.approx(50, rel=0.02)


def test_noise_is_independent_from_pixel_to_pixel_and_frame_to_frame() -> None:
    """Neighbours and successors do not resemble each other."""
    pixels = stack(Scene(shape=(64, 64), emitters=0), 40)
    pixels -= pixels.mean()
    for axis in range(3):
        ahead = np.take(pixels, range(1, pixels.shape[axis]), axis)
        behind = np.take(pixels, range(pixels.shape[axis] - 1), axis)
        assert abs((ahead * behind).mean()) < 0.02 * pixels.var()


def test_drift_moves_all_emitters_alike() -> None:
    """After k frames each emitter is k times the drift away."""
    scene = Scene(emitters=5, drift=(0.25, -0.5))
    start, later = scene.emitters_at(0), scene.emitters_at(40)
    np.testing.assert_allclose(later.y - start.y, 10.0)
    np.testing.assert_allclose(later.x - start.x, -20.0)


def test_diffusion_is_brownian() -> None:
    """Steps are independent with variance 2 D; any distance in time t has 2 D t."""
    scene = Scene(emitters=400, diffusion=0.5, seed=2)
    at = np.array([
        np.column_stack([e.y, e.x]) for e in (scene.emitters_at(frame) for frame in range(130))
    ])  # fmt: skip
    steps = np.diff(at, axis=0)
    assert steps.var() == pytest.approx(1.0, rel=0.02)
    assert abs((steps[1:] * steps[:-1]).mean()) < 0.02
    for lag in (3, 16, 64, 100):
        moved = at[lag:] - at[:-lag]
        assert (moved**2).mean() == pytest.approx(lag, rel=0.15)


@given(frame=st.integers(1, 10**9))
@settings(max_examples=30, deadline=None)
def test_diffusion_of_neighbouring_frames_is_one_step(frame: int) -> None:
    """However far into the recording, an emitter makes small steps."""
    scene = Scene(emitters=30, diffusion=0.02, seed=1)
    one, two = scene.emitters_at(frame), scene.emitters_at(frame - 1)
    assert np.abs(one.y - two.y).max() < 0.2 * 6


def test_bleaching_fades_exponentially() -> None:
    """After k frames exp(−rate k) of the photons are left, in the truth and in the frames."""
    scene = central(dataclasses.replace(QUIET, photons=1e5, bleaching=0.05))
    totals = stack(scene, 60).sum(axis=(1, 2))
    slope = np.polyfit(np.arange(60), np.log(totals), 1)[0]
    assert slope == pytest.approx(-0.05, rel=0.01)
    assert scene.emitters_at(20).photons[0] == pytest.approx(1e5 * np.exp(-1))


def test_a_pixel_at_the_limit_saturates_and_the_frame_says_so() -> None:
    """Counts stop at 2**bits − 1 and the frame has the flag; a frame below it has not."""
    bright = dataclasses.replace(central(QUIET), photons=1e6, bits=12)
    dim = dataclasses.replace(bright, photons=100.0)
    with SimulatedSource(bright, frames=2) as source:
        for frame in source.frames():
            assert frame.flags == FrameFlag.SATURATED
            assert frame.data.max() == 4095
    with SimulatedSource(dim, frames=2) as source:
        assert [frame.flags for frame in source.frames()] == [FrameFlag(0)] * 2
    full = dataclasses.replace(bright, bits=16)
    assert full.image(0).dtype == np.uint16
    assert full.image(0).max() == 65535


def test_counts_do_not_go_below_zero() -> None:
    """Noise below the dark level is clipped, never wrapped around."""
    image = Scene(emitters=0, background=0.0, offset=0.0, read_noise=5.0).image(0)
    assert image.min() == 0
    assert image.max() < 100


def test_an_emitter_beyond_the_edge_still_shines_in() -> None:
    """Half of the light of an emitter at the edge is in the frame; a far one gives none."""
    still = central(QUIET)
    y = still.emitters_at(0).y[0]
    edge = dataclasses.replace(still, drift=(-(y + 0.5), 0.0))
    assert edge.expected(1).sum() == pytest.approx(edge.photons / 2, rel=1e-5)
    assert edge.expected(2).sum() == 0.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"emitters": -1}, "emitters cannot be -1; give a whole number from 0 to 1000000"),
        ({"emitters": 1.5}, "emitters cannot be 1.5; give a whole number"),
        ({"emitters": True}, "emitters cannot be True; give a whole number"),
        ({"sigma": 0.0}, "sigma cannot be 0.0; give a number from 0.05 to 1000"),
        ({"photons": float("nan")}, "photons cannot be nan; give a number"),
        ({"photons": "many"}, "photons cannot be 'many'; give a number"),
        ({"bits": 17}, "bits cannot be 17; give a whole number from 1 to 16"),
        ({"shape": (0, 4)}, "shape cannot be 0; give a whole number from 1"),
        ({"shape": 4}, "shape cannot be 4; give two numbers, y first"),
        ({"drift": (1.0,)}, r"drift cannot be \(1.0,\); give two numbers, y first"),
        ({"drift": (float("inf"), 0)}, "drift cannot be inf; give a number"),
        ({"bleaching": -0.1}, "bleaching cannot be -0.1"),
        ({"seed": -1}, "seed cannot be -1"),
    ],
)
def test_a_parameter_out_of_range_is_refused(wrong: dict[str, object], said: str) -> None:
    """The message names the parameter, what it was, and what is allowed."""
    with pytest.raises(SourceError, match=said):
        Scene(**wrong)  # type: ignore[arg-type]
