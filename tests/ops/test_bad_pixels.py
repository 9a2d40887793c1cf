"""Darks and bad pixels: `subtract_dark`, `bad_pixels`, `replace_bad_pixels`."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops import OperationError, bad_pixels, replace_bad_pixels, subtract_dark
from forebay.ops.correction.bad_pixels import median_of_known, outliers, repaired


@pytest.fixture
def darks(rng: np.random.Generator) -> xr.DataArray:
    """Give thirty dark frames with a hot, a dead, a noisy, a quiet, a NaN and an infinite pixel."""
    values = rng.normal(100, 3, (30, 24, 32))
    values[:, 5, 7] += 40
    values[:, 11, 2] -= 60
    values[:, 20, 30] += rng.normal(0, 30, 30)
    values[:, 0, 0] = 100
    values[4, 13, 13] = np.nan
    values[9, 17, 21] = np.inf
    return xr.DataArray(values, dims=("t", "y", "x"), name="intensity", attrs={"units": "count"})


BAD = {(0, 0), (5, 7), (11, 2), (13, 13), (17, 21), (20, 30)}


def test_a_dark_is_subtracted_as_it_is(frames: xr.DataArray) -> None:
    """Without exposures it is the difference, signed and exact."""
    dark = frames.isel(t=0, drop=True)

    result = subtract_dark(frames, dark)

    np.testing.assert_array_equal(result, frames.values.astype(float) - dark.values)


@pytest.mark.parametrize("lazy", [False, True])
def test_dark_current_grows_with_the_exposure_and_the_bias_does_not(
    frames: xr.DataArray, rng: np.random.Generator, lazy: bool
) -> None:
    """Frames of any exposure are what the light gave, once bias and dark current are out."""
    plain = frames.astype("float64")
    bias = plain.isel(t=0, drop=True) * 0 + 100
    current = bias.copy(data=rng.uniform(0, 5, bias.shape))
    exposure = xr.DataArray(np.arange(1.0, 8), dims="t", coords={"t": frames.t})
    given_frames = (plain + bias + current * exposure).transpose(*plain.dims)
    if lazy:
        given_frames = given_frames.chunk({"t": 2, "y": 11})

    result = subtract_dark(
        given_frames, bias + 3 * current, bias=bias, exposure=exposure, dark_exposure=3
    )

    assert result.dims == plain.dims
    np.testing.assert_allclose(result, plain, atol=1e-9)


def test_a_dark_without_bias_is_scaled_whole(frames: xr.DataArray) -> None:
    """One number for all frames scales what is given."""
    dark = frames.isel(t=0, drop=True)

    result = subtract_dark(frames, dark, exposure=3, dark_exposure=2)

    np.testing.assert_allclose(result, frames.values - 1.5 * dark.values)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"exposure": 1}, "exposure is 1 and dark_exposure None"),
        ({"dark_exposure": 1}, "give both, or neither"),
        ({"exposure": 0, "dark_exposure": 1}, "exposure is 0"),
        ({"exposure": 1, "dark_exposure": -1}, "dark_exposure is -1"),
        ({"bias": True}, "bias is given without exposures"),
    ],
)
def test_darks_that_make_no_sense_are_refused(
    frames: xr.DataArray, parameters: dict[str, Any], message: str
) -> None:
    """Exposures go together and are positive; a bias goes with them."""
    dark = frames.isel(t=0, drop=True)
    if "bias" in parameters:
        parameters = {"bias": dark}

    with pytest.raises(OperationError, match=message):
        subtract_dark(frames, dark, **parameters)


@pytest.mark.parametrize("lazy", [False, True])
def test_what_stands_out_is_bad(darks: xr.DataArray, lazy: bool) -> None:
    """Too bright, too dark, too noisy, too quiet, NaN and infinite pixels are found, and no others."""
    mask = bad_pixels(darks.chunk({"t": 7, "y": 10}) if lazy else darks)

    assert (mask.chunks is not None) == lazy
    assert mask.dtype == bool
    assert mask.dims == ("y", "x")
    assert mask.attrs == {}
    assert mask.name == "intensity"
    assert {tuple(place) for place in np.argwhere(mask.values)} == BAD


def test_a_window_allows_for_uneven_light(darks: xr.DataArray) -> None:
    """On a slope far larger than the defects, they are found beside their neighbours only."""
    x = xr.DataArray(np.arange(32) * 20.0, dims="x")
    sloping = (darks + x).transpose(*darks.dims)

    alone = bad_pixels(sloping)
    beside = bad_pixels(sloping, window=5)

    assert not bool(alone[5, 7])
    assert {tuple(place) for place in np.argwhere(beside.values)} >= BAD
    assert int(beside.sum()) < 12


def test_one_frame_is_judged_by_its_values(darks: xr.DataArray) -> None:
    """With a single frame there is no noise to look at."""
    mask = bad_pixels(darks[:1])

    assert bool(mask[5, 7])
    assert bool(mask[11, 2])
    assert not bool(mask[0, 0])


def test_outliers_are_those_of_the_published_score(rng: np.random.Generator) -> None:
    """The score is the distance from the median over 1.4826 times the median distance."""
    values = rng.standard_t(2, (20, 20))
    distance = abs(values - np.median(values))

    found = outliers(values, threshold=3, ndim=2, window=None)

    np.testing.assert_array_equal(found, distance > 3 * 1.482602218505602 * np.median(distance))


def written_out_repair(
    frame: npt.NDArray[Any], bad: npt.NDArray[Any], reach: int
) -> npt.NDArray[Any]:
    """Return the frame with the median of good neighbours, pixel by pixel."""
    known = np.where(bad, np.nan, frame)
    result = frame.copy()
    for y, x in np.argwhere(bad):
        around = known[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        good = around[~np.isnan(around)]
        result[y, x] = np.median(good) if len(good) else np.nan
    return result


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("chunks", [None, {"t": 2, "y": 7, "x": (20, 21)}])
def test_bad_pixels_become_the_median_of_good_ones(
    frames: xr.DataArray, rng: np.random.Generator, size: int, chunks: Any
) -> None:
    """Alone, in clusters, on edges and in corners, with one mask for all frames."""
    mask = rng.random((30, 41)) < 0.2
    mask[0, 0] = mask[29, 40] = True
    mask[10:15, 10:15] = True
    bad = xr.DataArray(mask, dims=("y", "x"))
    noisy = frames.astype(float)
    noisy[3, 20, 20] = np.nan
    expected = np.stack([written_out_repair(f, mask, size // 2) for f in noisy.values])

    result = replace_bad_pixels(noisy.chunk(chunks) if chunks else noisy, bad, size=size)

    np.testing.assert_array_equal(result, expected)
    assert np.isnan(result[:, 12, 12]).all()


def test_each_frame_can_have_its_own_mask(frames: xr.DataArray, rng: np.random.Generator) -> None:
    """A mask with the dimensions of the frames, in another order and in chunks of its own."""
    mask = frames.copy(data=rng.random(frames.shape) < 0.1)
    expected = np.stack(
        [
            written_out_repair(f, m, 1)
            for f, m in zip(frames.values.astype(float), mask.values, strict=True)
        ]
    )

    result = replace_bad_pixels(
        frames.chunk({"t": 2}), mask.transpose("x", "y", "t").chunk({"t": 3})
    )

    np.testing.assert_allclose(result, expected)


def test_without_bad_pixels_nothing_changes(frames: xr.DataArray) -> None:
    """An empty mask gives the frames."""
    np.testing.assert_array_equal(
        replace_bad_pixels(frames, frames[0].drop_vars("t") > 9999), frames
    )


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block functions give on any device what they give in NumPy."""
    values = rng.normal(size=(2, 9, 11)).astype(np.float32)
    values[0, 3, 3] = np.nan
    bad = (rng.random((9, 11)) < 0.2).astype(np.float32)

    np.testing.assert_array_equal(
        xp.host(repaired(xp.array(values), xp.array(bad), reach=1)), repaired(values, bad, reach=1)
    )
    for window in (None, 3):
        parameters: dict[str, Any] = {"threshold": 2.0, "ndim": 2, "window": window}
        np.testing.assert_array_equal(
            xp.host(outliers(xp.array(values), **parameters)), outliers(values, **parameters)
        )


