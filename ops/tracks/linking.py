"""Which particle of one frame is which of the next."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from forebay.ops._checks import check_number, check_whole
from forebay.ops.errors import OperationError

TRACK = "track"
JITTER = 0.01
"""Frames are whole numbers of the interval apart, within this part of it."""


class Linked(NamedTuple):
    """Tracks so far, and what is needed to go on."""

    table: pd.DataFrame
    """The rows given, with the column ``track``."""
    state: pd.DataFrame
    """What the next call needs; a plain table that any format stores."""


def link(
    table: pd.DataFrame,
    *,
    search_range: float,
    memory: int = 0,
    interval: float = 1.0,
    state: pd.DataFrame | None = None,
    frame: str = "t",
    places: Sequence[str] = ("y", "x"),
) -> Linked:
    """Give each particle the number of its track.

    Parameters
    ----------
    table
        A row a particle, in any order, such as `find_particles` and `find_blobs` give.
    search_range
        No particle moves further than this from one frame to the next in which it is seen, in the
        unit of `places`. Well below their distance from each other.
    memory
        Through how many frames a particle may be unseen and still be the same. It is looked for
        where it was seen last.
    interval
        Time between frames, in the unit of the column `frame`; 1 where that counts frames.
    state
        What the call for the frames before gave; None begins. Frames given block by block, in
        order, with the state of each call passed to the next, have the same tracks as all at
        once.
    frame
        The column that says which frame.
    places
        The columns that say where.

    Returns
    -------
    Linked
        ``table``: the rows of `table`, as they are, with the column ``track``, int64: numbers
        from 0, in the order in which tracks begin, and within a frame in the order of rows.
        ``state``: the columns ``track``, `frame` and `places` of the last row of each track that
        can still go on, and of the track with the highest number.

    Raises
    ------
    OperationError
        If a column is missing, a value in one is not finite, a parameter is out of range, frames
        are no whole number of intervals apart, or come before those of `state`.

    Notes
    -----
    Of all ways to link the particles of a frame to those before, that with the least sum of
    squared distances is taken, where one that is not continued costs ``search_range ** 2``:
    J. C. Crocker and D. G. Grier, J. Colloid Interface Sci. 179, 298 (1996), with the
    assignment solved by ``scipy.optimize.linear_sum_assignment``, apart for each set of particles
    that can reach each other. Those are the tracks of trackpy's `link` with its default options,
    but where two ways cost the same.

    A dense matrix of a whole set is held, in float64: choose `search_range` so that sets stay in
    the hundreds. Beside that, twice the table is needed as scratch. A state has a row for each track
    that can still go on, however many frames there were.

    A row whose place is NaN is refused.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"t": [0, 0, 1, 1, 2], "y": [1, 9, 9, 1, 1], "x": [1, 1, 2, 2, 3.0]})
    >>> link(table, search_range=2).table.track.tolist()
    [0, 1, 1, 0, 0]
    >>> first, state = link(table[:2], search_range=2)
    >>> link(table[2:], search_range=2, state=state).table.track.tolist()
    [1, 0, 0]
    """
    reach = check_number("search_range", search_range, above=0)
    check_whole("memory", memory, least=0)
    step = check_number("interval", interval, above=0)
    if not places:
        raise OperationError("places is empty, but must name the columns that say where")
    columns = [frame, *places]
    check_table(table, columns, "table")
    if state is None:
        state = table.iloc[:0][columns].assign(**{TRACK: np.empty(0, np.int64)})
    check_table(state, [TRACK, *columns], "state")
    times = table[frame].to_numpy(np.float64)
    points = table[list(places)].to_numpy(np.float64)
    chain = Chain(
        track=state[TRACK].to_numpy(np.int64),
        time=state[frame].to_numpy(np.float64),
        place=state[list(places)].to_numpy(np.float64),
        begun=int(state[TRACK].max()) + 1 if len(state) else 0,
    )
    check_times(times, chain.time, step)
    tracks = np.empty(len(table), np.int64)
    order = np.argsort(times, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(times[order]) > step / 2) + 1):
        if rows.size:
            chain, tracks[rows] = extended(
                chain, float(times[rows[0]]), points[rows], reach, (memory + 1.5) * step
            )
    result = table.drop(columns=TRACK, errors="ignore").assign(**{TRACK: tracks})
    return Linked(result, as_state(chain, table, columns))


class Chain(NamedTuple):
    """The last row of each track that may go on."""

    track: npt.NDArray[np.int64]
    """Its number."""
    time: npt.NDArray[np.float64]
    """Of its last row."""
    place: npt.NDArray[np.float64]
    """Of its last row, (tracks, d)."""
    begun: int
    """How many tracks there have been."""


def extended(
    chain: Chain, time: float, points: npt.NDArray[np.float64], reach: float, longest: float
) -> tuple[Chain, npt.NDArray[np.int64]]:
    """Return `chain` with the particles of one frame more, and the track of each.

    Tracks that were seen `longest` ago, or longer, are ended.
    """
    recent = np.flatnonzero(time - chain.time < longest)
    before, after = assigned(chain.place[recent], points, reach)
    tracks = np.full(len(points), -1, np.int64)
    tracks[after] = chain.track[recent[before]]
    new = np.flatnonzero(tracks < 0)
    tracks[new] = chain.begun + np.arange(new.size)
    unseen = np.delete(recent, before)
    numbers = np.concatenate([chain.track[unseen], tracks])
    times = np.concatenate([chain.time[unseen], np.full(len(points), time)])
    where = np.concatenate([chain.place[unseen], points])
    order = np.argsort(numbers)
    grown = Chain(numbers[order], times[order], where[order], chain.begun + new.size)
    return with_newest(grown, chain), tracks


def with_newest(grown: Chain, chain: Chain) -> Chain:
    """Return `grown` with the newest track of `chain`, ended or not: its number is needed."""
    newest = chain.begun - 1
    if grown.begun > chain.begun or newest < 0 or (grown.track == newest).any():
        return grown
    at = chain.track == newest
    return Chain(
        np.concatenate([grown.track, chain.track[at]]),
        np.concatenate([grown.time, chain.time[at]]),
        np.concatenate([grown.place, chain.place[at]]),
        grown.begun,
    )


def assigned(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], reach: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which points of `one` go on as which of `other`, at the least cost."""
    none = np.empty(0, np.intp)
    if not len(one) or not len(other):
        return none, none
    near = cKDTree(other).query_ball_point(one, reach)
    first = np.repeat(np.arange(len(one)), [len(each) for each in near])
    second = np.concatenate([np.sort(np.asarray(each, dtype=np.intp)) for each in near])
    cost = ((one[first] - other[second]) ** 2).sum(axis=-1)
    size = len(one) + len(other)
    graph = coo_array((np.ones(first.size), (first, len(one) + second)), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group[first], kind="stable")
    sets = np.split(order, np.flatnonzero(np.diff(group[first][order])) + 1)
    taken = np.concatenate([cheapest(first, second, cost, each, reach**2) for each in sets])
    return first[taken], second[taken]


