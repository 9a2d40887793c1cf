"""Connected regions: `label`."""

from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from forebay.ops import OperationError, label, otsu_threshold

DATA = Path(__file__).parents[2] / "examples" / "data"
CHUNKS: dict[str, Any] = {"t": 2, "y": (5, 1, 7), "x": (1, 9, 7)}


@pytest.fixture
def mask(rng: np.random.Generator) -> xr.DataArray:
    """Give three frames of which a good half belongs to regions."""
    return xr.DataArray(
        rng.random((3, 13, 17)) < 0.55,
        dims=("t", "y", "x"),
        coords={"t": [0.5, 1.0, 1.5]},
        attrs={"camera": "A7", "units": "counts"},
    )


def scipys(values: npt.NDArray[Any], connectivity: int) -> npt.NDArray[Any]:
    """Return what scipy gives for one array."""
    structure = scipy.ndimage.generate_binary_structure(values.ndim, connectivity)
    numbers: npt.NDArray[Any] = scipy.ndimage.label(values, structure)[0]
    return numbers


@pytest.mark.parametrize("connectivity", [1, 2])
def test_frames_have_scipys_numbers_whatever_the_chunks(
    mask: xr.DataArray, connectivity: int
) -> None:
    """Each frame is numbered on its own, the same from one array as from many chunks."""
    expected = np.stack([scipys(frame, connectivity) for frame in mask.values])

    for given_mask in (mask, mask.chunk({"t": 2}), mask.chunk(CHUNKS)):
        np.testing.assert_array_equal(label(given_mask, connectivity=connectivity), expected)


@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_regions_are_followed_through_frames(mask: xr.DataArray, connectivity: int) -> None:
    """With t among the dimensions all three are numbered as one, as scipy does."""
    thin = mask & (np.arange(17) % 3 > 0)
    expected = scipys(thin.values, connectivity)

    for given_mask in (thin, thin.chunk(CHUNKS), thin.chunk({"t": 1})):
        found = label(given_mask, connectivity=connectivity, dims=("t", "y", "x"))
        np.testing.assert_array_equal(found, expected)


@settings(deadline=None, max_examples=12)
@given(
    values=hnp.arrays(np.bool_, (6, 7)),
    cuts=st.tuples(st.integers(1, 5), st.integers(1, 6)),
    connectivity=st.integers(1, 2),
)
def test_any_pattern_is_numbered_right_across_any_seam(
    values: Any, cuts: tuple[int, int], connectivity: int
) -> None:
    """Four chunks that meet anywhere give what one array gives."""
    chunks: Any = {"y": (cuts[0], 6 - cuts[0]), "x": (cuts[1], 7 - cuts[1])}
    cut = xr.DataArray(values, dims=("y", "x")).chunk(chunks)

    with dask.config.set(scheduler="synchronous"):
        found = label(cut, connectivity=connectivity).compute()

    np.testing.assert_array_equal(found, scipys(values, connectivity))


def test_a_region_can_wind_through_all_chunks_and_back() -> None:
    """A spiral that crosses each seam many times is one region, and the gap in it another."""
    values = np.ones((15, 15), bool)
    for ring in range(1, 7, 2):
        values[ring, ring : 15 - ring] = values[14 - ring, ring : 15 - ring] = False
        values[ring : 15 - ring, ring] = values[ring : 15 - ring, 14 - ring] = False
        values[ring, ring + 2] = True
    cut = xr.DataArray(values, dims=("y", "x")).chunk({"y": 4, "x": 5})

    np.testing.assert_array_equal(label(cut), scipys(values, 1))
    assert label(cut).max() == 1
    np.testing.assert_array_equal(label(~cut), scipys(~values, 1))


