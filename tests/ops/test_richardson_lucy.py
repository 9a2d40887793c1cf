"""Deconvolution under photon noise: `richardson_lucy`."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.linalg
import scipy.ndimage
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, gaussian_psf, richardson_lucy
from forebay.ops.deconvolution.richardson_lucy import (
    Steps,
    discrepancy_of,
    restored,
    starting_point,
)
from forebay.ops.deconvolution.transfer import make_blur

WATER = Path(__file__).parents[2] / "examples" / "data" / "bulk_water" / "bulk_water_000.png"

type Floats = npt.NDArray[np.float64]


@pytest.fixture
def psf(rng: np.random.Generator) -> xr.DataArray:
    """Give a lopsided point-spread function of 5 × 3 pixels."""
    values = rng.uniform(0.1, 1, (5, 3))
    return xr.DataArray(values / values.sum(), dims=("y", "x"))


@pytest.fixture
def small(rng: np.random.Generator) -> xr.DataArray:
    """Give two small frames of counts in float64."""
    return xr.DataArray(rng.poisson(40, (2, 8, 9)).astype(float), dims=("t", "y", "x"))


def blur_matrix(psf: Floats, canvas: tuple[int, int]) -> Floats:
    """Return the matrix that blurs a periodic image of the shape `canvas`, written out."""
    matrix = np.zeros((*canvas, *canvas))
    for from_y in range(canvas[0]):
        for from_x in range(canvas[1]):
            for y in range(psf.shape[0]):
                for x in range(psf.shape[1]):
                    to_y = (from_y + y - psf.shape[0] // 2) % canvas[0]
                    to_x = (from_x + x - psf.shape[1] // 2) % canvas[1]
                    matrix[to_y, to_x, from_y, from_x] += psf[y, x]
    return matrix.reshape(int(np.prod(canvas)), -1)


def published_steps(
    counts: Floats,
    matrix: Floats,
    seen: npt.NDArray[np.bool_],
    *,
    iterations: int,
    accelerate: bool = False,
    background: float = 0.0,
) -> Floats:
    """Return Richardson's and Lucy's estimate over all of `seen`, by matrices, as published."""
    rows = matrix[seen.ravel()]
    counts = counts.ravel()
    sight = rows.sum(axis=0)
    weight = np.where(sight > 0.01, 1 / np.where(sight > 0.01, sight, 1), 0)
    estimate = before = np.full(matrix.shape[1], counts.mean())
    steps: list[Floats] = []
    for _ in range(iterations):
        start = estimate
        if accelerate and len(steps) >= 2:
            alpha = np.clip(steps[-1] @ steps[-2] / (steps[-2] @ steps[-2]), 0, 1)
            start = np.maximum(estimate + alpha * (estimate - before), 0)
        moved = start * weight * (rows.T @ (counts / (rows @ start + background)))
        steps.append(moved - start)
        before, estimate = estimate, moved
    return estimate.reshape(seen.shape)


@pytest.mark.parametrize("accelerate", [False, True])
def test_steps_are_the_published_ones(
    small: xr.DataArray, psf: xr.DataArray, accelerate: bool
) -> None:
    """Weighted edges give what the formulas give, with the blur written out as a matrix."""
    canvas = tuple(scipy.fft.next_fast_len(n + k - 1, real=True) for n, k in ((8, 5), (9, 3)))
    seen = np.zeros(canvas, bool)
    seen[:8, :9] = True
    matrix = blur_matrix(psf.values, canvas)

    result = richardson_lucy(small, psf=psf, iterations=9, accelerate=accelerate, background=7.0)

    for frame, restored_one in zip(small.values, result.values, strict=True):
        expected = published_steps(
            frame, matrix, seen, iterations=9, accelerate=accelerate, background=7.0
        )
        np.testing.assert_allclose(restored_one, expected[:8, :9], rtol=1e-10)


def test_what_wraps_is_a_periodic_blur(small: xr.DataArray, psf: xr.DataArray) -> None:
    """With edge='wrap' all of the periodic image is seen."""
    matrix = blur_matrix(psf.values, (8, 9))

    result = richardson_lucy(small, psf=psf, iterations=6, accelerate=False, edge="wrap")

    expected = published_steps(small.values[0], matrix, np.ones((8, 9), bool), iterations=6)
    np.testing.assert_allclose(result[0], expected, rtol=1e-10)


def test_what_is_reflected_is_the_mirrored_frame(small: xr.DataArray) -> None:
    """With edge='reflect' a step sees beyond the edge what is before it, the edge pixel twice."""
    psf = gaussian_psf(sigma=0.6, truncate=3)
    counts = small.values[0]
    first = scipy.ndimage.correlate(counts / counts.mean(), psf.values, mode="reflect")

    result = richardson_lucy(small, psf=psf, iterations=1, edge="reflect")

    # The mean of the mirrored frame, where the first step starts from, drops out of it.
    np.testing.assert_allclose(result[0], first * counts.mean(), rtol=1e-10)


def test_total_variation_is_the_published_one(small: xr.DataArray, psf: xr.DataArray) -> None:
    """A step is divided by 1 - λ div(∇x / |∇x|), the slopes taken to the next pixel."""
    strength, count = 0.01, 4
    expected = np.full((8, 9), small.values[0].mean())
    flat = 1e-3 * expected[0, 0]
    matrix = blur_matrix(psf.values, (8, 9))
    for _ in range(count):
        down = np.roll(expected, -1, 0) - expected
        right = np.roll(expected, -1, 1) - expected
        length = np.sqrt(down**2 + right**2 + np.maximum(flat, 4 * strength * expected) ** 2)
        divergence = (
            down / length
            - np.roll(down / length, 1, 0)
            + right / length
            - np.roll(right / length, 1, 1)
        )
        ratio = small.values[0].ravel() / (matrix @ expected.ravel())
        expected = expected / (1 - strength * divergence) * (matrix.T @ ratio).reshape(8, 9)

    result = richardson_lucy(
        small, psf=psf, iterations=count, accelerate=False, regularisation=strength, edge="wrap"
    )

    np.testing.assert_allclose(result[0], expected, rtol=1e-9)


@pytest.mark.parametrize("accelerate", [False, True])
def test_what_is_flat_stays_flat(rng: np.random.Generator, accelerate: bool) -> None:
    """The more total variation weighs, the less of it there is, and no checkerboard comes up."""
    psf = gaussian_psf(sigma=1.5)
    frame = xr.DataArray(rng.poisson(400, (40, 41)).astype("float32"), dims=("y", "x"))
    found = [
        richardson_lucy(frame, psf=psf, accelerate=accelerate, regularisation=strength)
        for strength in (0, 0.002, 0.01, 0.02)
    ]

    slopes = [float(abs(each.diff("y")).mean()) for each in found]
    assert slopes == sorted(slopes, reverse=True)
    mixed = [float(each.diff("y").diff("x").std()) for each in found]
    assert mixed == sorted(mixed, reverse=True)


def test_a_stack_is_deconvolved_in_three_dimensions(rng: np.random.Generator) -> None:
    """With three dims a point blurred along all three is brought together again."""
    psf = gaussian_psf(sigma=(1.5, 1, 1), dims=("z", "y", "x"))
    stack = xr.DataArray(np.zeros((2, 14, 12, 15), np.float32), dims=("c", "z", "y", "x"))
    stack[:, 7, 6, 8] = 1000
    blurred = stack.copy(data=scipy.ndimage.gaussian_filter(stack, (0, 1.5, 1, 1)))

    result = richardson_lucy(blurred, psf=psf, iterations=40, dims=("z", "y", "x"))

    place = np.unravel_index(result[1].values.argmax(), (14, 12, 15))
    assert [int(each) for each in place] == [7, 6, 8]
    assert float(result.max()) > 6 * float(blurred.max())
    # A point-spread function in another order of dimensions is the same one.
    turned = richardson_lucy(
        blurred, psf=psf.transpose("x", "z", "y"), iterations=40, dims=("z", "y", "x")
    )
    np.testing.assert_array_equal(turned, result)


def real_scene() -> tuple[Floats, xr.DataArray, xr.DataArray]:
    """Return a part of a real frame, what a blur and photon noise make of it, and the blur."""
    psf = gaussian_psf(sigma=1.7)
    with Image.open(WATER) as image:
        light = 10 * np.maximum(np.asarray(image.convert("L"))[80:210, 180:320] - 80.0, 0)
    blurred = scipy.ndimage.correlate(light, psf.values, mode="constant") + 20
    counts = np.random.default_rng(4).poisson(blurred)[20:110, 20:120]
    frames = xr.DataArray(counts.astype(np.uint16), dims=("y", "x"))
    return light[20:110, 20:120], frames, psf


def error(result: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the root mean square error as a part of the root mean square of the truth."""
    truth = np.asarray(truth)
    return float(np.sqrt(((np.asarray(result) - truth) ** 2).mean() / (truth**2).mean()))


