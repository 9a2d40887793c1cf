"""What an algorithm may return, and what becomes of it."""

import json
from collections.abc import Callable
from typing import Any

import dask.array as da
import dask.dataframe
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.engine import Algorithm, Blockwise, Result, WholeRun, process, reproduce
from forebay.engine.definition import Needs
from forebay.engine.errors import OutputError, ResultFormError, UnitsFailedError
from forebay.engine.results import encoding
from forebay.engine.results.encoding import encode_arrays


def of(function: Callable[..., Any], needs: Needs | None = None) -> Algorithm:
    return Algorithm("tried", "1.0.0", function, needs or Blockwise())


def test_coordinates_are_kept(write_run: WriteRun) -> None:
    """Time, counters and flags of the frames lie beside the values, with their types."""
    run = write_run()
    arrays = process(run, of(lambda frames: frames.mean(("y", "x")))).arrays()
    expected = run.frames.mean(("y", "x")).to_dataset().compute()
    xr.testing.assert_allclose(arrays, expected)
    for name in ("t", "timestamp", "frame_id", "flags"):
        assert arrays[name].dtype == expected[name].dtype


def test_channels_are_kept(write_run: WriteRun) -> None:
    """An axis of texts comes through."""

    def named(frames: xr.DataArray) -> xr.DataArray:
        return frames.assign_coords(c=["red", "blue"]).max(("y", "x"))

    arrays = process(write_run(shape=(2, 6, 8)), of(named)).arrays()
    assert arrays["c"].values.tolist() == ["red", "blue"]
    assert dict(arrays.sizes) == {"t": 10, "c": 2}


def test_arrays_are_lazy(write_run: WriteRun) -> None:
    """Nothing is read but metadata before the values are asked for."""
    result = process(write_run(), of(lambda frames: frames * 2))
    assert isinstance(result.arrays()["frames"].data, da.Array)


def test_parts_with_equal_metadata_are_not_taken_for_one_another(write_run: WriteRun) -> None:
    """Dask knows lazy arrays by name: those of two blocks of the same form differ."""
    run = write_run(frames=8)
    first, second = process(run, of(lambda frames: frames.drop_vars("t"))).parts()
    assert isinstance(first, xr.Dataset)
    assert isinstance(second, xr.Dataset)
    assert first["frames"].data.name != second["frames"].data.name


def test_metadata_are_in_the_order_of_the_variables() -> None:
    """The same arrays are the same bytes, in whatever order their objects were written."""
    names = ["zeta", "alpha", "mid", "beta"]
    for coordinates in (["u", "t"], ["t", "u"]):
        along = {name: ("t", [4, 5, 6]) for name in coordinates}
        arrays = xr.Dataset({name: ("t", np.arange(3)) for name in names}, along)
        group = json.loads(bytes(encode_arrays(arrays)["zarr.json"]))
        assert list(group["consolidated_metadata"]["metadata"]) == [*names, "t", "u"]


def of_every_type(*, begin: int, name: str = "run-7") -> xr.Dataset:
    """Return arrays of each type that can be kept; their values depend on where they begin."""
    count = np.arange(begin, begin + 3)
    beside = {
        "t": count,
        "timestamp": ("t", (10**18 + count * 7).view("datetime64[ns]")),
        "exposure": ("t", (count * 1000).view("timedelta64[ns]")),
        "c": ["red", "blue"],
        "gain": float(begin),
    }
    numbers = {
        f"in_{dtype}": (("t", "c"), np.stack([count, count * 3], axis=1).astype(dtype))
        for dtype in ("bool", "int8", "uint16", ">i4", "float32", "complex64")
    }
    attributes = {"run": name, "units": "counts"}
    nothing = {"nothing": ("none", np.empty(0)), "unknown": ("t", np.full(3, np.nan))}
    return xr.Dataset({**numbers, **nothing}, beside, {"by": name}).map(
        lambda each: each.assign_attrs(attributes), keep_attrs=True
    )


