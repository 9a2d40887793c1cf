"""What regions are like: `region_properties`."""

from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import skimage.measure
import xarray as xr

from forebay.ops import OperationError, label, region_properties

regionprops: Any = skimage.measure.regionprops
CHUNKS: dict[str, Any] = {"t": 2, "y": (11, 3, 16), "x": (9, 14, 13)}


@pytest.fixture
def scene(rng: np.random.Generator) -> tuple[xr.DataArray, xr.DataArray]:
    """Give three labelled frames of smooth regions, and intensities."""
    smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(3, 30, 36)), (0.5, 1.5, 1.5))
    mask = xr.DataArray(smooth > 0.05, dims=("t", "y", "x"), coords={"t": [0.5, 1.0, 1.5]})
    light = xr.DataArray(rng.uniform(5, 90, mask.shape), dims=mask.dims, coords=mask.coords)
    return label(mask), light


def table(labels: xr.DataArray, light: xr.DataArray | None = None, **options: Any) -> pd.DataFrame:
    """Return the table of eager labels."""
    found = region_properties(labels, light, **options)
    assert isinstance(found, pd.DataFrame)
    return found


def test_it_has_scikit_images_numbers(scene: tuple[xr.DataArray, xr.DataArray]) -> None:
    """Areas, boxes, centroids, moments, axes, angles and intensities agree, frame by frame."""
    labels, light = scene

    found = table(labels, light)

    row = 0
    for t, numbers, values in zip(labels.t.values, labels.values, light.values, strict=True):
        for region in regionprops(numbers, values):
            ours = found.iloc[row]
            row += 1
            assert (ours.t, ours.label, ours.area) == (t, region.label, region.area)
            box = (ours.y_start, ours.x_start, ours.y_stop, ours.x_stop)
            assert box == region.bbox
            expected = {
                "y": region.centroid[0],
                "x": region.centroid[1],
                "y_weighted": region.centroid_weighted[0],
                "x_weighted": region.centroid_weighted[1],
                "moment_y_y": region.moments_central[2, 0] / region.area,
                "moment_y_x": region.moments_central[1, 1] / region.area,
                "moment_x_x": region.moments_central[0, 2] / region.area,
                "major_axis": region.axis_major_length,
                "minor_axis": region.axis_minor_length,
                "equivalent_diameter": region.equivalent_diameter_area,
                "mean": region.intensity_mean,
                "max": region.intensity_max,
                "mass": values[numbers == region.label].sum(),
            }
            for name, value in expected.items():
                # Axes are roots of moments, whose rounding is 1e-13.
                assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-5), name
            round_region = abs(region.axis_major_length - region.axis_minor_length) < 1e-6
            if not round_region:
                turn = ours.orientation - region.orientation
                assert np.sin(turn) == pytest.approx(0, abs=1e-6)
    assert row == len(found) > 30


