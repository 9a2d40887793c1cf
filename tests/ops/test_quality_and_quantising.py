"""Fewer frames and fewer values: `bin_frames`, `select_frames`, `quantise_to_noise`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from forebay.ops import (
    Companding,
    OperationError,
    bin_frames,
    compand,
    drop_low_bits,
    expand,
    measure_reduction,
    quantise_to_noise,
    saturated_fraction,
    select_frames,
    sharpness,
)
from forebay.ops.reduction.quality import frame_sharpness
from forebay.ops.reduction.quantising import fewest_values

DATA = Path(__file__).parents[2] / "examples" / "data"
CAMERA = Companding(gain=0.46, read_noise=1.6, offset=100, maximum=4095)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_frames_are_binned_as_numpy_adds_them(rng: np.random.Generator, dtype: str) -> None:
    """Sums are exact, means the nearest, halves the even one; floats as numpy has them."""
    values = rng.integers(0, 250, (6, 4, 5)).astype(dtype)
    frames = xr.DataArray(values, dims=("t", "y", "x"), coords={"t": np.arange(6) / 4})

    for factor in (1, 2, 3, 6):
        groups = values.astype(float).reshape(-1, factor, 4, 5)
        mean = groups.mean(axis=1)
        for given_frames in (frames, frames.chunk({"t": 4, "x": 2})):
            total = bin_frames(given_frames, factor=factor, method="sum")
            found = bin_frames(given_frames, factor=factor)
            np.testing.assert_array_equal(total, groups.sum(axis=1))
            expected = mean if "float" in dtype else np.rint(mean)
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert found.dtype == dtype
        times = (np.arange(6) / 4).reshape(-1, factor).mean(axis=1)
        np.testing.assert_array_equal(found.t, times)
    assert bin_frames(frames.transpose("y", "t", "x"), factor=3).shape == (4, 2, 5)
    if dtype == "uint8":
        assert bin_frames(frames, factor=2, method="sum").dtype == np.uint16
        assert bin_frames(frames, factor=6, method="sum", dtype="uint8").max() == 255


def test_sharpness_is_scipys_and_falls_with_blur(rng: np.random.Generator) -> None:
    """Both measures are those of scipy's Laplacian and Sobel filters, and fall as frames blur."""
    scene = rng.normal(100, 20, (40, 50))
    values = np.stack([scipy.ndimage.gaussian_filter(scene, sigma) for sigma in (0, 1, 2)])
    frames = xr.DataArray(values, dims=("t", "y", "x"))

    curved, steep = sharpness(frames), sharpness(frames, method="gradient")

    for index, frame in enumerate(values):
        laplacian = scipy.ndimage.laplace(frame, mode="nearest")
        sobel = [scipy.ndimage.sobel(frame, axis, mode="nearest") for axis in (0, 1)]
        assert float(curved[index]) == pytest.approx(laplacian.var(), rel=1e-9)
        assert float(steep[index]) == pytest.approx(
            (sobel[0] ** 2 + sobel[1] ** 2).mean(), rel=1e-9
        )
    for measure in (curved, steep):
        assert (np.diff(measure) < 0).all()
    gap = frames.copy()
    gap[1, 3, 3] = np.nan
    assert np.isnan(sharpness(gap).values).tolist() == [False, True, False]


@pytest.mark.parametrize("method", ["laplacian", "gradient"])
def test_sharpness_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = rng.integers(0, 250, (2, 11, 12), dtype=np.uint8)

    found = xp.host(frame_sharpness(xp.array(values), method=method))

    np.testing.assert_allclose(found, frame_sharpness(values, method=method))


def test_good_frames_are_kept_as_they_are(frames: xr.DataArray) -> None:
    """Frames are chosen by measures of their own; pixels, coordinates and the rest stay."""
    frames[2] = 65_535
    frames[4] = 100

    keep = (saturated_fraction(frames) < 0.5) & (sharpness(frames) > 0)
    kept = select_frames(frames, keep)
    lazy = select_frames(frames.chunk({"t": 3}), keep)

    assert kept.frame_id.values.tolist() == [100, 101, 103, 105, 106]
    xr.testing.assert_identical(kept, frames[[0, 1, 3, 5, 6]])
    xr.testing.assert_identical(lazy.compute(), kept)
    assert saturated_fraction(frames, level=100).values[[2, 4]].tolist() == [1, 1]
    assert saturated_fraction(frames.astype("float32").where(False), level=1).sum() == 0


@settings(deadline=None, max_examples=15)
@given(
    gain=st.floats(0.01, 50),
    read_noise=st.floats(0.01, 50),
    offset=st.floats(0, 500),
    max_error=st.floats(0.01, 20),
)
def test_no_pixel_changes_by_more_than_its_part_of_the_noise(
    gain: float, read_noise: float, offset: float, max_error: float
) -> None:
    """Whatever the camera, each count that there is keeps the bound, and their order."""
    camera = Companding(gain=gain, read_noise=read_noise, offset=offset)
    counts = np.arange(65_536, dtype=np.uint16)[None]

    found = quantise_to_noise(
        xr.DataArray(counts, dims=("y", "x")), camera, max_error=max_error
    ).values

    change = np.abs(found.astype(float) - counts)
    assert (change <= max_error * camera.noise(counts)).all()
    assert (np.diff(found.astype(int)) >= 0).all()


def fewest(counts: npt.NDArray[Any], reach: npt.NDArray[Any]) -> int:
    """Return the least number of whole values that reach all counts, by trying all sets."""
    within = [set(np.flatnonzero(abs(counts - value) <= reach)) for value in range(len(counts))]
    best: dict[frozenset[int], int] = {}

    def left(missing: frozenset[int]) -> int:
        if not missing:
            return 0
        if missing not in best:
            lowest = min(missing)
            best[missing] = 1 + min(left(missing - each) for each in within if lowest in each)
        return best[missing]

    return left(frozenset(range(len(counts))))