def test_arrays_are_the_same_bytes_whether_their_kind_was_there_before_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first of a kind are written by xarray and Zarr, those that follow after their example."""
    wanted = [of_every_type(begin=5), of_every_type(begin=90), of_every_type(begin=5, name="b")]
    written = []
    for each in wanted:
        monkeypatch.setattr(encoding, "_kinds", {})
        written.append(encode_arrays(each))
    by_zarr: list[xr.Dataset] = []
    write = xr.Dataset.to_zarr

    def noted(arrays: xr.Dataset, *given: Any, **named: Any) -> Any:
        by_zarr.append(arrays)
        return write(arrays, *given, **named)

    monkeypatch.setattr(xr.Dataset, "to_zarr", noted)
    monkeypatch.setattr(encoding, "_kinds", {})
    assert [encode_arrays(each) for each in [*wanted, *wanted]] == [*written, *written]
    assert len(by_zarr) == 2, "each kind was written by Zarr once"


def test_a_large_array_is_kept_in_several_chunks(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading one frame of a large part does not mean reading all of it."""
    monkeypatch.setattr("forebay.engine.results.encoding._CHUNK_BYTES", 2 * 6 * 8 * 2)
    run = write_run(frames=4)
    arrays = process(run, of(lambda frames: frames)).arrays()
    assert arrays["frames"].data.chunks[0] == (2, 2)
    assert (arrays["frames"].to_numpy() == run.frames.to_numpy()).all()


def test_a_value_for_a_block_stands_where_the_block_begins(write_run: WriteRun) -> None:
    """Without an axis t, a block's value gets one: the block's first frame."""
    run = write_run()
    arrays = process(run, of(lambda frames: frames.mean("t"))).arrays()
    assert arrays["t"].values.tolist() == [0, 4, 8]
    np.testing.assert_allclose(arrays["frames"][2], run.frames[8:].mean("t"))


def test_one_frame_of_a_block_keeps_its_time(write_run: WriteRun) -> None:
    """What is said once of a block, such as the time of a chosen frame, is kept for each."""
    run = write_run()
    arrays = process(run, of(lambda frames: frames.isel(t=-1))).arrays()
    assert arrays["frame_id"].values.tolist() == [3, 7, 9]
    assert (arrays["frames"].to_numpy() == run.frames[[3, 7, 9]].to_numpy()).all()


def test_a_value_for_a_tile_stands_where_the_tile_begins(write_run: WriteRun) -> None:
    """Without axes y and x, a tile's value gets them: the tile's first pixel."""
    run = write_run()
    tiles = Blockwise(tile_pixels=4)
    arrays = process(run, of(lambda frames: frames.mean(("y", "x")), tiles)).arrays()
    expected = run.frames.coarsen(y=4, x=4, boundary="trim").mean().compute()
    np.testing.assert_allclose(arrays["frames"][:, :1], expected)
    assert (arrays["y"].values.tolist(), arrays["x"].values.tolist()) == ([0, 4], [0, 4])


def test_a_new_array_without_coordinates_is_placed_by_its_length(write_run: WriteRun) -> None:
    """An array as long as the block needs no coordinate to be cut."""

    def bare(frames: xr.DataArray) -> xr.DataArray:
        return xr.DataArray(frames.to_numpy().max((1, 2)), dims="t")

    run = write_run()
    arrays = process(run, of(bare, Blockwise(halo_frames=2))).arrays()
    assert arrays["result"].values.tolist() == run.frames.max(("y", "x")).values.tolist()


def test_what_lies_between_two_blocks_comes_once(write_run: WriteRun) -> None:
    """A value for the gap between two frames belongs to the block of the later one, not to both."""

    def steps(frames: xr.DataArray) -> xr.DataArray:
        """Return the change of brightness from each frame to the next, half-way between them."""
        bright = frames.mean(("y", "x"))
        change = bright.diff("t").drop_vars(["frame_id", "timestamp", "flags"], errors="ignore")
        return change.assign_coords(t=change["t"] - 0.5)

    run = write_run()
    arrays = process(run, of(steps, Blockwise(halo_frames=1))).arrays()
    assert arrays["t"].values.tolist() == [number + 0.5 for number in range(9)]
    expected = np.diff(run.frames.mean(("y", "x")).to_numpy())
    np.testing.assert_allclose(arrays["frames"], expected, rtol=1e-6)


def test_lazy_tables_are_computed(write_run: WriteRun) -> None:
    """A Dask DataFrame is a table too."""

    def lazily(frames: xr.DataArray) -> Any:
        table = pd.DataFrame({"t": frames.t})
        return dask.dataframe.from_pandas(table, npartitions=2)  # type: ignore[no-untyped-call]

    assert process(write_run(), of(lazily)).table()["t"].tolist() == list(range(10))


