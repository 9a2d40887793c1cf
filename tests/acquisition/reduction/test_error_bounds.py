"""No pixel is further from what it should be than the step says."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction import ReductionChain, parse_step

SHAPE = (4, 6)
IMAGES = {
    Path("dark"): np.random.default_rng(1).uniform(90, 110, SHAPE).astype(np.float32),
    Path("flat"): np.random.default_rng(2).uniform(200, 60_000, SHAPE).astype(np.float32),
}

pixels_of_16_bits = hnp.arrays(
    np.uint16, SHAPE, elements=st.integers(0, 65_535) | st.sampled_from([0, 65_535])
)


def reduced(text: str, pixels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Return a frame after a step, and the bound that the provenance states."""
    chain = ReductionChain(
        [parse_step(text)], Geometry(("y", "x"), SHAPE, pixels.dtype), images=IMAGES
    )
    out = np.empty(chain.geometry.shape, chain.geometry.dtype)
    assert chain.apply(pixels, out)
    bound: dict[str, Any] = chain.provenance()["steps"][0]["error_bound"]
    return out.astype(np.float64), bound


@given(pixels_of_16_bits, st.sampled_from(["", ",dtype=int16", ",offset=500.25", ",dtype=uint8"]))
def test_background(pixels: npt.NDArray[Any], options: str) -> None:
    """Half a count and the rounding of float32, but for what saturates."""
    result, bound = reduced(f"background:dark{options}", pixels)

    offset = 500.25 if "offset" in options else 0
    exact = pixels.astype(np.float64) - IMAGES[Path("dark")].astype(np.float64) + offset
    ends = np.iinfo(options.removeprefix(",dtype=") if "dtype" in options else "uint16")
    exact = np.clip(exact, ends.min, ends.max)
    assert 0.5 <= bound["absolute"] < 0.6
    assert np.abs(result - exact).max() <= bound["absolute"]
    assert "beyond the range" in bound["except_for"]


@given(pixels_of_16_bits)
def test_flat_field(pixels: npt.NDArray[Any]) -> None:
    """Half a count and the rounding of float32, but for what saturates."""
    result, bound = reduced("flat-field:flat,dark=dark", pixels)

    flat, dark = (IMAGES[Path(name)].astype(np.float64) for name in ("flat", "dark"))
    exact = (pixels - dark) / (flat - dark) * (flat - dark).mean()
    assert 0.5 <= bound["absolute"] < 0.6
    assert np.abs(result - np.clip(exact, 0, 65_535)).max() <= bound["absolute"]


@pytest.mark.parametrize("width", [32, 64])
@given(data=st.data())
def test_float_corrections_are_off_by_a_part_of_the_largest_number(
    width: Any, data: st.DataObject
) -> None:
    """What stays a float has the error of its additions and multiplications."""
    numbers = st.floats(-(2.0**30), 2.0**30, width=width)
    pixels = data.draw(hnp.arrays(f"float{width}", SHAPE, elements=numbers))
    dark = IMAGES[Path("dark")]

    result, bound = reduced("background:dark", pixels)

    for value, subtracted, got in zip(pixels.flat, dark.flat, result.flat, strict=True):
        exact = Fraction(float(value)) - Fraction(float(subtracted))
        largest = max(abs(float(value)), float(subtracted), abs(float(exact)))
        assert abs(Fraction(float(got)) - exact) <= bound["relative"] * largest
    assert bound["absolute"] == 0


@given(pixels_of_16_bits, st.sampled_from(["2", "1x2", "4x6", "4x3"]))
def test_binning(pixels: npt.NDArray[Any], factor: str) -> None:
    """A mean is off by half a count at most, and a sum not at all."""
    height, width = (int(number) for number in (factor.split("x") * 2)[:2])
    exact = np.add.reduceat(
        np.add.reduceat(pixels.astype(np.float64), range(0, 4, height), axis=0),
        range(0, 6, width),
        axis=1,
    )

    mean, bound_of_mean = reduced(f"bin:{factor}", pixels)
    total, bound_of_sum = reduced(f"bin:{factor},method=sum", pixels)

    assert bound_of_mean["absolute"] == 0.5
    assert np.abs(mean - exact / (height * width)).max() <= 0.5
    assert bound_of_sum == {"absolute": 0, "relative": 0, "noise": 0, "except_for": None}
    np.testing.assert_array_equal(total, exact)


@given(pixels_of_16_bits, st.integers(1, 16))
def test_bit_depth(pixels: npt.NDArray[Any], bits: int) -> None:
    """Half of what is dropped."""
    result, bound = reduced(f"bit-depth:{bits}", pixels)

    assert bound["absolute"] == (2.0 ** (15 - bits) if bits < 16 else 0)
    assert np.abs(result - pixels).max() <= bound["absolute"]


@given(pixels_of_16_bits, st.floats(0.1, 1e4), st.integers(0, 65_535))
def test_sparsify(pixels: npt.NDArray[Any], threshold: float, background: int) -> None:
    """Less than the threshold, and less still where pixels end before it."""
    result, bound = reduced(f"sparsify:{threshold},background={background}", pixels)

    assert bound["absolute"] < threshold
    assert np.abs(result - pixels).max() <= bound["absolute"]


@given(pixels_of_16_bits)
def test_compand(pixels: npt.NDArray[Any]) -> None:
    """A part of a pixel's own noise, once the codes are expanded."""
    camera = ops.Companding(gain=0.46, read_noise=1.6, offset=100, spacing=2, maximum=20_000)
    below = np.minimum(pixels, 20_000)

    codes, bound = reduced("compand:0.46,1.6,offset=100,spacing=2,maximum=20000", below)

    counts = camera.counts(np.dtype("uint8"))[codes.astype(int)].astype(np.float64)
    allowed = bound["absolute"] + bound["noise"] * camera.noise(below)
    assert np.all(np.abs(counts - below) <= allowed + 1e-9)
    assert bound["noise"] == 1
    assert bound["absolute"] == pytest.approx(4 / (16 * 0.46) + 0.5)
    assert "above 20000" in bound["except_for"]
