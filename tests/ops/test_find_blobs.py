"""Blobs of any size: `find_blobs`."""

from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import skimage.feature
import xarray as xr
from PIL import Image

from forebay.ops import OperationError, find_blobs
from forebay.ops.detection.scale_space import BlobSearch, overlapping, responses, shared

DATA = Path(__file__).parents[2] / "examples" / "data"
blob_log: Any = skimage.feature.blob_log
blob_dog: Any = skimage.feature.blob_dog
SEARCH: dict[str, Any] = {"min_sigma": 1.5, "max_sigma": 6.0, "scales": 6, "threshold": 15.0}


def blobs(frames: xr.DataArray, **options: Any) -> pd.DataFrame:
    """Return the blobs of eager frames."""
    table = find_blobs(frames, **{**SEARCH, **options})
    assert isinstance(table, pd.DataFrame)
    return table


def scene(rng: np.random.Generator, count: int = 6) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return frames of Gaussian spots on a noisy ground, and where they are."""
    y, x = np.mgrid[:72, :96]
    frames, truth = [], []
    for t in range(2):
        values = rng.normal(100, 1, y.shape)
        for place in rng.permutation(6)[:count]:
            at_y, at_x = np.array([18, 18]) + 32 * np.array(divmod(int(place), 3))
            at_y, at_x = at_y + rng.uniform(-2, 2), at_x + rng.uniform(-2, 2)
            sigma = rng.uniform(2, 4.5)
            values += 80 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * sigma**2))
            truth.append((t, at_y, at_x, sigma))
        frames.append(values)
    return np.stack(frames), np.array(truth)


@pytest.mark.parametrize("method", ["log", "dog"])
def test_places_and_sizes_are_found(rng: np.random.Generator, method: Any) -> None:
    """Spots come back within 0.1 px; their size within a tenth (by differences, a fifth)."""
    values, truth = scene(rng)

    frames = xr.DataArray(values, dims=("t", "y", "x"), coords={"t": [0.5, 1.5]})

    found = blobs(frames, method=method)

    assert list(found.columns) == ["t", "y", "x", "sigma", "signal"]
    assert len(found) == len(truth) == 12
    for t, y, x, sigma in truth:
        near = found[(found.t == t + 0.5) & (np.hypot(found.y - y, found.x - x) < 2)]
        assert len(near) == 1
        np.testing.assert_allclose(near[["y", "x"]].to_numpy()[0], (y, x), atol=0.1)
        size = near.sigma.item() * (1 if method == "log" else np.sqrt(2 ** (2 / 5)))
        assert size == pytest.approx(sigma, rel=0.1 if method == "log" else 0.2)
        assert near.signal.item() == pytest.approx(40, rel=0.2)


@pytest.mark.parametrize("method", ["log", "dog"])
@pytest.mark.parametrize("real", [False, True])
def test_the_maxima_are_scikit_images(rng: np.random.Generator, method: str, real: bool) -> None:
    """Before any is left out, they are scikit-image's pixels and scales, but at edges."""
    if real:
        file = DATA / "bulk_water" / "bulk_water_000.png"
        frame = 255.0 - np.asarray(Image.open(file)).astype(float)[:160, :200]
    else:
        frame = scene(rng)[0][0]
    ratio = (6.0 / 1.5) ** (1 / 5)

    found = blobs(
        xr.DataArray(frame, dims=("y", "x")),
        method=method,
        overlap=1,
        threshold=4.0,
    )

    limits: dict[str, Any] = {"min_sigma": 1.5, "max_sigma": 6.0, "threshold": 4.0, "overlap": 1.0}
    if method == "log":
        theirs = blob_log(frame, num_sigma=6, log_scale=True, **limits)
    else:
        theirs = blob_dog(frame, sigma_ratio=ratio * (1 - 1e-12), **limits)
    ours = np.stack([found.y, found.x, np.log(found.sigma) / np.log(ratio)], axis=1)
    theirs = np.stack([*theirs[:, :2].T, np.log(theirs[:, 2]) / np.log(ratio)], axis=1)
    # The two treat edges differently.
    margin = 30 if real else 8
    for some, others in ((ours, theirs), (theirs, ours)):
        inside = some[edge_distance(some[:, 0], some[:, 1], frame.shape) > margin]
        assert len(inside) > 5
        apart = np.abs(inside[:, None] - others[None]).max(axis=-1)
        # Half a step is what refinement moves a maximum at most.
        assert apart.min(axis=1).max() <= 0.5 + 1e-6


def edge_distance(y: npt.NDArray[Any], x: npt.NDArray[Any], shape: Any) -> npt.NDArray[Any]:
    """Return how far points are from the nearest outermost pixel."""
    return np.min([y, shape[0] - 1 - y, x, shape[1] - 1 - x], axis=0)


