"""How fine two images agree: `fourier_ring_correlation` and `ring_resolution`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, fourier_ring_correlation, ring_resolution
from forebay.ops.spectra.ring_correlation import first_fall, ring_correlation

WATER = Path(__file__).parents[2] / "examples" / "data" / "bulk_water" / "bulk_water_000.png"


def as_published(
    first: npt.NDArray[Any], second: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Return the correlation over rings of square images of even size, point by point."""
    size = first.shape[0]
    f, g = (np.fft.fft2(each - each.mean()) for each in (first, second))
    sums = np.zeros((size // 2 + 1, 3))
    counts = [0] * (size // 2 + 1)
    for row in range(size):
        for column in range(size):
            y, x = ((each + size // 2) % size - size // 2 for each in (row, column))
            ring = round(float(np.hypot(y, x)))
            if ring <= size // 2:
                here, there = f[row, column], g[row, column]
                sums[ring] += [(here * np.conj(there)).real, abs(here) ** 2, abs(there) ** 2]
                counts[ring] += 1
    with np.errstate(invalid="ignore"):
        return sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2]), counts


def test_it_is_the_published_sum(rng: np.random.Generator) -> None:
    """Ring for ring, without a window, it is the sum written out; and so are the counts."""
    first, second = rng.normal(size=(2, 24, 24))
    second = first + second

    result = fourier_ring_correlation(
        xr.DataArray(first, dims=("y", "x")), xr.DataArray(second, dims=("y", "x")), window=None
    )

    expected, counts = as_published(first, second)
    np.testing.assert_allclose(result[1:], expected[1:], atol=1e-12)
    assert bool(result[0].isnull())
    assert result.points.values.tolist() == counts
    np.testing.assert_allclose(result.freq_r, np.arange(13) / 24)


def test_even_and_odd_frames(frames: xr.DataArray) -> None:
    """Without another image, the means of the even and the odd frames are compared."""
    pairs = frames.isel(y=slice(0, 30), x=slice(0, 30)).astype("f8").drop_vars(["y", "x"])

    result = fourier_ring_correlation(pairs, window=None)

    expected, _ = as_published(pairs.values[::2].mean(axis=0), pairs.values[1::2].mean(axis=0))
    np.testing.assert_allclose(result[1:], expected[1:], atol=1e-12)
    assert result.dims == ("freq_r",)
    assert (result.name, result.attrs) == ("intensity", {"camera": "A7"})


def real_pairs(blur: float) -> xr.DataArray:
    """Return many exposures of a real scene, blurred, each with noise of its own; 0.1 µm pixels."""
    with Image.open(WATER) as image:
        scene = np.asarray(image.convert("L"))[100:228, 200:328].astype(float)
    seen = scipy.ndimage.gaussian_filter(scene, blur)
    values = seen + np.random.default_rng(2).normal(0, 1.5, (10, 128, 128))
    steps = {dim: (dim, 0.1 * np.arange(128), {"units": "µm"}) for dim in ("y", "x")}
    return xr.DataArray(values, dims=("t", "y", "x"), coords=steps)


@pytest.mark.parametrize("threshold", ["one_seventh", "half_bit", 0.3])
def test_a_blurred_scene_resolves_less(threshold: Any) -> None:
    """The more a real scene is blurred, the longer is the finest length; in micrometres."""
    lengths = [
        ring_resolution(fourier_ring_correlation(real_pairs(blur)), threshold=threshold)
        for blur in (1.0, 2.0, 4.0)
    ]

    assert [each.attrs["units"] for each in lengths] == ["µm"] * 3
    sharp, dull, duller = map(float, lengths)
    assert 0.2 < sharp < dull < duller < 6


def test_images_that_are_the_same_or_have_nothing_in_common(rng: np.random.Generator) -> None:
    """Equal images correlate by 1 in all rings and opposite ones by -1; noise by about 0."""
    noise = xr.DataArray(rng.normal(size=(2, 64, 64)), dims=("t", "y", "x"))

    same = fourier_ring_correlation(noise[0], 3 * noise[0] + 5)
    opposite = fourier_ring_correlation(noise[0], -noise[0])
    other = fourier_ring_correlation(noise[0], noise[1])

    np.testing.assert_allclose(same[1:], 1, atol=1e-9)
    np.testing.assert_allclose(opposite[1:], -1, atol=1e-9)
    assert float(abs(other[5:]).mean()) < 0.15
    assert bool(ring_resolution(same).isnull())


def test_the_resolution_is_where_a_line_crosses() -> None:
    """Between the rings on both sides of the threshold it is on a straight line."""
    values = [
        [np.nan, 0.9, 0.5, 0.3, 0.1],  # 0.3 → 0.1 crosses 0.2 half way
        [np.nan, 0.9, 0.1, 0.9, 0.1],  # the first fall counts
        [np.nan, 0.1, 0.9, 0.5, 0.1],  # below from the start
        [np.nan, 0.9, 0.9, 0.9, 0.9],  # never
        [np.nan, 0.9, np.nan, 0.5, 0.1],  # not known
    ]
    curve = xr.DataArray(values, dims=("t", "freq_r"), coords={"freq_r": 0.1 * np.arange(5)})

    result = ring_resolution(curve, threshold=0.2)

    np.testing.assert_allclose(
        result, [1 / 0.35, 1 / (0.1 + 0.1 * 0.7 / 0.8), np.nan, np.nan, np.nan]
    )
    assert result.attrs == {"units": "pixel"}
    lazy = ring_resolution(curve.chunk({"t": 2, "freq_r": 3}), threshold=0.2)
    np.testing.assert_array_equal(lazy.compute(), result)


def test_the_half_bit_curve_is_the_published_one() -> None:
    """A curve just above (0.2071 + 1.9102/√n) / (1.2071 + 0.9102/√n) passes, just below falls."""
    points = np.array([1, 8, 16, 30, 60])
    root = np.sqrt(points)
    level = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    signs = np.array([1, 1, 1, 1, -1])
    curve = xr.DataArray(
        level + 0.01 * signs,
        dims="freq_r",
        coords={"freq_r": 0.1 * np.arange(5), "points": ("freq_r", points)},
    )

    result = ring_resolution(curve, threshold="half_bit")

    assert float(result) == pytest.approx(1 / 0.35)
    with pytest.raises(OperationError, match="no coordinate 'points'"):
        ring_resolution(curve.drop_vars("points"), threshold="half_bit")


def test_leading_dimensions_and_chunks(frames: xr.DataArray) -> None:
    """Each frame is compared with its own partner; cut anywhere, the values are the eager ones."""
    other = (frames // 2).astype("u2")

    eager = fourier_ring_correlation(frames, other)
    lazy = fourier_ring_correlation(frames.chunk({"t": 2, "y": 13}), other.chunk({"t": 3, "x": 9}))

    np.testing.assert_array_equal(lazy.compute(), eager)
    assert eager.dims == ("t", "freq_r")
    assert eager.dtype == np.float32
    double = fourier_ring_correlation(frames.astype("f8"), other.astype("f8"))
    np.testing.assert_allclose(eager, double, atol=1e-4)
    assert eager.freq_r.attrs["units"] == "cycles per µm"


def test_a_nan_makes_its_own_frame_nan(frames: xr.DataArray) -> None:
    """A NaN pixel is in every ring of its frame, and in no other frame."""
    noisy = frames.astype("float32")
    noisy[3, 0, 0] = np.nan

    lost = fourier_ring_correlation(noisy, frames[0].drop_vars(["t", "frame_id"]))

    assert lost.isnull().all("freq_r").values.tolist() == [False] * 3 + [True] + [False] * 3


@pytest.mark.parametrize("window", [None, "hann"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, window: str | None, dtype: str
) -> None:
    """The block functions give on any device what NumPy gives in float64."""
    values = rng.integers(0, 250, (3, 8, 9)).astype(dtype)
    double = values.astype(np.float64)
    options: dict[str, Any] = {
        "first": tuple(np.fft.fftshift(np.fft.fftfreq(8))),
        "second": tuple(np.fft.fftshift(np.fft.fftfreq(9))),
        "window": window,
    }

    curve = ring_correlation(xp.array(values), xp.array(values[:1]), **options)

    expected = ring_correlation(double, double[:1], **options)
    np.testing.assert_allclose(xp.host(curve)[:, 1:], expected[:, 1:], atol=1e-4)
    assert xp.host(curve).dtype == (np.float64 if dtype == "float64" else np.float32)
    fall: dict[str, Any] = {"middles": [0, 0.1, 0.2, 0.3], "levels": [0.5] * 4}
    np.testing.assert_allclose(
        xp.host(first_fall(curve, **fall)),
        first_fall(expected, **fall),
        rtol=1e-3,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frames: fourier_ring_correlation(frames, frames[:, 1:]), "other does not lie on"),
        (lambda frames: fourier_ring_correlation(frames[:1]), "one frame along 't'"),
        (lambda frames: fourier_ring_correlation(frames, dim="c"), "'c' is needed"),
        (
            lambda frames: fourier_ring_correlation(frames, window="box"),  # type: ignore[arg-type]
            "window is 'box'",
        ),
        (lambda frames: fourier_ring_correlation(frames, dims=("y",)), "rings need two"),
        (lambda frames: fourier_ring_correlation(frames.drop_vars("x")), "rings need one unit"),
        (lambda frames: ring_resolution(frames), "'freq_r' is needed"),
        (
            lambda frames: ring_resolution(
                fourier_ring_correlation(frames),
                threshold="2sigma",  # type: ignore[arg-type]
            ),
            "threshold is '2sigma'",
        ),
        (
            lambda frames: ring_resolution(fourier_ring_correlation(frames), threshold=1),
            "threshold is 1, but must be below 1",
        ),
        (
            lambda frames: ring_resolution(fourier_ring_correlation(frames)[:2]),
            "a fall needs at least 3",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(frames: xr.DataArray, call: Any, message: str) -> None:
    """What does not fit is named in the error, with what is allowed."""
    with pytest.raises(OperationError, match=message):
        call(frames)
