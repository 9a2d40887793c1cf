"""A chain gives, bit for bit, what the functions of `forebay.ops` give one after the other."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forebay import ops
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction import (
    ReductionChain,
    ReductionError,
    Step,
    parse_step,
    repeat_reduction,
)

type Operation = Callable[[xr.DataArray], xr.DataArray]

BOUNDS = {"y": (3, 17), "x": (5, 30)}
CAMERA = ops.Companding(gain=0.5, read_noise=1.6, offset=90, spacing=2)


def flat_field(frames: xr.DataArray, images: Mapping[str, Path]) -> xr.DataArray:
    """Return the corrected frames as integers."""
    flat, dark = (image_for(frames, images[name]) for name in ("flat", "dark"))
    return ops.to_integers(ops.flat_field(frames, flat=flat, dark=dark), dtype="uint16")


def image_for(frames: xr.DataArray, path: Path) -> xr.DataArray:
    """Return the image in a file."""
    return xr.DataArray(np.load(path), dims=("y", "x"))


def background(
    frames: xr.DataArray, images: Mapping[str, Path], offset: float, dtype: str | None
) -> xr.DataArray:
    """Return the frames without the dark image."""
    result = ops.subtract_background(frames, image_for(frames, images["dark"])) + offset
    return result if dtype is None else ops.to_integers(result, dtype=dtype)


ALONE: dict[str, Callable[[xr.DataArray, Mapping[str, Path]], xr.DataArray]] = {
    "bin:2": lambda frames, _: ops.bin_pixels(frames, factor=2),
    "bin:3x4,method=sum": lambda frames, _: ops.bin_pixels(frames, factor=(3, 4), method="sum"),
    "bin:4x1,method=sum,dtype=uint16": lambda frames, _: ops.bin_pixels(
        frames, factor=(4, 1), method="sum", dtype="uint16"
    ),
    "bin:1x3,dtype=uint8": lambda frames, _: ops.bin_pixels(frames, factor=(1, 3), dtype="uint8"),
    "region:3:17,5:30": lambda frames, _: ops.crop(frames, bounds=BOUNDS),
    "region:3:17,5:30,mask=true,fill=9": lambda frames, _: ops.mask_outside(
        frames, bounds=BOUNDS, fill=9
    ),
    "background:DARK": lambda frames, images: background(frames, images, 0, "uint16"),
    "background:DARK,offset=10.3": lambda frames, images: background(
        frames, images, 10.3, "uint16"
    ),
    "background:DARK,dtype=int16": lambda frames, images: background(frames, images, 0, "int16"),
    "background:DARK,dtype=float": lambda frames, images: background(frames, images, 0, None),
    "flat-field:FLAT,dark=DARK": flat_field,
    "flat-field:FLAT": lambda frames, images: ops.to_integers(
        ops.flat_field(frames, flat=image_for(frames, images["flat"])), dtype="uint16"
    ),
    "flat-field:FLAT,dtype=float": lambda frames, images: ops.flat_field(
        frames, flat=image_for(frames, images["flat"])
    ),
    "bit-depth:10": lambda frames, _: ops.drop_low_bits(frames, count=6),
    "bit-depth:10,of=12": lambda frames, _: ops.drop_low_bits(frames, count=2),
    "bit-depth:16": lambda frames, _: frames,
    "sparsify:150": lambda frames, _: ops.sparsify(frames, threshold=150),
    "sparsify:20,background=200": lambda frames, _: ops.sparsify(
        frames, threshold=20, background=200
    ),
    "compand:0.5,1.6,offset=90,spacing=2": lambda frames, _: ops.compand(frames, CAMERA),
    "select:every=3": lambda frames, _: frames[::3],
    "select:min-variance=4e6": lambda frames, _: frames[
        np.flatnonzero(ops.pixel_variance(frames, dims=frames.dims[1:]) >= 4e6)
    ],
}


def stack(frames: npt.NDArray[Any], geometry: Geometry) -> xr.DataArray:
    """Return frames as one array."""
    return xr.DataArray(frames, dims=("t", *geometry.dims))


def chained(chain: ReductionChain, frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the frames that go on from a chain."""
    kept = []
    for pixels in frames:
        pixels.flags.writeable = False
        slot = np.empty(chain.geometry.shape, chain.geometry.dtype)
        if chain.apply(pixels, slot):
            kept.append(slot)
    return np.array(kept, chain.geometry.dtype).reshape(-1, *chain.geometry.shape)


def named(text: str, images: Mapping[str, Path]) -> Step:
    """Return the step with the paths of the images in it."""
    return parse_step(
        text.replace("DARK", str(images["dark"])).replace("FLAT", str(images["flat"]))
    )


@pytest.mark.parametrize("text", ALONE)
def test_each_step_alone(
    text: str, raw: npt.NDArray[Any], geometry: Geometry, images: dict[str, Path]
) -> None:
    """The chain is exact, and so is what its provenance repeats."""
    chain = ReductionChain([named(text, images)], geometry)

    result = chained(chain, raw)

    expected = ALONE[text](stack(raw, geometry), images)
    assert result.dtype == expected.dtype == chain.geometry.dtype
    np.testing.assert_array_equal(result, expected)
    repeated = repeat_reduction(chain.provenance(), stack(raw, geometry))
    np.testing.assert_array_equal(result, repeated)