def test_a_real_scene_comes_nearer_to_what_it_was() -> None:
    """Blur and noise are partly undone, up to the edges, and total variation helps with the noise."""
    truth, frames, psf = real_scene()

    plain = richardson_lucy(frames, psf=psf, iterations=6, background=20)
    stopped = richardson_lucy(frames, psf=psf, iterations=60, background=20, discrepancy=1.0)
    noisy = richardson_lucy(frames, psf=psf, iterations=40, background=20)
    flat = richardson_lucy(frames, psf=psf, iterations=40, background=20, regularisation=0.01)

    blurred = error(frames - 20.0, truth)
    assert error(plain, truth) < 0.8 * blurred
    assert error(stopped, truth) < 0.8 * blurred
    assert error(flat, truth) < 0.5 * error(noisy, truth)
    rim = error(plain[:5], truth[:5])
    assert rim < 0.9 * error(frames[:5] - 20.0, truth[:5])
    assert float(plain.sum()) == pytest.approx(float((frames - 20.0).sum()), rel=2e-3)


def test_fast_and_exact_are_as_near_as_is_said() -> None:
    """Float32 stays within 1e-4 of the largest value over 30 steps; float64 rounds the result."""
    _, frames, psf = real_scene()
    options: dict[str, Any] = {"psf": psf, "iterations": 30, "background": 20}

    double = richardson_lucy(frames.astype("f8"), **options)
    fast = richardson_lucy(frames, **options)
    exact = richardson_lucy(frames, **options, precision="exact")

    assert fast.dtype == exact.dtype == np.float32
    largest = float(double.max())
    assert float(abs(fast - double).max()) < 1e-4 * largest
    assert float(abs(exact - double).max()) < 1.2e-7 * largest


