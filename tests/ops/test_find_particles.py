"""Tables of particles: `find_particles`."""

from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import trackpy
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.ops import OperationError, find_particles, match_points
from forebay.ops.particles import table as table_module

trackpy.quiet()
CENTRES = np.array([[20.0, 20.0], [20.3, 52.7], [51.6, 19.6], [52.45, 53.2]])


def find(frames: xr.DataArray, **options: Any) -> pd.DataFrame:
    """Return the table of eager frames."""
    found = find_particles(frames, **options)
    assert isinstance(found, pd.DataFrame)
    return found


def rows(table: pd.DataFrame | dd.DataFrame) -> pd.DataFrame:
    """Return the rows of a lazy table."""
    assert isinstance(table, dd.DataFrame)
    computed: pd.DataFrame = table.compute()  # type: ignore[no-untyped-call]
    return computed


def spots(
    centres: Any = CENTRES,
    *,
    sigma: float = 2.0,
    height: float = 150.0,
    ground: float = 50.0,
    shape: tuple[int, int] = (72, 76),
) -> xr.DataArray:
    """Return one float64 frame with a round Gaussian spot at each centre."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    values = np.full(shape, float(ground))
    for at_y, at_x in np.asarray(centres):
        values += height * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * sigma**2))
    return xr.DataArray(values, dims=("y", "x"))


def movie(frames: int = 7) -> xr.DataArray:
    """Return uint8 frames in which the spots drift, noise included."""
    noise = np.random.default_rng(5).normal(0, 2, (frames, 72, 76))
    values = np.stack([spots(CENTRES + 0.7 * t) for t in range(frames)]) + noise
    return xr.DataArray(
        values.clip(0, 255).astype(np.uint8),
        dims=("t", "y", "x"),
        coords={"t": 0.5 * np.arange(frames)},
    )


def test_spots_are_found_where_they_are() -> None:
    """In a clean float frame every spot is found within a fiftieth of a pixel, and nothing else."""
    found = find(spots(), diameter=11, minmass=10)

    matches = match_points(found[["y", "x"]], CENTRES, distance=0.02)
    assert len(matches.found) == len(found) == len(CENTRES)


@given(
    y=st.floats(20, 21), x=st.floats(20, 21), sigma=st.floats(1.2, 2.2), height=st.floats(20, 1e4)
)
@settings(deadline=None, max_examples=50)
def test_a_spot_is_found_at_any_place_width_and_height(
    y: float, x: float, sigma: float, height: float
) -> None:
    """The centre of one clean spot is right within 0.05 pixels, whatever its subpixel place."""
    frame = spots([[y, x]], sigma=sigma, height=height, shape=(41, 41))

    found = find(frame, diameter=13, minmass=height)

    assert len(found) == 1
    assert np.hypot(found.y[0] - y, found.x[0] - x) < 0.05


def test_flipping_the_frame_flips_the_centres() -> None:
    """Neither direction is preferred: a mirrored or transposed frame gives mirrored centres."""
    frame = spots()
    found = find(frame, diameter=11, minmass=10)[["y", "x"]].to_numpy()

    mirrored = find(frame[::-1], diameter=11, minmass=10)[["y", "x"]].to_numpy()
    turned = find(frame.T.rename(x="y", y="x"), diameter=11, minmass=10)

    assert len(match_points(mirrored, [71, 0] + [-1, 1] * found, distance=1e-3).found) == 4
    assert len(match_points(turned[["x", "y"]], found, distance=1e-3).found) == 4


def test_dark_particles_are_bright_ones_inverted() -> None:
    """With invert=True a dark spot gives the row that a bright one of the same depth gives."""
    bright = movie()

    dark = find(255 - bright, diameter=11, minmass=100, invert=True)

    pd.testing.assert_frame_equal(dark, find(bright, diameter=11, minmass=100))
    halos = find(spots(height=-40), diameter=11)
    assert len(match_points(halos[["y", "x"]], CENTRES, distance=3).found) == 0


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "options", [{}, {"separation": 8}, {"percentile": 90}, {"max_iterations": 1}, {"threshold": 9}]
)
def test_integer_frames_give_trackpys_rows(dtype: str, options: dict[str, Any]) -> None:
    """Away from the edge, integer frames give the rows of trackpy.locate, to float32.

    Eccentricity aside, where trackpy counts the middle pixel as if it had a direction.
    """
    frame = movie(1)[0].astype(dtype) * (1 if dtype == "uint8" else 100)

    ours = find(frame.drop_vars("t"), diameter=11, minmass=50, **options)
    theirs = trackpy.locate(frame.values, 11, minmass=50, **options)

    inside = theirs[theirs.y.between(10, 61) & theirs.x.between(10, 65)]
    matches = match_points(ours[["y", "x"]], inside[["y", "x"]], distance=0.01)
    assert len(matches.truth) == len(inside) >= 4
    columns = ["y", "x", "mass", "size", "signal"]
    np.testing.assert_allclose(
        ours[columns].to_numpy()[matches.found],
        inside[columns].to_numpy()[matches.truth],
        # A pixel that float32 puts on the other side of a whole number changes by one step.
        rtol=2e-4,
    )


def test_float_masses_are_smaller_by_the_rounding() -> None:
    """Without whole-number steps a mass is smaller by 0.4 to 0.9 counts a pixel of the disk."""
    frames = movie()
    whole = find(frames, diameter=11, minmass=500)
    real = find(frames.astype("float32"), diameter=11, minmass=500)

    matches = match_points(whole[["t", "y", "x"]], real[["t", "y", "x"]], distance=0.2)

    assert len(matches.found) == len(whole) == len(real) == 28
    lost = whole.mass.to_numpy()[matches.found] - real.mass.to_numpy()[matches.truth]
    assert 0.4 < np.median(lost) / 81 < 0.9


def test_size_is_the_radius_of_gyration() -> None:
    """A Gaussian of width σ has the radius √2 σ, where the background is taken from far around."""
    frame = spots([[40, 40]], sigma=1.5, shape=(81, 81))

    found = find(frame, diameter=13, noise_sigma=0, window=61, threshold=0.7, minmass=10)

    np.testing.assert_allclose(found["size"], np.sqrt(2) * 1.5, rtol=0.05)


def test_eccentricity_tells_lines_from_spots() -> None:
    """A round spot has nearly none, an elongated one has much, whichever way it lies."""
    y, x = np.ogrid[:64, :64]
    round_spot = np.exp(-((y - 16) ** 2 + (x - 16) ** 2) / 8)
    along_x = np.exp(-(((y - 16) / 1.2) ** 2 + ((x - 46) / 3) ** 2) / 2)
    slanted = np.exp(-(((y - 46 + x - 31) / 1.7) ** 2 + ((y - 46 - x + 31) / 4.2) ** 2) / 2)
    frame = xr.DataArray(200 * (round_spot + along_x + slanted), dims=("y", "x"))

    found = find(frame, diameter=11, minmass=200).sort_values("eccentricity")

    assert found.y.round().tolist()[0] == found.x.round().tolist()[0] == 16
    assert found.eccentricity.iloc[0] < 1e-3
    assert len(found) == 3
    assert (found.eccentricity.iloc[1:] > 0.3).all()


def test_of_two_near_particles_the_brighter_is_kept() -> None:
    """Nearer than `separation` only the more massive one is left; at that distance, both."""
    pair = spots([[30, 25], [30, 34]]) + spots([[30, 34]], height=30, ground=0)

    assert len(find(pair, diameter=7, separation=8, minmass=10)) == 2
    kept = find(pair, diameter=7, separation=10, minmass=10)
    assert len(kept) == 1
    assert kept.x[0] == pytest.approx(34, abs=0.5)


def test_flat_tops_are_one_particle() -> None:
    """A saturated plateau, each pixel of which is a maximum, gives one row in its middle."""
    frame = xr.DataArray(np.zeros((40, 40), np.uint8), dims=("y", "x"))
    frame[18:23, 17:22] = 255

    found = find(frame, diameter=11, minmass=10)

    assert found[["y", "x"]].round(6).to_numpy().tolist() == [[20, 19]]


def test_minmass_is_what_is_left_out() -> None:
    """Particles of that mass or less are gone, those above stay as they were."""
    everything = find(movie(), diameter=11)
    limit = float(everything.mass.sort_values().iloc[-10])

    bright = find(movie(), diameter=11, minmass=limit)

    expected = everything[everything.mass > limit].reset_index(drop=True)
    pd.testing.assert_frame_equal(bright, expected)
    assert len(bright) == 9


def test_nothing_is_found_where_nothing_is() -> None:
    """Empty and even frames give an empty table with all its columns, and no warning."""
    for value in (0, 7, 255):
        frames = xr.DataArray(np.full((2, 40, 40), value, np.uint8), dims=("t", "y", "x"))
        found = find(frames, diameter=7)
        assert len(found) == 0
        assert list(found.columns) == ["t", "y", "x", "mass", "size", "eccentricity", "signal"]
        assert (found.dtypes.iloc[1:] == np.float64).all()


def test_no_particle_is_cut_by_the_edge() -> None:
    """Masks lie inside the frame: no centre is nearer to an edge than half a diameter, less 0.6."""
    noise = np.random.default_rng(1).integers(0, 255, (4, 50, 60), dtype=np.uint8)

    found = find(xr.DataArray(noise, dims=("t", "y", "x")), diameter=9)

    assert len(found) > 20
    assert found.y.between(4 - 0.6, 45 + 0.6).all()
    assert found.x.between(4 - 0.6, 55 + 0.6).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_unknown_pixels_neither_make_nor_bend_particles(bad: float) -> None:
    """Around a NaN or infinite pixel nothing is found, and what is found elsewhere is unchanged."""
    centres = [[16, 16], [16, 50], [50, 16]]
    clean = spots(centres).expand_dims(t=2)
    broken = clean.copy(deep=True)
    broken[0, 16, 58] = bad  # near the second spot, whose mask it would cut
    broken[0, 52, 52] = bad  # where no spot is

    found = find(broken, diameter=11, minmass=10)

    expected = find(clean, diameter=11, minmass=10)
    assert len(expected) == 6
    pd.testing.assert_frame_equal(
        found, expected[~((expected.t == 0) & (expected.x > 40))].reset_index(drop=True)
    )


def test_leading_dimensions_become_columns() -> None:
    """Coordinates of the leading dimensions are columns; without any there is the index."""
    frames = xr.concat([movie(), movie()], dim="c").assign_coords(c=["red", "blue"])
    found = find(frames.transpose("y", "c", "x", "t"), diameter=11, minmass=500)

    assert list(found.columns[:2]) == ["c", "t"]
    assert set(found.c) == {"red", "blue"}
    assert set(found.t) == set(0.5 * np.arange(7))
    assert set(find(movie().drop_vars("t"), diameter=11, minmass=500).t) == set(range(7))
    assert list(find(movie()[0].drop_vars("t"), diameter=11).columns[:2]) == ["y", "x"]


@pytest.mark.parametrize("chunks", [{"t": 3}, {"t": (1, 4, 2), "y": 30, "x": (7, 60, 9)}])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_lazy_is_eager(chunks: dict[str, Any], dtype: str) -> None:
    """Dask-backed frames, however they are cut, give the same rows in the same order."""
    frames = movie().astype(dtype)
    frames.coords["frame_id"] = ("t", np.arange(7))

    lazy = find_particles(frames.chunk(chunks), diameter=11, minmass=50)

    eager = find(frames, diameter=11, minmass=50)
    pd.testing.assert_frame_equal(rows(lazy).reset_index(drop=True), eager)
    empty: pd.DataFrame = lazy._meta  # type: ignore[assignment]
    pd.testing.assert_frame_equal(empty, eager.iloc[:0], check_index_type=False)


def test_lazy_is_eager_for_several_leading_dimensions() -> None:
    """Chunks along two leading dimensions give the eager rows, in an order of their own."""
    frames = xr.concat([movie(), movie() // 2], dim="c").assign_coords(c=["red", "blue"])

    lazy = find_particles(frames.chunk({"c": 1, "t": 4}), diameter=11, minmass=50)

    eager = find(frames, diameter=11, minmass=50)
    order = ["c", "t", "y", "x"]
    pd.testing.assert_frame_equal(
        rows(lazy).sort_values(order, ignore_index=True),
        eager.sort_values(order, ignore_index=True),
    )
    assert lazy.npartitions == 4


def test_a_lazy_frame_without_leading_dimensions() -> None:
    """A single Dask-backed frame gives a table of one partition."""
    frame = movie()[3].drop_vars("t")

    lazy = find_particles(frame.chunk({"y": 20}), diameter=11)

    pd.testing.assert_frame_equal(rows(lazy), find(frame, diameter=11))


def test_nothing_is_computed_while_the_graph_is_built() -> None:
    """The lazy table is built without running a task, with one partition a chunk."""

    def no_scheduler(*_: Any, **__: Any) -> None:
        raise AssertionError("something was computed while the graph was built")

    with dask.config.set(scheduler=no_scheduler):
        lazy = find_particles(movie().chunk({"t": 3}), diameter=11)

    assert lazy.npartitions == 3


def test_frames_are_worked_on_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many frames are taken together changes the memory that is needed, not one row."""
    expected = find(movie(), diameter=11)

    for pixels in (1, 2 * 72 * 76, 5 * 72 * 76):
        monkeypatch.setattr(table_module, "GROUP_PIXELS", pixels)
        pd.testing.assert_frame_equal(find(movie(), diameter=11), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("broken", [False, True])
def test_it_is_the_same_in_each_library(xp: Any, dtype: str, broken: bool) -> None:
    """The table of a block is the one that NumPy gives, whatever device the block is on."""
    values = movie(3).values.astype(dtype)
    if broken and dtype != "uint8":
        values[1, 20, 20] = np.nan
    search = table_module.Search(
        diameter=11,
        minmass=50,
        separation=12,
        percentile=64,
        invert=False,
        noise_sigma=1,
        window=11,
        threshold=1,
        max_iterations=10,
        gamut=255.0 if dtype == "uint8" else None,
        margin=5,
        peak_window=16,
    )
    labels = [np.array([10, 11, 12])]

    found = table_module.particle_table(xp.array(values), ["t"], labels, search)

    expected = table_module.particle_table(values, ["t"], labels, search)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-5)
    assert len(found) > 10


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"diameter": 10}, "diameter is 10, but must be an odd whole number"),
        ({"diameter": 1}, "diameter is 1,"),
        ({"diameter": 11.0}, "diameter is 11.0"),
        ({"diameter": 99}, "frames has 72 pixels along 'y', but diameter=99"),
        ({"minmass": -1}, "minmass is -1"),
        ({"minmass": None}, "minmass is None"),
        ({"separation": 0}, "separation is 0"),
        ({"percentile": 101}, "percentile is 101, but must be .* at most 100"),
        ({"invert": "yes"}, "invert is 'yes'"),
        ({"noise_sigma": -0.1}, "noise_sigma is -0.1"),
        ({"noise_sigma": 11}, "noise_sigma is 11, but must be below the window"),
        ({"window": 8}, "window is 8, but must be an odd whole number"),
        ({"window": 75}, "frames has 72 pixels along 'y', but diameter=11 with window=75"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"max_iterations": 0}, "max_iterations is 0"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    """A parameter out of its range is named in the error, with its value and what is allowed."""
    with pytest.raises(OperationError, match=message) as caught:
        find(movie(), **({"diameter": 11} | parameters))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames.rename(y="row"), "'y' is needed"),
        (lambda frames: frames.rename(t="mass"), "a dimension 'mass', which is a column"),
        (lambda frames: frames > 0, "is of dtype bool"),
        (lambda frames: frames[:0], "is empty"),
        (lambda frames: frames.values, "is a ndarray"),
    ],
)
def test_frames_that_cannot_be_searched_are_refused(change: Any, message: str) -> None:
    """What has no y and x, or no name left for a column, is refused with the reason."""
    with pytest.raises(OperationError, match=message):
        find(change(movie()), diameter=11)