def test_no_fewer_values_would_do(rng: np.random.Generator) -> None:
    """Of some small ranges of counts, no set of values is smaller and reaches all."""
    for slope in (0.3, 1.0, 2.5):
        counts = np.arange(24)
        reach = slope * np.sqrt(counts + rng.uniform(0.1, 3))

        assert np.unique(fewest_values(counts, reach)).size == fewest(counts, reach)


def test_noise_grows_by_what_is_stated_and_nothing_is_shifted(rng: np.random.Generator) -> None:
    """At half the noise the variance grows by a twelfth, 4 % of noise, and the mean stays."""
    light = rng.poisson(2000, (400, 400)) + rng.normal(0, 1.6, (400, 400))
    counts = np.rint(light / 0.46 + 100).astype(np.uint16)
    frames = xr.DataArray(counts, dims=("y", "x"))

    found = quantise_to_noise(frames, CAMERA, max_error=0.5).values.astype(float)

    assert found.std() / counts.std() == pytest.approx(1.04, abs=0.01)
    assert abs(found.mean() - counts.mean()) < 0.02 * counts.std()


def test_a_report_counts_bytes_and_errors(rng: np.random.Generator) -> None:
    """Bytes in and out and the largest error are those of the arrays, eager or lazy."""
    counts = (rng.poisson(400, (4, 64, 64)) + 100).astype(np.uint16)
    frames = xr.DataArray(counts, dims=("t", "y", "x"))
    reduced = quantise_to_noise(frames, CAMERA, max_error=0.8)

    eager = measure_reduction(frames, reduced, camera=CAMERA)
    lazy = measure_reduction(frames.chunk({"t": 1}), reduced.chunk({"t": 2}), camera=CAMERA)

    change = abs(reduced.values.astype(float) - counts)
    assert eager.bytes_in == eager.bytes_out == counts.nbytes
    assert eager.max_error == lazy.max_error == change.max() > 0
    assert eager.max_error_in_noise == pytest.approx((change / CAMERA.noise(counts)).max())
    assert lazy.max_error_in_noise == eager.max_error_in_noise
    assert eager.max_error_in_noise is not None
    assert eager.max_error_in_noise <= 0.8
    assert eager.ratio > 2
    assert lazy.ratio > 2
    codes = compand(frames, CAMERA)
    companded = measure_reduction(frames, codes, restored=expand(codes, CAMERA), camera=CAMERA)
    assert companded.bytes_out == counts.nbytes // 2
    assert companded.max_error_in_noise is not None
    assert companded.max_error_in_noise < 1
    low = drop_low_bits(frames, count=4)
    for name in ("blosc-zstd", "blosc-lz4"):
        dropped = measure_reduction(frames, low, compression=name)
        assert dropped.max_error == 8
        assert dropped.max_error_in_noise is None
        assert dropped.ratio > 1.3
    binned = measure_reduction(frames, bin_frames(frames, factor=2), camera=CAMERA)
    assert (binned.bytes_out, binned.max_error) == (counts.nbytes // 2, None)
    gap = frames.astype("float32").where(frames > 0)
    assert measure_reduction(gap, gap.where(gap.t > 0)).max_error == np.inf
    assert measure_reduction(gap, gap).max_error == 0


def test_real_frames_take_less_space() -> None:
    """Frames of a microscope shrink by a third more at half their noise, within the bound."""
    files = sorted((DATA / "bulk_water").glob("*.png"))[:2]
    frames = xr.DataArray(
        np.stack([np.asarray(Image.open(file)) for file in files]), dims=("t", "y", "x")
    )
    camera = Companding(gain=3.0, read_noise=3.0, maximum=255)

    found = measure_reduction(frames, quantise_to_noise(frames, camera), camera=camera)

    assert found.max_error_in_noise is not None
    assert 0.3 < found.max_error_in_noise <= 0.5
    assert found.ratio > 1.3


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda f: bin_frames(f, factor=2), "frames has 7 frames along 't', which is no multiple"),
        (lambda f: bin_frames(f, factor=0), "factor is 0"),
        (lambda f: bin_frames(f, factor=2**21), "more than 1048576 frames"),
        (lambda f: bin_frames(f, factor=7, method="max"), "method is 'max'"),  # type: ignore[arg-type]
        (lambda f: bin_frames(f, factor=7, dim="z"), "'z' is needed"),
        (lambda f: sharpness(f, dims=("t", "y", "x")), "must name the two dimensions"),
        (lambda f: sharpness(f[:, :1]), "sharpness needs at least 2"),
        (lambda f: saturated_fraction(f.astype(float)), "give the level"),
        (lambda f: saturated_fraction(f, level=2.5), "level is 2.5"),
        (lambda f: select_frames(f, f.frame_id > 999), "keep is false for all frames"),
        (lambda f: select_frames(f, f.frame_id), "keep must be a one-dimensional"),
        (lambda f: select_frames(f, (f.frame_id > 102).chunk()), r"use keep\.compute"),
        (lambda f: select_frames(f, (f.frame_id > 102)[:3]), "keep has 3 values along 't'"),
        (lambda f: quantise_to_noise(f.astype("int32"), CAMERA), "frames is of dtype int32"),
        (lambda f: quantise_to_noise(f, CAMERA, max_error=0), "max_error is 0"),
        (lambda f: measure_reduction(f, f, compression="gzip"), "compression is 'gzip'"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_reduced_is_refused(
    frames: xr.DataArray, operation: Any, message: str
) -> None:
    """A dtype or a parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        operation(frames)