def test_it_stops_where_it_is_told_to(small: xr.DataArray, psf: xr.DataArray) -> None:
    """With a wide tolerance the steps end early, and without one they go on."""
    options: dict[str, Any] = {"psf": psf, "accelerate": False, "edge": "wrap"}
    by_steps = [richardson_lucy(small[:1], **options, iterations=n).values for n in range(1, 8)]
    changes = [
        np.sqrt(((after - before) ** 2).mean() / (before**2).mean())
        for before, after in pairwise(by_steps)
    ]
    assert changes[3] > changes[4]  # or no step would be the first below a limit between them

    limit = float(changes[3] + changes[4]) / 2
    stopped = richardson_lucy(small[:1], **options, iterations=7, tolerance=limit).values

    np.testing.assert_array_equal(stopped, by_steps[5])
    huge = richardson_lucy(small[:1], **options, iterations=7, discrepancy=1e9).values
    assert np.unique(huge).size == 1


def test_the_discrepancy_is_that_of_what_was_seen(rng: np.random.Generator) -> None:
    """However much lies around a frame, the model is as near to it, and one is photon noise."""
    model = rng.uniform(50, 90, (60, 70))
    observed = rng.poisson(model).astype(float)
    seen = np.ones_like(model)

    alone = discrepancy_of(observed, model, seen)
    around = [np.pad(each, ((0, 40), (0, 30)), constant_values=0) for each in (observed, seen)]
    padded = discrepancy_of(
        around[0], np.pad(model, ((0, 40), (0, 30)), constant_values=70), around[1]
    )

    assert float(alone) == pytest.approx(1, abs=0.1)
    assert float(padded) == pytest.approx(float(alone), rel=1e-12)