def test_dark_blobs_are_bright_ones_turned(rng: np.random.Generator) -> None:
    """Frames turned upside down have the same blobs with `invert`."""
    values, _ = scene(rng)
    bright = blobs(xr.DataArray(values, dims=("t", "y", "x")))

    dark = blobs(xr.DataArray(-values, dims=("t", "y", "x")), invert=True)

    pd.testing.assert_frame_equal(dark, bright)


def test_lazily_it_is_the_same_table(rng: np.random.Generator) -> None:
    """Nothing is computed while the graph is built; then partitions add up to the eager table."""
    values, _ = scene(rng)
    frames = xr.DataArray(np.stack([values, values[::-1]]), dims=("c", "t", "y", "x"))
    eager = blobs(frames)

    def no_scheduler(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed while the graph was built")

    with dask.config.set(scheduler=no_scheduler):
        lazy: Any = find_blobs(frames.chunk({"c": 1, "t": 1, "y": 30, "x": 50}), **SEARCH)

    assert lazy.npartitions == 4
    pd.testing.assert_frame_equal(
        lazy.compute().reset_index(drop=True),
        eager,
    )


def test_integers_and_float32_are_near_float64(rng: np.random.Generator) -> None:
    """Every dtype finds the blobs that float64 does, to a hundredth of a pixel."""
    values = scene(rng)[0].round()
    expected = blobs(xr.DataArray(values, dims=("t", "y", "x")))

    for dtype in ("uint16", "float32"):
        found = blobs(xr.DataArray(values.astype(dtype), dims=("t", "y", "x")))
        np.testing.assert_allclose(found, expected, atol=1e-2)


def test_nothing_is_found_near_a_gap_nor_in_an_even_frame(rng: np.random.Generator) -> None:
    """A NaN hides the blobs within reach; a frame of NaN or of one value has none."""
    values, truth = scene(rng)
    t, y, x, _ = truth[0]
    values[int(t), int(y), int(x)] = np.nan

    found = blobs(xr.DataArray(values, dims=("t", "y", "x")))

    apart = np.max([abs(found.y - y), abs(found.x - x)], axis=0)
    assert apart[found.t == t].min() > 24
    assert (found.t == 1 - t).sum() == 6
    for value in (np.nan, 100.0):
        even = xr.DataArray(np.full((1, 40, 40), value), dims=("t", "y", "x"))
        assert len(blobs(even)) == 0


def test_the_common_area_of_disks_is_what_can_be_counted(rng: np.random.Generator) -> None:
    """Points thrown at the smaller of two disks lie in the other as often as the formula says."""
    points = rng.uniform(-1, 1, (200_000, 2))
    points = points[np.hypot(*points.T) < 1]
    for apart, other in ((0.2, 1.0), (1.0, 1.0), (1.5, 1.0), (1.2, 1.6), (0.3, 1.4), (5.0, 2.0)):
        counted = (np.hypot(points[:, 0] - apart, points[:, 1]) < other).mean()
        part = shared(np.array([apart]), np.array([1.0]), np.array([other]))
        assert part.item() == pytest.approx(counted, abs=0.005)


def test_the_strongest_of_a_chain_is_kept_and_what_it_leaves(rng: np.random.Generator) -> None:
    """One that is left out leaves nothing else out; other frames do not count."""
    y = np.zeros(4)
    x = np.array([0.0, 1.0, 2.0, 1.0])
    frame = np.array([0.0, 0, 0, 1])
    signal = np.array([5.0, 9.0, 7.0, 1.0])
    blobs = np.stack([frame, y, x, np.ones(4), signal])

    assert overlapping(blobs, 0.4).tolist() == [True, False, True, False]
    blobs[4] = [9.0, 5.0, 7.0, 1.0]
    assert overlapping(blobs, 0.4).tolist() == [False, True, False, False]
    assert not overlapping(blobs, 1.0).any()


@pytest.mark.parametrize("difference", [False, True])
def test_responses_are_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, difference: bool
) -> None:
    """The scale space has the same values on any device as in NumPy."""
    search = BlobSearch((1.0, 1.5), 1.5, 1.0, difference, 0.5, False)
    values = rng.normal(100, 9, (2, 20, 22))

    found = xp.host(responses(xp.array(values), search))

    assert found.shape == (2, 2, 20, 22)
    np.testing.assert_allclose(found, responses(values, search), atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_sigma": 0.1}, "min_sigma is 0.1"),
        ({"max_sigma": 1.5}, "max_sigma is 1.5"),
        ({"max_sigma": 40}, "needs at least 160"),
        ({"threshold": 0}, "threshold is 0"),
        ({"scales": 1}, "scales is 1"),
        ({"scales": 10**8}, "too near to each other"),
        ({"overlap": 2}, "overlap is 2"),
        ({"method": "doh"}, "method is 'doh'"),
        ({"invert": 3}, "invert is 3"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(
    frames: xr.DataArray, options: dict[str, Any], message: str
) -> None:
    """A parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        find_blobs(frames, **{**SEARCH, **options})
    with pytest.raises(OperationError, match="which is a column of the table"):
        blobs(frames.rename(t="sigma"))
