"""Operations by name, and as methods of a DataArray."""

import numpy as np
import pytest
import xarray as xr

import forebay.ops
from forebay.ops.catalogue import operations


@pytest.fixture
def frames() -> xr.DataArray:
    values = np.random.default_rng(3).poisson(40, (2, 24, 24))
    return xr.DataArray(values.astype("uint16"), dims=("t", "y", "x"), attrs={"units": "count"})


def test_every_public_operation_on_frames_is_there() -> None:
    """With a summary, and the folder that it lies in as its family."""
    found = operations()
    assert {"bandpass", "richardson_lucy", "label", "running_median"} <= set(found)
    assert not {"link", "match_points", "OperationError"} & set(found)
    assert found["bandpass"].family == "filters"
    assert all(each.summary.endswith(".") for each in found.values())


def test_parameters_are_by_keyword_with_the_frames_left_out() -> None:
    assert list(operations()["bandpass"].parameters) == [
        "noise_sigma", "background_sigma", "truncate", "dims"
    ]  # fmt: skip


def test_a_method_is_the_operation_itself(frames: xr.DataArray) -> None:
    found = frames.fb.bandpass(background_sigma=2)
    xr.testing.assert_identical(found, forebay.ops.bandpass(frames, background_sigma=2))
    assert frames.fb.bandpass.__doc__ == forebay.ops.bandpass.__doc__


def test_methods_follow_each_other_lazily(frames: xr.DataArray) -> None:
    lazy = frames.chunk({"t": 1}).fb.median_filter(size=3).fb.bandpass(background_sigma=2)
    eager = frames.fb.median_filter(size=3).fb.bandpass(background_sigma=2)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, eager, rtol=1e-6, atol=1e-6)


def test_names_are_offered_and_mistakes_are_told(frames: xr.DataArray) -> None:
    assert "bandpass" in dir(frames.fb)
    with pytest.raises(AttributeError, match="there is no operation 'bandpas'"):
        _ = frames.fb.bandpas
