"""Which points of one set are which of another."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from forebay.ops._checks import check_number
from forebay.ops.errors import OperationError


class Matches(NamedTuple):
    """Pairs of points: three arrays of the same length."""

    found: np.ndarray[tuple[int], np.dtype[np.intp]]
    """Index into the points found, ascending."""
    truth: np.ndarray[tuple[int], np.dtype[np.intp]]
    """Index into the true points."""
    distance: np.ndarray[tuple[int], np.dtype[np.float64]]
    """How far apart the two are, in the unit of the points."""


def match_points(found: ArrayLike, truth: ArrayLike, *, distance: float) -> Matches:
    """Pair up two sets of points: as many pairs as can be, and of those the nearest.

    Parameters
    ----------
    found, truth : (n, d) and (m, d)
        Points in d dimensions, on the host.
    distance
        No pair is further apart than this.

    Returns
    -------
    Matches
        Each point is in one pair at most. ``len(matches.found) / n`` is the precision and
        ``/ m`` the recall.

    Raises
    ------
    OperationError
        If the shapes do not fit, a point is not finite, or `distance` is not positive.

    Notes
    -----
    Points that can reach each other through a chain of possible pairs are assigned together, as
    a dense matrix of found by true points: choose `distance` below the spacing of the points, or
    that matrix is the whole set's. The assignment is scipy's (Crouse, IEEE Trans. Aerosp.
    Electron. Syst. 52, 1679 (2016)).

    A NaN among the places is refused.

    Examples
    --------
    >>> matches = match_points([[0.0, 1.0], [9.0, 9.0]], [[5.0, 5.0], [0.0, 1.1]], distance=0.5)
    >>> matches.found.tolist(), matches.truth.tolist(), matches.distance.round(3).tolist()
    ([0], [1], [0.1])
    """
    limit = check_number("distance", distance, above=0)
    ours, theirs = as_points(found, "found"), as_points(truth, "truth")
    if ours.size and theirs.size and ours.shape[1] != theirs.shape[1]:
        raise OperationError(
            f"found has {ours.shape[1]} dimensions and truth {theirs.shape[1]}, but must have "
            "the same; select the same columns of both"
        )
    if not ours.size or not theirs.size:
        return Matches(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))
    near = cKDTree(ours).query_ball_point(theirs, limit)
    other = np.repeat(np.arange(len(theirs)), [len(each) for each in near])
    one = np.concatenate([np.asarray(each, dtype=np.intp) for each in near])
    apart = np.linalg.norm(ours[one] - theirs[other], axis=-1)
    chosen = assign(one, other, apart, len(ours), len(theirs), limit)
    chosen = chosen[np.argsort(one[chosen], kind="stable")]
    return Matches(one[chosen], other[chosen], apart[chosen])


def assign(
    one: np.ndarray[Any, Any],
    other: np.ndarray[Any, Any],
    apart: np.ndarray[Any, Any],
    ours: int,
    theirs: int,
    limit: float,
) -> np.ndarray[Any, Any]:
    """Return which of the possible pairs to take, as indices into them."""
    graph = coo_array((np.ones(one.size), (one, ours + other)), shape=(ours + theirs,) * 2)
    _, label = connected_components(graph, directed=False)
    group = label[one]
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    chosen = []
    for members in np.split(order, bounds):
        if members.size <= 1:
            chosen.append(members)
            continue
        rows, row = np.unique(one[members], return_inverse=True)
        columns, column = np.unique(other[members], return_inverse=True)
        # A pair that is not possible costs more than all possible ones together.
        cost = np.full((rows.size, columns.size), limit * (min(rows.size, columns.size) + 1))
        cost[row, column] = apart[members]
        pair = np.full(cost.shape, -1)
        pair[row, column] = members
        taken = pair[linear_sum_assignment(cost)]
        chosen.append(taken[taken >= 0])
    return np.concatenate(chosen)


def as_points(points: ArrayLike, name: str) -> np.ndarray[Any, Any]:
    """Return `points` as a float64 array (n, d)."""
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OperationError(
            f"{name} is a {type(points).__name__} that is no array of numbers, but must be finite "
            "points (n, d), e.g. table[['y', 'x']]"
        ) from error
    if array.size == 0:
        return array.reshape(0, array.shape[-1] if array.ndim == 2 else 0)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise OperationError(
            f"{name} has the shape {array.shape}, but must be finite points (n, d), "
            "e.g. table[['y', 'x']]"
        )
    return array