def test_steps_one_after_the_other(
    raw: npt.NDArray[Any], geometry: Geometry, images: dict[str, Path]
) -> None:
    """Flat field, region, binning, bit depth and every second frame, in this order."""
    texts = ["flat-field:FLAT,dark=DARK", "region:0:20,4:34", "bin:4x2", "select:every=2"]
    chain = ReductionChain([*(named(text, images) for text in texts)], geometry)

    result = chained(chain, raw)

    frames = flat_field(stack(raw, geometry), images)
    frames = ops.bin_pixels(ops.crop(frames, bounds={"y": (0, 20), "x": (4, 34)}), factor=(4, 2))
    np.testing.assert_array_equal(result, frames[::2])


@pytest.mark.parametrize("steps", [["select:min-change=30"], ["bin:4", "select:min-change=30"]])
def test_a_change_is_seen_against_the_last_frame_kept(steps: list[str], geometry: Geometry) -> None:
    """Slow drift is noticed once it has come far enough; a frame like the last one is left out."""
    levels = [100, 110, 120, 131, 131, 100, 129]
    frames = np.array([np.full(geometry.shape, level, geometry.dtype) for level in levels])

    kept = chained(ReductionChain([parse_step(text) for text in steps], geometry), frames)

    assert kept.reshape(len(kept), -1)[:, 0].tolist() == [100, 131, 100]


def test_each_channel_has_its_own_flat_field(rng: np.random.Generator) -> None:
    """Images of (c, y, x) correct each channel by its own gain and level."""
    camera = Geometry(("c", "y", "x"), (2, 24, 36), np.dtype("uint16"))
    flat = rng.uniform(500, 1500, camera.shape) * [[[1.0]], [[3.0]]]
    raw = rng.integers(0, 3000, (1, *camera.shape), dtype=np.uint16)
    chain = ReductionChain([parse_step("flat-field:flat")], camera, images={Path("flat"): flat})

    result = chained(chain, raw)

    image = xr.DataArray(flat.astype(np.float32), dims=("c", "y", "x"))
    expected = ops.flat_field(stack(raw, camera), flat=image)
    np.testing.assert_array_equal(result, ops.to_integers(expected, dtype="uint16"))


INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


@st.composite
def next_steps(draw: st.DrawFn, geometry: Geometry) -> str:
    """Draw a step as text, most of which fit the geometry."""
    height, width = geometry.shape[-2:]
    low = st.integers(0, 3)
    y, x = (f"{draw(low)}:{size - draw(st.integers(0, size // 4))}" for size in (height, width))
    divisors = st.sampled_from([(h, w) for h in (1, 2, 3) for w in (1, 2, 4)])
    h, w = draw(divisors)
    dtype = draw(st.sampled_from(INTEGERS))
    bits = 8 * geometry.dtype.itemsize
    return draw(
        st.sampled_from(
            [
                f"bin:{h}x{w}",
                f"bin:{h}x{w},method=sum",
                f"bin:{h}x{w},method=sum,dtype={dtype}",
                f"region:{y},{x}",
                f"region:{y},{x},mask=true,fill={draw(st.integers(0, 100))}",
                f"background:{height}x{width},offset={draw(st.integers(0, 50))}",
                f"background:{height}x{width},dtype={dtype}",
                f"flat-field:{height}x{width}",
                f"flat-field:{height}x{width},dark={height}x{width},dtype={dtype}",
                f"bit-depth:{draw(st.integers(1, bits))}",
                f"sparsify:{draw(st.integers(1, 300))},background={draw(st.integers(0, 100))}",
                "compand:0.5,2,spacing=8",
                f"select:every={draw(st.integers(1, 3))}",
                "select:min-change=3",
                "select:min-variance=50",
            ]
        )
    )


class AnyImage(dict[Path, npt.NDArray[Any]]):
    """An image of whatever size a path names, "24x36", so that drawn steps find one."""

    def __contains__(self, path: object) -> bool:
        return True

    def __getitem__(self, path: Path) -> npt.NDArray[Any]:
        height, width = map(int, str(path).split("x"))
        generator = np.random.default_rng(height * width)
        return generator.uniform(5, 60, (height, width)).astype(np.float32)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Step], Geometry, npt.NDArray[Any]]:
    """Draw steps that fit one another, and frames for them."""
    shape = (*draw(st.sampled_from([(), (1,), (2,)])), 12, 16)
    dtype = np.dtype(draw(st.sampled_from([*INTEGERS, "float32", "float64"])))
    geometry = Geometry(("c", "y", "x")[-len(shape) :], shape, dtype)
    pixel = st.integers(0, 120 if dtype.itemsize == 1 else 1500)
    if dtype.kind == "f":
        pixel = pixel | st.sampled_from([np.nan, -7.25, 1e6])
    frames = draw(hnp.arrays(dtype, (4, *shape), elements=pixel, fill=st.just(70)))
    steps: list[Step] = []
    current = geometry
    for _ in range(draw(st.integers(0, 5))):
        step = parse_step(draw(next_steps(current)))
        try:
            fitted = ReductionChain([*steps, step], geometry, images=AnyImage())
        except ReductionError:
            continue
        steps.append(step)
        current = fitted.geometry
    return steps, geometry, frames


@given(chains())
@settings(max_examples=150, deadline=None)
def test_any_chain_is_what_its_provenance_repeats(
    drawn: tuple[list[Step], Geometry, npt.NDArray[Any]],
) -> None:
    """Whatever steps fit one another: in place or by `forebay.ops`, the frames are the same."""
    steps, geometry, frames = drawn
    chain = ReductionChain(steps, geometry, images=AnyImage())

    result = chained(chain, frames.copy())

    repeated = repeat_reduction(chain.provenance(), stack(frames, geometry), images=chain.images)
    assert repeated.dtype == result.dtype
    np.testing.assert_array_equal(result, repeated)
    assert chain.counts.frames_in == 4
    assert chain.counts.frames_out == len(result)
    assert chain.counts.bytes_out == result.nbytes
