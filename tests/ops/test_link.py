"""Tracks: `link` and `mean_squared_displacement`."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import trackpy

from forebay.ops import OperationError, link, mean_squared_displacement
from forebay.ops.tracks.linking import assigned

DATA = Path(__file__).parents[2] / "examples" / "data"
# trackpy 0.7 uses what pandas 3 is about to drop.
old_pandas = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Keep trackpy from reporting each frame."""
    trackpy.quiet()


@pytest.fixture(scope="module")
def spheres() -> pd.DataFrame:
    """Give the particles of 64 real frames of diffusing spheres."""
    table = pd.read_csv(DATA / "bulk_water_trackpy.csv")
    frame = table["file"].str.extract(r"(\d+)\.png", expand=False).astype(int)
    return table[["y", "x", "mass"]].assign(t=frame)


def walkers(rng: np.random.Generator, count: int = 40, steps: int = 25) -> pd.DataFrame:
    """Return walks in a box, with some rows missing, and their true tracks."""
    start = rng.uniform(0, 60, (count, 1, 2))
    places = start + np.cumsum(rng.normal(0, 0.8, (count, steps, 2)), axis=1)
    walk, time = np.indices((count, steps)).reshape(2, -1)
    y, x = places.reshape(-1, 2).T
    table = pd.DataFrame({"t": time, "y": y, "x": x, "walk": walk})
    seen = table[rng.random(len(table)) > 0.08].sort_values("t", kind="stable")
    return seen.reset_index(drop=True)


def same_parts(one: Any, other: Any) -> bool:
    """Tell whether two columns part their rows alike, whatever the parts are called."""
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


@old_pandas
@pytest.mark.parametrize(("search_range", "memory"), [(2.0, 0), (3.5, 0), (3.0, 3)])
def test_tracks_are_trackpys(rng: np.random.Generator, search_range: float, memory: int) -> None:
    """Crowded walks with rows missing have the tracks that trackpy finds."""
    table = walkers(rng)

    ours = link(table, search_range=search_range, memory=memory).table

    theirs = trackpy.link(table.rename(columns={"t": "frame"}), search_range, memory=memory)
    assert same_parts(ours.track, theirs.particle.loc[ours.index])
    assert 40 < ours.track.nunique() < len(table) / 3


@old_pandas
def test_real_spheres_have_trackpys_tracks(spheres: pd.DataFrame) -> None:
    """64 frames with some 3700 particles have the same tracks."""
    ours = link(spheres, search_range=8, memory=2).table

    theirs = trackpy.link(spheres.rename(columns={"t": "frame"}), 8, memory=2)
    assert same_parts(ours.track, theirs.particle.loc[ours.index])
    assert ours.track.nunique() < len(ours) / 10


@pytest.mark.parametrize("blocks", [[1, 5, 6, 20], list(range(12))])
def test_block_by_block_the_tracks_are_the_same(
    rng: np.random.Generator, blocks: list[int]
) -> None:
    """Whatever the blocks, with the state stored between them, numbers are those of one call."""
    table = walkers(rng)
    whole = link(table, search_range=3, memory=2)

    parts: list[pd.DataFrame] = []
    state = None
    for start, stop in zip([0, *blocks], [*blocks, 25], strict=True):
        part = table[(table.t >= start) & (table.t < stop)]
        linked, state = link(part, search_range=3, memory=2, state=state)
        parts.append(linked)
        stored = BytesIO()
        state.to_parquet(stored)
        state = pd.read_parquet(stored)

    pd.testing.assert_frame_equal(pd.concat(parts), whole.table)
    assert state is not None
    pd.testing.assert_frame_equal(state, whole.state)


