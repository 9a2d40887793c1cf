"""Reductions in place, in a run that has begun."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from forebay import ops
from forebay.acquisition.errors import FrameError
from forebay.acquisition.frames import NO_FLAGS, FrameFlag, Geometry
from forebay.acquisition.reduction import OverloadSteps, ReductionError, parse_step

CAMERA = Geometry(("y", "x"), (24, 36), np.dtype("uint16"))
TEXTS = ["bit-depth:12", "sparsify:150,background=32", "region:3:17,5:30,mask=true,fill=7"]


def overload_of(*texts: str, geometry: Geometry = CAMERA) -> OverloadSteps:
    """Return overload steps."""
    return OverloadSteps([parse_step(text) for text in texts], geometry)


def test_each_level_adds_a_step_and_its_flag(raw: npt.NDArray[Any], geometry: Geometry) -> None:
    """A frame of level n has gone through the first n steps, in place, and says so."""
    overload = overload_of(*TEXTS, geometry=geometry)
    first = xr.DataArray(raw, dims=("t", *geometry.dims))
    second = ops.drop_low_bits(first, count=4)
    third = ops.sparsify(second, threshold=150, background=32)
    fourth = ops.mask_outside(third, bounds={"y": (3, 17), "x": (5, 30)}, fill=7)

    assert overload.levels == 3
    for level, expected in enumerate([first, second, third, fourth]):
        reduced = raw.copy()
        flags = [overload.apply(pixels, level) for pixels in reduced]

        np.testing.assert_array_equal(reduced, expected)
        assert set(flags) == {
            [
                NO_FLAGS,
                FrameFlag.REDUCED | FrameFlag.OVERLOAD_STEP_1,
                FrameFlag.REDUCED | FrameFlag.OVERLOAD_STEP_1 | FrameFlag.OVERLOAD_STEP_2,
                FrameFlag.REDUCED
                | FrameFlag.OVERLOAD_STEP_1
                | FrameFlag.OVERLOAD_STEP_2
                | FrameFlag.OVERLOAD_STEP_3,
            ][level]
        }


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "float32"])
def test_any_type_can_be_made_sparse_in_place(dtype: str, rng: np.random.Generator) -> None:
    """In place or not, the pixels are the same, missing ones too."""
    geometry = Geometry(("y", "x"), (24, 36), np.dtype(dtype))
    pixels = rng.integers(0, 120, geometry.shape).astype(dtype)
    if pixels.dtype.kind == "f":
        pixels[2, 3] = np.nan
    expected = ops.sparsify(xr.DataArray(pixels, dims=("y", "x")), threshold=9, background=60)

    overload_of("sparsify:9,background=60", geometry=geometry).apply(pixels, 1)

    np.testing.assert_array_equal(pixels, expected)


def test_a_correction_may_come_first(images: dict[str, Path], raw: Any, geometry: Geometry) -> None:
    """An image is subtracted in place, so that what is sparse is seen."""
    overload = overload_of(f"background:{images['dark']}", "sparsify:20", geometry=geometry)
    image = xr.DataArray(np.load(images["dark"]), dims=("y", "x"))
    frame = xr.DataArray(raw[0].copy(), dims=geometry.dims)

    overload.apply(raw[0], 2)

    plain = ops.to_integers(ops.subtract_background(frame, image), dtype="uint16")
    np.testing.assert_array_equal(raw[0], ops.sparsify(plain, threshold=20))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["bit-depth:9", "bin:2"],
            r"overload step 2, bin:2x2: it makes frames of \(12, 18\) uint16 from .* keep shape",
        ),
        (["region:0:5,0:5"], "overload step 1, region:0:5,0:5: it makes frames"),
        (["compand:1,2,spacing=3"], "it makes frames of .* uint8"),
        (["select:every=2"], "overload step 1 leaves frames out"),
        (["bin:1"], "does not work in place"),
        (["bit-depth:17"], "step 1, bit-depth:17: 17 bits of 16"),
        (["bit-depth:9"] * 9, "there are 9 overload steps; a frame has flags for 8"),
    ],
)
def test_steps_that_would_change_the_run_are_refused(texts: list[str], message: str) -> None:
    """What changes shape, type or number of frames is refused when the steps are declared."""
    with pytest.raises(ReductionError, match=message):
        overload_of(*texts)


@pytest.mark.parametrize("level", [-1, 4])
def test_a_level_that_is_not_there_is_refused(level: int) -> None:
    """There are as many levels as steps."""
    with pytest.raises(ReductionError, match=f"level is {level}; there are 3"):
        overload_of(*TEXTS).apply(np.zeros(CAMERA.shape, np.uint16), level)


def test_a_frame_of_another_layout_is_refused() -> None:
    """A frame that is not the run's is not written to."""
    with pytest.raises(FrameError, match="the run has"):
        overload_of(*TEXTS).apply(np.zeros((24, 35), np.uint16), 1)


def test_there_is_a_flag_for_each_of_eight_steps() -> None:
    """The last bits of the format are used, and no others."""
    flags = overload_of(*["bit-depth:16"] * 8).apply(np.zeros(CAMERA.shape, np.uint16), 8)

    assert int(flags) == 16 | 0xFF0000
    assert FrameFlag.OVERLOAD_STEP_8 in flags


def test_provenance_tells_of_the_steps() -> None:
    """The run says what each of its flags means."""
    document = json.loads(json.dumps(overload_of(*TEXTS).provenance()))

    assert [step["parameters"]["step"] for step in document["steps"]] == [
        "bit-depth",
        "sparsify",
        "region",
    ]
    assert document["input"] == document["output"]