def test_regions_across_seams_are_whole(scene: tuple[xr.DataArray, xr.DataArray]) -> None:
    """Chunks change no shape by a bit, weighted numbers by rounding; nothing is computed early."""
    labels, light = scene

    def no_scheduler(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed while the graph was built")

    with dask.config.set(scheduler=no_scheduler):
        lazy: Any = region_properties(labels.chunk(CHUNKS), light.chunk({"t": 1, "y": 20}))
        shapes: Any = region_properties(label((labels > 0).chunk(CHUNKS)))
    eager = table(labels, light)
    found = lazy.compute().reset_index(drop=True)

    assert lazy.npartitions == 3
    pd.testing.assert_frame_equal(found, eager, rtol=1e-12, atol=1e-12)
    pd.testing.assert_frame_equal(
        shapes.compute().reset_index(drop=True), table(labels), check_exact=True
    )
    assert shapes.npartitions == 2
    assert (eager.y_start < 11).sum() > 5


def test_it_measures_in_any_number_of_dimensions(scene: tuple[xr.DataArray, xr.DataArray]) -> None:
    """Regions through t, y and x, and along x alone, have scikit-image's numbers."""
    labels = label(scene[0] > 0, dims=("t", "y", "x"))

    found = table(labels, scene[1], dims=("t", "y", "x"))

    assert "orientation" not in found
    theirs = regionprops(labels.values, scene[1].values)
    assert len(found) == len(theirs) > 5
    rows: Any = found.itertuples()
    for ours, region in zip(rows, theirs, strict=True):
        assert (ours.label, ours.area) == (region.label, region.area)
        np.testing.assert_allclose((ours.t, ours.y, ours.x), region.centroid)
        box = (ours.t_start, ours.y_start, ours.x_start, ours.t_stop, ours.y_stop, ours.x_stop)
        assert box == region.bbox
        assert ours.equivalent_diameter == pytest.approx(region.equivalent_diameter_area)
        assert ours.y_weighted == pytest.approx(region.centroid_weighted[1])
    lines = table(label(scene[0] > 0, dims=("x",)), dims=("x",))
    assert lines.area.sum() == (scene[0] > 0).sum()
    np.testing.assert_allclose(lines.equivalent_diameter, lines.area)
    assert list(lines.columns[:4]) == ["t", "y", "label", "area"]


def test_labels_may_have_gaps_and_frames_may_have_none() -> None:
    """Rows are there for labels that occur; an empty frame has none, and an empty stack a table."""
    values = np.zeros((3, 4, 5), np.int16)
    values[0, 1, 1:3], values[2, 3, 4], values[2, 0, 0] = 7, 2, -1
    labels = xr.DataArray(values, dims=("t", "y", "x"))

    found = table(labels)

    assert found[["t", "label", "area"]].to_numpy().tolist() == [[0, 7, 2], [2, 2, 1]]
    assert found.major_axis.tolist() == [2, 0]
    none = table(labels * 0, labels)
    assert len(none) == 0
    lazy: Any = region_properties((labels * 0).chunk({"y": 2}), labels)
    pd.testing.assert_frame_equal(lazy.compute(), none)
    pd.testing.assert_frame_equal(lazy._meta.astype(none.dtypes), none, check_index_type=False)


def test_a_nan_spoils_its_own_region_only(scene: tuple[xr.DataArray, xr.DataArray]) -> None:
    """The weighted numbers of one region are NaN, in one array as in chunks; others stay."""
    labels, light = scene
    y, x = np.argwhere(labels.values[0] == 2)[0]
    light[0, y, x] = np.nan

    for given in (labels, labels.chunk(CHUNKS)):
        found: Any = region_properties(given, light)
        found = found.compute() if given.chunks else found
        spoilt = (found.t == 0.5) & (found.label == 2)
        for name in ("mass", "mean", "max", "y_weighted"):
            assert (found[name].isna() == spoilt).all()
    dark = table(labels, light * 0)
    assert dark[dark.label > 2].y_weighted.isna().all()


def test_it_works_in_each_library(
    chunk_library: Any, scene: tuple[xr.DataArray, xr.DataArray]
) -> None:
    """Labels in any library give the table that NumPy gives, on the host."""
    labels, light = (each.copy(data=chunk_library.array(each.values)) for each in scene)

    pd.testing.assert_frame_equal(table(labels, light), table(*scene), rtol=1e-12)


def test_what_cannot_be_measured_is_refused(scene: tuple[xr.DataArray, xr.DataArray]) -> None:
    """Labels that are none, intensities of other sizes, names that clash: named in the error."""
    labels, light = scene
    with pytest.raises(OperationError, match="labels is of dtype float64"):
        region_properties(light)
    with pytest.raises(OperationError, match="intensities has the sizes"):
        region_properties(labels, light[:2])
    with pytest.raises(OperationError, match="'area', which is a column"):
        region_properties(labels.rename(t="area"))
    with pytest.raises(OperationError, match="dims is empty"):
        region_properties(labels, dims=())