def test_real_spheres_keep_their_numbers_when_cut() -> None:
    """Dark spheres of a real frame, thresholded, have scipy's numbers across the seams."""
    values = 255 - np.asarray(Image.open(DATA / "bulk_water" / "bulk_water_000.png"))
    frames = xr.DataArray(values, dims=("y", "x"))
    bright = frames > otsu_threshold(frames)

    found = label(bright.chunk({"y": 100, "x": 150}))

    expected = scipys(bright.values, 1)
    assert expected.max() > 50
    np.testing.assert_array_equal(found, expected)


def test_it_is_lazy_and_keeps_what_describes_the_mask(mask: xr.DataArray) -> None:
    """No task runs while the graph is built, and nothing is lost but the unit."""

    def no_scheduler(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed while the graph was built")

    with dask.config.set(scheduler=no_scheduler):
        lazy = label(mask.transpose("x", "t", "y").chunk(CHUNKS), dims=("y", "x"))

    assert isinstance(lazy.data, da.Array)
    assert lazy.dims == ("x", "t", "y")
    assert lazy.chunks == mask.transpose("x", "t", "y").chunk(CHUNKS).chunks
    assert lazy.attrs == {"camera": "A7"}
    assert lazy.dtype == lazy.compute().dtype == np.int32
    xr.testing.assert_identical(lazy.compute().transpose("t", "y", "x"), label(mask))


def test_the_graph_holds_no_pixels_and_knows_its_library() -> None:
    """What is added to a graph is small, and its meta is of the library of the chunks."""

    class Tagged(np.ndarray[Any, Any]):
        pass

    zeros = da.zeros((2, 512, 512), chunks=(1, 256, 256), dtype="uint8")
    lazy = label(xr.DataArray(zeros, dims=("t", "y", "x")))
    assert len(cloudpickle.dumps(dict(lazy.data.dask))) < 200_000

    tagged = np.ones((4, 6), np.uint8).view(Tagged)
    data = da.from_array(tagged, (2, 3), asarray=False)  # type: ignore[no-untyped-call]
    assert isinstance(label(xr.DataArray(data, dims=("y", "x"))).data._meta, Tagged)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", "float64"])
def test_a_region_is_what_is_not_zero(mask: xr.DataArray, dtype: str) -> None:
    """Any number but zero counts, a negative one too; NaN is ground."""
    found = label((mask * (1 if dtype in ("bool", "uint8") else -3)).astype(dtype))

    xr.testing.assert_equal(found, label(mask))
    if dtype.startswith("float"):
        gap = mask.where(mask, np.nan).astype(dtype)
        xr.testing.assert_equal(label(gap), label(mask))
        xr.testing.assert_equal(label(gap.chunk(CHUNKS)), label(mask))


def test_there_may_be_nothing_or_one_region() -> None:
    """An even ground has no region, an even foreground has one, and so has a single pixel."""
    for value in (0, 1):
        even = xr.DataArray(np.full((2, 5, 6), value), dims=("t", "y", "x"))
        assert (label(even) == value).all()
        assert (label(even.chunk({"y": 2, "x": 2})) == value).all()
    assert label(even[:1, :1, :1]).values.tolist() == [[[1]]]


def test_it_works_in_each_library(chunk_library: Any, mask: xr.DataArray) -> None:
    """Masks in any library are numbered there."""
    on_device = mask.copy(data=chunk_library.array(mask.values))

    for given_mask in (on_device, on_device.chunk(CHUNKS)):
        found = label(given_mask)
        found = found.compute() if found.chunks else found
        np.testing.assert_array_equal(chunk_library.host(found.data), label(mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 3}, "connectivity is 3, but must be at most 2"),
        ({"connectivity": 0}, "connectivity is 0"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": ("y", "z")}, "'z' is needed"),
    ],
)
def test_what_cannot_be_labelled_is_refused(
    mask: xr.DataArray, options: dict[str, Any], message: str
) -> None:
    """A parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        label(mask, **options)
    with pytest.raises(OperationError, match="mask is of dtype complex128"):
        label(mask.astype(complex))
    with pytest.raises(OperationError, match="mask is a ndarray"):
        label(mask.values)  # type: ignore[arg-type]