def test_numbers_go_on_when_the_newest_track_has_ended() -> None:
    """The state keeps the highest number, also through blocks in which nothing is left of it."""
    table = pd.DataFrame({"t": [0, 0, 1, 2, 3, 9], "y": [0.0, 50, 0, 0, 0, 0], "x": 0.0})
    whole = link(table, search_range=1).table.track.tolist()

    state, tracks = None, []
    for row in range(1, 7):
        part = table[row - 1 : row] if row > 2 else table[:2] if row == 1 else table[:0]
        linked, state = link(part, search_range=1, state=state)
        tracks += linked.track.tolist()

    assert tracks == whole == [0, 1, 0, 0, 0, 2]
    assert state is not None
    assert state.track.tolist() == [2]


def test_memory_counts_the_frames_between() -> None:
    """A particle may be unseen through as many frames as said, and not through one more."""
    for interval in (1.0, 0.25):
        table = pd.DataFrame({"t": interval * np.array([0, 1, 4]), "y": 0.0, "x": [0.0, 0.1, 0.2]})
        for memory, expected in ((1, [0, 0, 1]), (2, [0, 0, 0])):
            linked = link(table, search_range=1, memory=memory, interval=interval).table
            assert linked.track.tolist() == expected


def test_the_order_of_rows_does_not_matter(rng: np.random.Generator) -> None:
    """Shuffled rows keep their index and columns, and have the same tracks but for the numbers."""
    table = walkers(rng)
    shuffled = table.sample(frac=1, random_state=2)

    linked = link(shuffled, search_range=3).table

    assert linked.index.equals(shuffled.index)
    assert list(linked.columns) == ["t", "y", "x", "walk", "track"]
    assert same_parts(linked.track.sort_index(), link(table, search_range=3).table.track)


def test_the_links_cost_least(rng: np.random.Generator) -> None:
    """Of all ways to link a few points, tried one by one, none costs less."""

    def least(one: npt.NDArray[Any], other: npt.NDArray[Any], used: frozenset[int]) -> float:
        if not len(one):
            return 0.0
        ways = [4.0 + least(one[1:], other, used)]
        for index, point in enumerate(other):
            squared = float(((one[0] - point) ** 2).sum())
            if index not in used and squared <= 4.0:
                ways.append(squared + least(one[1:], other, used | {index}))
        return min(ways)

    for _ in range(10):
        one, other = rng.uniform(0, 4, (5, 2)), rng.uniform(0, 4, (4, 2))
        before, after = assigned(one, other, 2.0)
        cost = ((one[before] - other[after]) ** 2).sum() + 4.0 * (5 - before.size)
        assert cost == pytest.approx(least(one, other, frozenset()))
        assert len(set(after)) == after.size


