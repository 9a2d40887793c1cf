"""Codes as close as the noise allows: `compand` and `expand`."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from forebay.ops import Companding, OperationError, compand, expand
from forebay.ops.pointwise.formulas import looked_up

CAMERA = Companding(gain=0.46, read_noise=1.6, offset=100, maximum=4095)

cameras = st.builds(
    Companding,
    gain=st.floats(0.01, 50),
    read_noise=st.floats(0.1, 50),
    offset=st.floats(0, 500),
    spacing=st.floats(0.1, 4),
    maximum=st.integers(1, 65_535),
)


def all_counts(maximum: int) -> xr.DataArray:
    """Return a frame with every value up to a maximum."""
    return xr.DataArray(np.arange(maximum + 1, dtype=np.uint16)[np.newaxis], dims=("y", "x"))


@given(cameras)
def test_a_pixel_comes_back_to_within_its_noise(camera: Companding) -> None:
    """Whatever the camera is like, each count comes back as near as the bound says."""
    frames = all_counts(camera.maximum)
    try:
        codes = compand(frames, camera, dtype="uint16")
    except OperationError as error:
        assert "codes are needed" in str(error)  # noqa: PT017 (most cameras need fewer)
        return

    back = expand(codes, camera).values.astype(float)

    bound = camera.spacing / 2 * camera.noise(frames.values) + camera.constant_error
    assert np.all(np.abs(back - frames.values) <= bound + 1e-9)
    assert np.all(np.diff(codes.values.astype(int)) >= 0)


def test_eight_bits_are_enough_for_a_camera_of_twelve() -> None:
    """Half a standard deviation between codes still fits into a byte, from dark to full."""
    fine = Companding(gain=0.46, read_noise=1.6, offset=100, maximum=4095, spacing=0.8)

    codes = compand(all_counts(4095), fine)

    assert codes.dtype == np.uint8
    assert 128 < int(codes.max()) <= 255


def test_the_noise_is_the_same_on_the_scale_of_the_codes(rng: np.random.Generator) -> None:
    """Photons and read noise of any brightness spread over as many codes: 1 / spacing."""
    fine = Companding(gain=0.46, read_noise=1.6, offset=100, spacing=0.1)
    for electrons in (20, 200, 2000, 20_000):
        light = rng.poisson(electrons, (100, 1000)) + rng.normal(0, 1.6, (100, 1000))
        counts = np.clip(np.rint(light / 0.46 + 100), 0, 65_535).astype(np.uint16)

        codes = compand(xr.DataArray(counts, dims=("y", "x")), fine, dtype="uint16")

        assert codes.values.std() == pytest.approx(10, rel=0.05)


def test_no_bias_is_added_to_the_mean_of_many_frames(rng: np.random.Generator) -> None:
    """The mean of noisy pixels changes by far less than the step between codes."""
    light = rng.poisson(300, (1000, 1000)) + rng.normal(0, 1.6, (1000, 1000))
    counts = np.clip(np.rint(light / 0.46 + 100), 0, 4095).astype(np.uint16)
    frames = xr.DataArray(counts, dims=("y", "x"))

    back = expand(compand(frames, CAMERA), CAMERA)

    step = CAMERA.spacing * float(CAMERA.noise(frames.values.mean()))
    assert abs(back.values.mean(dtype=float) - counts.mean(dtype=float)) < step / 50


def test_what_lies_above_the_maximum_is_the_maximum() -> None:
    """A count that the camera cannot have gets the code of the highest one."""
    frames = xr.DataArray(np.array([[4095, 5000, 65_535]], np.uint16), dims=("y", "x"))

    codes = compand(frames, CAMERA)

    assert len(set(codes.values.ravel().tolist())) == 1


def test_it_is_the_same_in_each_library(xp: Any, rng: np.random.Generator) -> None:
    """The block function looks up on any device what it looks up in NumPy."""
    values = rng.integers(0, 256, (2, 9), dtype=np.uint8)
    table = rng.integers(0, 60_000, 256, dtype=np.uint16)

    np.testing.assert_array_equal(
        xp.host(looked_up(xp.array(values), table=table, dtype=table.dtype.name)),
        table[values.astype(int)],
    )


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda frames: compand(frames.astype("int32"), CAMERA), "frames is of dtype int32"),
        (lambda frames: compand(frames, CAMERA, dtype="int8"), "codes is of dtype int8"),
        (lambda frames: expand(frames.astype("int32"), CAMERA), "codes is of dtype int32"),
        (
            lambda frames: compand(frames, Companding(gain=1, read_noise=1, spacing=0.1)),
            "codes are needed, but uint8 has 256; use a larger spacing",
        ),
        (lambda frames: Companding(gain=0, read_noise=1), "gain is 0"),
        (lambda frames: Companding(gain=1, read_noise=0), "read_noise is 0"),
        (lambda frames: Companding(gain=1, read_noise=1, offset=-1), "offset is -1"),
        (lambda frames: Companding(gain=1, read_noise=1, spacing=0), "spacing is 0"),
        (lambda frames: Companding(gain=1, read_noise=1, maximum=0), "maximum is 0"),
        (lambda frames: Companding(gain=1, read_noise=1, maximum=2**16), "at most 65535"),
    ],
)
def test_what_cannot_be_companded_is_refused(
    frames: xr.DataArray, operation: Any, message: str
) -> None:
    """A dtype or a parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        operation(frames)