def cheapest(
    first: npt.NDArray[np.intp],
    second: npt.NDArray[np.intp],
    cost: npt.NDArray[np.float64],
    members: npt.NDArray[np.intp],
    ending: float,
) -> npt.NDArray[np.intp]:
    """Return which of the possible links of a set to take, where `ending` a track has a cost."""
    if members.size <= 1:
        return members
    rows, row = np.unique(first[members], return_inverse=True)
    columns, column = np.unique(second[members], return_inverse=True)
    # Each track has a column of its own for its end; what is not possible costs more than all ends.
    matrix = np.full((rows.size, columns.size + rows.size), (rows.size + 1) * 2 * ending)
    matrix[row, column] = cost[members]
    matrix[np.arange(rows.size), columns.size + np.arange(rows.size)] = ending
    links = np.full(matrix.shape, -1, np.intp)
    links[row, column] = members
    taken: npt.NDArray[np.intp] = links[linear_sum_assignment(matrix)]
    return taken[taken >= 0]


def as_state(chain: Chain, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return `chain` as a table with the dtypes of `table`."""
    values: dict[str, Any] = {TRACK: chain.track, columns[0]: chain.time}
    values |= dict(zip(columns[1:], chain.place.T, strict=True))
    return pd.DataFrame(values).astype({columns[0]: table[columns[0]].dtype})


def check_table(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Raise `OperationError` unless `table` has `columns` of finite numbers."""
    if not isinstance(table, pd.DataFrame):
        raise OperationError(
            f"{name} is a {type(table).__name__}, but must be a pandas.DataFrame; link a Dask "
            "table partition by partition, with the state of each call passed to the next"
        )
    for column in columns:
        if column not in table.columns:
            raise OperationError(
                f"{name} has the columns {list(table.columns)}, but {column!r} is needed"
            )
        if table[column].dtype.kind not in "iuf" or not np.isfinite(table[column]).all():
            raise OperationError(
                f"the column {column!r} of {name} must hold finite numbers; drop other rows, and "
                "turn times into numbers"
            )


def check_times(
    times: npt.NDArray[np.float64], before: npt.NDArray[np.float64], interval: float
) -> None:
    """Raise `OperationError` unless `times` come after `before`, whole intervals apart."""
    if not times.size:
        return
    if before.size and times.min() <= before.max():
        raise OperationError(
            f"table begins with the frame {times.min():g}, but state has seen frame "
            f"{before.max():g}; link the blocks in their order"
        )
    steps = (times - (before.max() if before.size else times.min())) / interval
    off = np.abs(steps - np.rint(steps))
    if off.max() > JITTER:
        raise OperationError(
            f"table has a frame at {times[off.argmax()]:g}, which is no whole number of intervals "
            f"of {interval:g} from the others; say what the interval between frames is"
        )