def test_there_may_be_nothing_to_link() -> None:
    """A table without rows begins no track, and keeps the state as it is."""
    empty = pd.DataFrame({"t": np.empty(0, int), "y": np.empty(0), "x": np.empty(0)})
    one = pd.DataFrame({"t": [3], "y": [1.0], "x": [2.0]})

    linked, state = link(empty, search_range=1)
    assert len(linked) == len(state) == 0
    _, state = link(one, search_range=1, state=state)
    linked, after = link(empty, search_range=1, state=state)
    pd.testing.assert_frame_equal(after, state)
    assert np.isnan(mean_squared_displacement(linked, max_lag=2)).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"search_range": 0}, "search_range is 0"),
        ({}, {"memory": -1}, "memory is -1"),
        ({}, {"interval": 0}, "interval is 0"),
        ({}, {"places": ("y", "z")}, "but 'z' is needed"),
        ({}, {"places": ()}, "places is empty"),
        ({"y": np.nan}, {}, "'y' of table must hold finite numbers"),
        ({"t": pd.to_datetime(["2026-01-01"])}, {}, "'t' of table must hold finite numbers"),
        ({"t": [[0.0, 0.4]]}, {}, "no whole number of intervals"),
    ],
)
def test_what_cannot_be_linked_is_refused(
    change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    """A parameter or table that does not fit is named in the error."""
    table = pd.DataFrame({"t": [0.0], "y": [1.0], "x": [2.0]}).assign(
        **{name: value for name, value in change.items() if not isinstance(value, list)}
    )
    if isinstance(change.get("t"), list):
        table = pd.DataFrame({"t": change["t"][0], "y": 1.0, "x": [2.0, 3.0]})
    given: dict[str, Any] = {"search_range": 1, **options}
    with pytest.raises(OperationError, match=message):
        link(table, **given)


def test_blocks_come_in_their_order() -> None:
    """A block that is not after those before is refused, and so is another kind of table."""
    table = pd.DataFrame({"t": [0, 1], "y": 1.0, "x": 2.0})
    _, state = link(table, search_range=1)

    with pytest.raises(OperationError, match="state has seen frame 1; link the blocks in"):
        link(table, search_range=1, state=state)
    with pytest.raises(OperationError, match="table is a list"):
        link([], search_range=1)  # type: ignore[arg-type]


@old_pandas
def test_displacements_are_trackpys(rng: np.random.Generator) -> None:
    """Of tracks without gaps the mean over all, and of each track, is that of trackpy."""
    whole = full_walks(rng)

    ours = mean_squared_displacement(whole, max_lag=8)
    apart = mean_squared_displacement(whole, max_lag=8, per_track=True)

    theirs = whole.rename(columns={"t": "frame", "track": "particle"})
    mean = trackpy.emsd(theirs, mpp=1, fps=1, max_lagtime=8)
    np.testing.assert_allclose(ours, mean.to_numpy(), rtol=1e-9)
    for number in (0, 3):
        alone = trackpy.msd(theirs[theirs.particle == number], mpp=1, fps=1, max_lagtime=8)
        np.testing.assert_allclose(apart.sel(track=number), alone.msd, rtol=1e-9)
    assert ours.pairs.values.tolist() == [6 * (30 - lag) for lag in range(1, 9)]


def full_walks(rng: np.random.Generator) -> pd.DataFrame:
    """Return six walks of thirty steps without gaps."""
    places = np.cumsum(rng.normal(size=(6, 30, 2)), axis=1).reshape(-1, 2)
    track, time = np.indices((6, 30)).reshape(2, -1)
    return pd.DataFrame({"track": track, "t": time, "y": places[:, 0], "x": places[:, 1]})


def test_displacements_over_gaps_are_counted_pair_by_pair(rng: np.random.Generator) -> None:
    """A plain loop over all pairs of rows gives the same means, in any unit of time."""
    table = (
        walkers(rng, count=6).rename(columns={"walk": "track"}).assign(t=lambda all_: all_.t / 4)
    )

    found = mean_squared_displacement(
        table.sample(frac=1, random_state=3), max_lag=5, interval=0.25
    )

    squares: dict[float, list[float]] = {0.25 * lag: [] for lag in range(1, 6)}
    for _, rows in table.groupby("track"):
        for one in rows[["t", "y", "x"]].to_numpy():
            for other in rows[["t", "y", "x"]].to_numpy():
                if (lag := float(other[0] - one[0])) in squares:
                    squares[lag].append(float(((other - one)[1:] ** 2).sum()))
    assert found.lag.values.tolist() == list(squares)
    np.testing.assert_allclose(found, [np.mean(each) for each in squares.values()])
    assert found.pairs.values.tolist() == [len(each) for each in squares.values()]


def test_diffusion_shows_its_constant(rng: np.random.Generator) -> None:
    """Of a walk of standard deviation s along each axis the mean square grows by 2 s² a step."""
    places = np.cumsum(rng.normal(0, 0.5, (200, 100, 2)), axis=1)
    track, time = np.indices((200, 100)).reshape(2, -1)
    y, x = places.reshape(-1, 2).T

    found = mean_squared_displacement(
        pd.DataFrame({"track": track, "t": time, "y": y, "x": x}), max_lag=10
    )

    np.testing.assert_allclose(found / found.lag, 0.5, rtol=0.04)


def test_a_track_is_once_in_a_frame() -> None:
    """Two rows of a track in one frame are refused."""
    table = pd.DataFrame({"track": [1, 1], "t": [0, 0], "y": 1.0, "x": 2.0})
    with pytest.raises(OperationError, match="two rows in the same frame"):
        mean_squared_displacement(table)