def test_what_a_frame_sees_next_to_nothing_of_is_taken_as_dark(rng: np.random.Generator) -> None:
    """Divided by how little of it is seen, noise there would be a bright rim."""
    spread = gaussian_psf(sigma=1.0).values
    seen = np.zeros((30, 30))
    seen[:12, :12] = 1
    sight = scipy.ndimage.correlate(seen, spread, mode="wrap")
    dim = (sight < 0.009) & (sight > 1e-6)
    assert dim.any()

    level, weight = starting_point(
        seen * rng.poisson(40, seen.shape), seen, make_blur(spread, seen.shape, seen)
    )

    assert 35 < float(level) < 45
    assert not np.asarray(weight)[dim].any()
    np.testing.assert_allclose(np.asarray(weight)[sight > 0.011], 1 / sight[sight > 0.011])


def test_no_value_is_negative_whatever_the_frame(
    rng: np.random.Generator, psf: xr.DataArray
) -> None:
    """Negative pixels count as dark; all zeros give zeros."""
    frames = xr.DataArray(rng.normal(0, 5, (1, 12, 13)), dims=("t", "y", "x"))

    for edge in ("weighted", "reflect", "wrap"):
        result = richardson_lucy(frames, psf=psf, edge=edge, regularisation=0.2)
        assert float(result.min()) >= 0
        assert float(richardson_lucy(frames * 0, psf=psf, edge=edge).max()) == 0


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_the_unit_does_not_matter(small: xr.DataArray, psf: xr.DataArray, factor: float) -> None:
    """Frames in any unit that float32 holds give the same in that unit, accelerated or not."""
    options: dict[str, Any] = {"psf": psf, "iterations": 8, "regularisation": 0.01}

    result = richardson_lucy((small * factor).astype("f4"), **options, background=5 * factor)

    expected = richardson_lucy(small, **options, background=5.0)
    np.testing.assert_allclose(result / np.float32(factor), expected, rtol=1e-4, atol=1e-3)


def test_a_nan_is_a_pixel_that_was_not_seen(small: xr.DataArray, psf: xr.DataArray) -> None:
    """With weighted edges a NaN is filled in; with others it takes the frame; none spread in t."""
    noisy = small.copy(deep=True)
    noisy[0, 4, 4] = np.nan

    filled = richardson_lucy(noisy, psf=psf, iterations=5)
    lost = richardson_lucy(noisy, psf=psf, iterations=5, edge="wrap")

    assert bool(np.isfinite(filled).all())
    assert lost.isnull().all(("y", "x")).values.tolist() == [True, False]
    np.testing.assert_array_equal(filled[1], richardson_lucy(small, psf=psf, iterations=5)[1])
    empty = richardson_lucy(small * np.nan, psf=psf, iterations=5)
    assert bool(empty.isnull().all())


def test_one_pixel_is_a_frame(psf: xr.DataArray) -> None:
    """A frame of one pixel, smaller than the point-spread function, is worked on."""
    pixel = xr.DataArray([[9]], dims=("y", "x"))

    assert richardson_lucy(pixel, psf=psf).shape == (1, 1)
    assert richardson_lucy(pixel, psf=psf, edge="reflect").values == pytest.approx(9)


@pytest.mark.parametrize("chunks", [{"t": 1}, {"t": 1, "y": 3, "x": (4, 5)}])
def test_chunks_give_what_the_whole_gives(
    small: xr.DataArray, psf: xr.DataArray, chunks: dict[str, Any]
) -> None:
    """Lazy frames, cut anywhere, with a lazy point-spread function too, give the eager bits."""
    eager = richardson_lucy(small, psf=psf)

    for given in (psf, psf.chunk({"y": 2})):
        lazy = richardson_lucy(small.chunk(chunks), psf=given)
        np.testing.assert_array_equal(lazy.compute(), eager)
    half = richardson_lucy(small, psf=psf.chunk({"y": 2}))
    np.testing.assert_array_equal(half.compute(), eager)


@pytest.mark.parametrize(("overlap", "tolerance"), [(2, 1e-3), (4, 1e-5)])
def test_chunks_that_overlap_are_as_near_as_is_said(overlap: int, tolerance: float) -> None:
    """Cut through a real scene, with radii of the neighbours around each chunk, the whole is met."""
    _, scene, psf = real_scene()
    frames = scene.astype("f8").expand_dims(c=2).transpose("y", "c", "x")
    options: dict[str, Any] = {"psf": psf, "iterations": 12, "accelerate": False}
    whole = richardson_lucy(frames, **options, background=20, overlap=overlap)
    cut = frames.chunk({"c": 1, "y": 40, "x": (45, 55)})

    result = richardson_lucy(cut, **options, background=20, overlap=overlap)

    assert result.dims == frames.dims
    worst = float(abs(result - whole).max() / whole.max())
    assert 0 < worst < tolerance