def test_many_bad_pixels_are_replaced_in_batches(
    frames: xr.DataArray, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, only some are gathered at once, and the result is the same."""
    bad = frames[0].drop_vars(["t", "frame_id"]).copy(data=rng.random((30, 41)) < 0.3)
    together = replace_bad_pixels(frames, bad)
    monkeypatch.setattr("forebay.ops.correction.bad_pixels.MOST_GATHERED", 8 * 50)

    np.testing.assert_array_equal(replace_bad_pixels(frames, bad), together)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_the_median_of_what_is_known_is_numpys(rng: np.random.Generator, count: int) -> None:
    """Unknown values are left out, and where all are it is NaN."""
    values = rng.normal(size=(50, count))
    known = rng.random((50, count)) < 0.6
    expected = [np.median(v[k]) if k.any() else np.nan for v, k in zip(values, known, strict=True)]

    np.testing.assert_allclose(median_of_known(values, known), expected)


def test_a_repaired_frame_is_near_what_was_there(rng: np.random.Generator) -> None:
    """In a smooth frame the replaced pixels are within the slope of what they were."""
    smooth = scipy.ndimage.gaussian_filter(rng.normal(0, 1000, (40, 40)), 4)
    frame = xr.DataArray(smooth, dims=("y", "x"))
    bad = xr.DataArray(rng.random((40, 40)) < 0.02, dims=("y", "x"))

    result = replace_bad_pixels(frame.where(~bad, 60_000), bad)

    steepest = max(abs(np.diff(smooth, axis=axis)).max() for axis in (0, 1))
    assert float(abs(result - frame).max()) < steepest


@pytest.mark.parametrize(
    ("function", "parameters", "message"),
    [
        (bad_pixels, {"threshold": 0}, "threshold is 0"),
        (bad_pixels, {"window": 4}, "window is 4"),
        (bad_pixels, {"window": 25}, "frames has 24 pixels along 'y'"),
        (bad_pixels, {"dim": "z"}, "'z' is needed"),
        (bad_pixels, {"dims": ()}, "dims is empty"),
        (replace_bad_pixels, {"size": 1}, "size is 1"),
        (replace_bad_pixels, {"dims": ("y",)}, "must name two dimensions"),
    ],
)
def test_bad_parameters_are_named(
    darks: xr.DataArray, function: Any, parameters: dict[str, Any], message: str
) -> None:
    """A parameter out of its range is named in the error, with its value."""
    masks = (darks[0] > 0,) if function is replace_bad_pixels else ()

    with pytest.raises(OperationError, match=message):
        function(darks, *masks, **parameters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame, "bad is of float64"),
        (lambda frame: 5, "bad is of int"),
        (lambda frame: (frame > 0).values, "bad is a ndarray"),
        (lambda frame: (frame > 0)[1:], "does not lie on the pixels"),
        (lambda frame: (frame > 0)[0], "bad has the dimensions .* but 'y' is needed"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    darks: xr.DataArray, change: Any, message: str
) -> None:
    """It has to be boolean, and on the pixels of the frames."""
    with pytest.raises(OperationError, match=message):
        replace_bad_pixels(darks, change(darks[0]))
