"""Thresholds: `otsu_threshold`, `triangle_threshold`, `local_threshold`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage.filters
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, local_threshold, otsu_threshold, triangle_threshold
from forebay.ops.detection import local
from forebay.ops.detection.local import local_average

DATA = Path(__file__).parents[2] / "examples" / "data"
threshold_local: Any = skimage.filters.threshold_local
GLOBAL = {
    "otsu": (otsu_threshold, skimage.filters.threshold_otsu),
    "triangle": (triangle_threshold, skimage.filters.threshold_triangle),
}
each = pytest.mark.parametrize(("ours", "theirs"), GLOBAL.values(), ids=GLOBAL.keys())


@pytest.fixture(scope="module")
def spheres() -> xr.DataArray:
    """Give two real frames, dark spheres on a bright ground."""
    files = sorted((DATA / "bulk_water").glob("*.png"))[:2]
    return xr.DataArray(
        np.stack([np.asarray(Image.open(file)) for file in files]), dims=("t", "y", "x")
    )


@each
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_integers_have_scikit_images_threshold(
    ours: Any, theirs: Any, rng: np.random.Generator, dtype: str
) -> None:
    """With a bin for each value the thresholds are the same numbers."""
    bright = rng.random((3, 40, 50)) < 0.2
    values = np.where(bright, rng.normal(90, 9, bright.shape), rng.normal(30, 5, bright.shape))
    values = values.clip(0, 120).astype(dtype) - (
        np.dtype(dtype).type(60) if dtype == "int16" else 0
    )
    values = values.astype(dtype)

    found = ours(xr.DataArray(values, dims=("t", "y", "x")))

    assert found.dims == ("t",)
    assert found.values.tolist() == [theirs(frame) for frame in values]


@each
def test_floats_have_scikit_images_threshold(
    ours: Any, theirs: Any, rng: np.random.Generator
) -> None:
    """In 256 bins, or in as many as are asked for, thresholds agree to 1e-12."""
    values = rng.gamma(2.0, 3.0, (3, 40, 50))
    frames = xr.DataArray(values, dims=("t", "y", "x"))

    np.testing.assert_allclose(ours(frames), [theirs(frame) for frame in values], rtol=1e-12)
    np.testing.assert_allclose(
        ours(frames, bins=37), [theirs(frame, nbins=37) for frame in values], rtol=1e-12
    )
    mirrored = [theirs(-frame) for frame in values]
    np.testing.assert_allclose(ours(-frames), mirrored, rtol=1e-12)


@each
def test_real_frames_have_scikit_images_threshold(
    ours: Any, theirs: Any, spheres: xr.DataArray
) -> None:
    """On frames of a microscope the thresholds are the same numbers."""
    assert ours(spheres).values.tolist() == [theirs(frame) for frame in spheres.values]


@each
def test_a_frame_of_one_value_has_this_threshold(ours: Any, theirs: Any) -> None:
    """There is nothing to part; a single pixel neither."""
    for dtype in ("uint8", "int16", "int32", "float32"):
        flat = xr.DataArray(np.full((2, 3, 4), 7, dtype), dims=("t", "y", "x"))
        assert ours(flat).values.tolist() == [7, 7]
        assert ours(flat[:1, :1, :1]).values.tolist() == [7]


@each
def test_a_gap_spoils_its_own_frame_only(ours: Any, theirs: Any, rng: np.random.Generator) -> None:
    """A NaN or infinite pixel makes the threshold of its frame NaN."""
    values = rng.gamma(2.0, 3.0, (4, 9, 9))
    values[1, 3, 3], values[2, 0, 0] = np.nan, np.inf
    values[3] = np.nan

    found = ours(xr.DataArray(values, dims=("t", "y", "x"))).values

    assert np.isnan(found).tolist() == [False, True, True, True]
    assert found[0] == pytest.approx(theirs(values[0]))


@each
def test_many_frames_are_worked_on_in_groups(
    ours: Any, theirs: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames put together in small groups have the thresholds that they have alone."""
    monkeypatch.setattr("forebay.ops.detection.thresholds.GROUP_VALUES", 200)
    values = rng.integers(0, 99, (2, 5, 9, 9), dtype=np.uint8)

    found = ours(xr.DataArray(values, dims=("c", "t", "y", "x")))

    expected = [[theirs(frame) for frame in stack] for stack in values]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["gaussian", "mean", "median"])
def test_local_thresholds_are_scikit_images(
    method: Any, rng: np.random.Generator, spheres: xr.DataArray
) -> None:
    """Float64 frames give scikit-image's values to 1e-10, real frames theirs to 1e-5 of 255."""
    values = rng.normal(100, 20, (2, 20, 31))
    options: dict[str, Any] = {"method": method, "offset": 3, "mode": "nearest"}

    found = local_threshold(
        xr.DataArray(values, dims=("t", "y", "x")), size=7, method=method, offset=3
    )
    real = local_threshold(spheres[:, :60, :80], size=15, method=method, offset=3)

    expected = [threshold_local(frame, 7, **options) for frame in values]
    np.testing.assert_allclose(found, expected, atol=1e-10)
    part = spheres.values[:, :60, :80].astype(float)
    expected = [threshold_local(frame, 15, **options) for frame in part]
    np.testing.assert_allclose(real, expected, atol=2.55e-3)


@pytest.mark.parametrize("method", ["gaussian", "mean", "median"])
def test_local_thresholds_are_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block function gives on any device what it gives in NumPy."""
    values = rng.integers(0, 250, (2, 11, 12), dtype=np.uint8)
    options: dict[str, Any] = {"size": 5, "method": method, "offset": 1.5, "axes": (1, 2)}

    found = xp.host(local_average(xp.array(values), **options))

    np.testing.assert_allclose(found, local.local_average(values, **options), rtol=1e-6)


def test_chunks_do_not_show_in_a_local_threshold(frames: xr.DataArray) -> None:
    """Seams within frames change no bit."""
    for method in ("gaussian", "mean", "median"):
        options: dict[str, Any] = {"size": 9, "method": method}
        cut = local_threshold(frames.chunk({"t": 3, "y": 11, "x": 13}), **options)
        np.testing.assert_array_equal(cut.compute(), local_threshold(frames, **options))


def test_a_nan_stays_in_its_neighbourhood(frames: xr.DataArray) -> None:
    """Only pixels whose neighbourhood holds the NaN have no threshold."""
    gap = frames.astype("float32")
    gap[0, 10, 20] = np.nan

    unknown: npt.NDArray[Any] = np.isnan(local_threshold(gap, size=5, method="mean").values)

    assert unknown.sum() == 25
    assert unknown[0, 8:13, 18:23].all()


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda frames: otsu_threshold(frames, bins=1), "bins is 1, but must be a whole number"),
        (lambda frames: otsu_threshold(frames, bins=2**30), "but must be at most 1048576"),
        (lambda frames: triangle_threshold(frames, dims=()), "dims is empty"),
        (lambda frames: local_threshold(frames, size=4), "size is 4, but must be an odd"),
        (lambda frames: local_threshold(frames, size=31), "but size=31 needs at least 31"),
        (lambda frames: local_threshold(frames, size=3, method="mode"), "method is 'mode'"),  # type: ignore[arg-type]
        (lambda frames: local_threshold(frames, size=3, offset=np.nan), "offset is nan"),
    ],
)
def test_what_cannot_be_thresholded_is_refused(
    frames: xr.DataArray, operation: Any, message: str
) -> None:
    """A parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        operation(frames)