def test_arrow_tables_are_tables(write_run: WriteRun) -> None:
    """A pyarrow Table is kept as it is."""
    result = process(write_run(), of(lambda frames: pa.table({"t": frames.t.to_numpy()})))
    assert result.table()["t"].tolist() == list(range(10))


def test_a_named_index_is_kept_as_a_column(write_run: WriteRun) -> None:
    """What was grouped by t still says what lies where; a count of rows is left out."""

    def grouped(frames: xr.DataArray) -> pd.DataFrame:
        table = pd.DataFrame({"t": np.repeat(frames.t, 2), "value": 1})
        return table.groupby("t").sum()

    halo = Blockwise(halo_frames=1)
    table = process(write_run(), of(grouped, halo)).table()
    assert table.columns.tolist() == ["t", "value"]
    assert table["t"].tolist() == list(range(10))
    bare = process(write_run("b"), of(lambda f: pd.DataFrame({"t": f.t})[::-1])).table()
    assert bare.columns.tolist() == ["t"]


def test_a_block_without_rows_is_a_part_too(write_run: WriteRun) -> None:
    """An empty table is a result: the types of its columns are kept."""

    def late(frames: xr.DataArray) -> pd.DataFrame:
        table = pd.DataFrame({"t": frames.t, "value": 0.5})
        return table[table.t >= 8]

    result = process(write_run(), of(late))
    assert [unit.rows for unit in result.done] == [0, 0, 2]
    assert result.table().dtypes.tolist() == [np.dtype("int64"), np.dtype("float64")]


def text_of(function: Callable[..., Any], needs: Needs | None, write_run: WriteRun) -> str:
    with pytest.raises(UnitsFailedError) as failed:
        process(write_run(), of(function, needs))
    message = str(failed.value)
    assert "\n" not in message
    return message


def without_t(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"frame": frames.t})


def partly_placed(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t.where(frames.t > 0)})


def shortened(frames: xr.DataArray) -> xr.DataArray:
    return xr.DataArray(frames.to_numpy()[1:, 0, 0], dims="t")


def mixed(frames: xr.DataArray) -> xr.Dataset:
    return xr.Dataset({"moving": frames, "still": frames.mean("t")})


def twice_named(frames: xr.DataArray) -> pa.Table:
    return pa.table([frames.t.to_numpy()] * 2, names=["t", "t"])