def test_more_overlap_than_there_is_frame_is_the_whole(
    small: xr.DataArray, psf: xr.DataArray
) -> None:
    """Where the radii asked for reach beyond the frame, its chunks are merged."""
    options: dict[str, Any] = {"psf": psf, "accelerate": False, "overlap": 9}

    result = richardson_lucy(small.chunk({"t": 1, "y": 3, "x": 4}), **options)

    np.testing.assert_array_equal(result.compute(), richardson_lucy(small, **options))


@pytest.mark.parametrize("edge", ["weighted", "reflect", "wrap"])
@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, edge: str, dtype: str
) -> None:
    """The block function gives on any device what NumPy gives in float64."""
    counts = rng.poisson(50, (2, 9, 12)).astype(dtype)
    psf = gaussian_psf(sigma=1, truncate=2).values
    steps = Steps(
        iterations=5,
        accelerate=True,
        regularisation=0.02,
        background=3.0,
        tolerance=1e-9,
        discrepancy=1e-9,
        edge=edge,
    )

    result = xp.host(restored(xp.array(counts), psf, steps=steps, exact=False))

    expected = restored(counts.astype(np.float64), psf, steps=steps, exact=False)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)
    assert result.dtype == (np.float64 if dtype == "float64" else np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda psf: 2 * psf, "psf adds up to 2, but must add up to 1"),
        (lambda psf: psf - 0.06, "psf has the value -0.0"),
        (lambda psf: psf * np.nan, "psf has the value nan"),
        (lambda psf: psf.rename(y="z"), "'y' is needed"),
        (lambda psf: psf.expand_dims(z=1), "must have \\('y', 'x'\\) alone"),
        (lambda psf: psf.astype(complex), "psf is of dtype complex128"),
        (lambda psf: psf.values, "psf is a ndarray"),
        (lambda psf: psf[:0], "psf is empty"),
    ],
)
def test_what_is_no_point_spread_function_is_refused(
    small: xr.DataArray, psf: xr.DataArray, change: Any, message: str
) -> None:
    """A function that is negative, not normalised or not of the dims is named, with the remedy."""
    with pytest.raises(OperationError, match=message):
        richardson_lucy(small, psf=change(psf))


def test_a_lazy_point_spread_function_is_refused_when_it_is_there(
    small: xr.DataArray, psf: xr.DataArray
) -> None:
    """What a Dask-backed one is worth is known, and said, when it is computed."""
    result = richardson_lucy(small, psf=2 * psf.chunk())

    with pytest.raises(OperationError, match="psf adds up to 2"):
        result.compute()
    with pytest.raises(OperationError, match=r"use psf\.compute\(\)"):
        richardson_lucy(small, psf=psf.chunk(), accelerate=False, overlap=2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"iterations": 0}, "iterations is 0"),
        ({"accelerate": "yes"}, "accelerate is 'yes'"),
        ({"regularisation": 0.25}, "regularisation is 0.25, but must be below 1 / 4"),
        ({"regularisation": -1}, "regularisation is -1"),
        ({"background": -1}, "background is -1"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"discrepancy": np.inf}, "discrepancy is inf"),
        ({"edge": "zero"}, "edge is 'zero'"),
        ({"precision": "balanced"}, "precision is 'balanced', but must be one of 'fast', 'exact'"),
        ({"overlap": 2}, "overlap is 2, but accelerate, regularisation"),
        ({"overlap": 2, "accelerate": False, "edge": "reflect"}, "overlap is 2"),
        ({"overlap": 0, "accelerate": False}, "overlap is 0"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("y",)}, "must have \\('y',\\) alone"),
    ],
)
def test_bad_parameters_are_named(
    small: xr.DataArray, psf: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message):
        richardson_lucy(small, psf=psf, **parameters)


def test_what_wraps_needs_a_frame_as_large_as_the_blur(small: xr.DataArray) -> None:
    """A periodic frame smaller than the point-spread function would overlap itself."""
    with pytest.raises(OperationError, match="edge='wrap' with this psf needs at least 17"):
        richardson_lucy(small, psf=gaussian_psf(sigma=2), edge="wrap")