def of_two_levels(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({("t", ""): frames.t, ("mass", "mean"): 1.0})


def of_two_types(frames: xr.DataArray) -> pd.DataFrame:
    return pd.DataFrame({"t": frames.t, "kind": [1, "rod"] * (frames.sizes["t"] // 2)})


@pytest.mark.parametrize(
    ("function", "needs", "reason"),
    [
        (
            lambda frames: None,
            None,
            "tried-1.0.0 returned an object of the type NoneType; return an xarray",
        ),
        (
            lambda frames: frames.to_numpy(),
            None,
            "returned an object of the type ndarray; return an xarray",
        ),
        (lambda frames: pd.Series([1]), None, "returned an object of the type Series"),
        (lambda frames: frames.astype(object), None, "'frames' with the dtype object"),
        (without_t, Blockwise(halo_frames=1), "has no column 't'"),
        (without_t, None, "has no column 't'"),
        (
            lambda f: pd.DataFrame({"t": range(f.sizes["t"])}),
            None,
            "returned t = 0 for the frames 4 to 7: take 't' from the frames' own coordinate",
        ),
        (
            lambda f: f.assign_coords(t=range(f.sizes["t"])),
            None,
            "returned t = 0 for the frames 4 to 7",
        ),
        (partly_placed, Blockwise(halo_frames=1), "the column 't' .* is empty in some rows"),
        (lambda f: f.mean("t"), Blockwise(halo_frames=1), "have no axis 't', so that the halo"),
        (shortened, Blockwise(halo_frames=1), "has 4 values for 5 and no coordinate"),
        (shortened, None, "has 3 values for 4 and no coordinate"),
        (lambda f: f.assign_coords(t=f.timestamp), None, "'t' .* has the dtype datetime64"),
        (mixed, None, "still lack the axis 't' that others have"),
        (lambda f: f.mean("y"), Blockwise(tile_pixels=4, halo_pixels=1), "have no axis 'y'"),
        (lambda f: f.rename("a/b"), None, "a variable with the name 'a/b'; a name is a text"),
        (lambda f: f.rename("zarr.json"), None, "a variable with the name 'zarr.json'"),
        (lambda f: f.rename("__f"), None, "a variable with the name '__f'"),
        (lambda f: f.rename(".."), None, r"a variable with the name '\.\.'"),
        (lambda f: xr.Dataset({5: f}), None, "a variable with the name 5; a name is a text"),
        (lambda f: xr.Dataset(), None, "the Dataset that tried returned has no variables"),
        (lambda f: f.astype(np.longdouble), None, r"cannot be kept as Zarr \(.*float128"),
        (lambda f: f.assign_attrs(by=object()), None, "attributes that JSON can hold"),
        (
            lambda f: pd.DataFrame({"t": f.timestamp}),
            None,
            "column 't' .* has the dtype datetime64",
        ),
        (lambda f: pd.DataFrame({"t": f.t.astype(str)}), None, "'t' of .* has the dtype str"),
        (twice_named, None, "more than one column 't'; give each column a name of its own"),
        (of_two_levels, None, "have names of 2 levels; give each column one name"),
        (
            of_two_types,
            None,
            "cannot be kept as Parquet .*; give the values of each column one type",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_cannot_be_kept_is_named(
    write_run: WriteRun, function: Callable[..., Any], needs: Needs | None, reason: str
) -> None:
    """An output that cannot be a part fails its unit, and the message says what to return."""
    import re

    assert re.search(reason, text_of(function, needs, write_run))


@pytest.mark.parametrize("function", [of_two_types, lambda f: f.assign_attrs(by=object())])
def test_what_cannot_be_kept_fails_at_a_desk_too(
    write_run: WriteRun, function: Callable[..., Any]
) -> None:
    """Though nothing is written there."""
    with pytest.raises(OutputError, match="cannot be kept as"):
        reproduce(write_run().location, of(function)).compute()


def test_tables_are_not_read_as_arrays_nor_arrays_as_tables(write_run: WriteRun) -> None:
    """The other form is refused with the name of the right one."""
    table = process(write_run("a"), of(lambda frames: pd.DataFrame({"t": frames.t})))
    arrays = process(write_run("b"), of(lambda frames: frames))
    with pytest.raises(ResultFormError, match=r"use table\(\)"):
        table.arrays()
    with pytest.raises(ResultFormError, match=r"use arrays\(\)"):
        arrays.table()


def test_arrays_that_do_not_fit_together_are_read_one_by_one(write_run: WriteRun) -> None:
    """Where each block has a length of its own, only the parts can be read."""

    def bins(frames: xr.DataArray) -> xr.DataArray:
        count = int(frames.t[0]) + 2
        return xr.DataArray(np.zeros(count), dims="bin", coords={"bin": range(count)})

    result: Result = process(write_run(), of(bins))
    with pytest.raises(ResultFormError, match=r"read them one by one with parts\(\)"):
        result.arrays()
    assert [part.sizes["bin"] for part in result.parts() if isinstance(part, xr.Dataset)] == [
        2, 6, 10,
    ]  # fmt: skip


def test_a_missing_tile_is_never_filled_in(write_run: WriteRun) -> None:
    """A frame of which a tile failed is not put together with values that nobody computed."""

    def fails_in_a_corner(frames: xr.DataArray) -> xr.DataArray:
        if frames.t[0] == 4 and frames.y[0] == 4 and frames.x[0] == 4:
            raise ValueError("no")
        return frames

    run = write_run()
    algorithm = of(fails_in_a_corner, Blockwise(tile_pixels=4))
    with pytest.raises(UnitsFailedError, match="failed on 1 of 12 units"):
        process(run, algorithm)
    mended = of(lambda frames: frames, Blockwise(tile_pixels=4))
    whole = process(run, mended)
    damaged = Result(whole.path, whole.job, whole.units[:-1])
    with pytest.raises(ResultFormError, match="some tiles are missing"):
        damaged.arrays()


def test_a_whole_run_keeps_its_own_axes(write_run: WriteRun) -> None:
    """There is one part, so that nothing has to be said of where it lies."""
    arrays = process(write_run(), of(lambda frames: frames.mean("t"), WholeRun())).arrays()
    assert arrays["frames"].dims == ("y", "x")
