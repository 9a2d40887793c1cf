"""An algorithm that is eager gets the frames of a block in memory, and gives what it gave lazily."""

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.engine import Algorithm, Blockwise, Sequential, WholeRun, process, reproduce
from forebay.engine.algorithms.particles import find_particles
from forebay.engine.errors import AlgorithmError


def kind(frames: xr.DataArray) -> pd.DataFrame:
    """Tell for each frame whether it is a NumPy array."""
    given = isinstance(frames.data, np.ndarray)
    assert given or isinstance(frames.data, da.Array)
    rows = {"t": frames.t.to_numpy(), "in memory": given}
    # Of a tile it has to be told where it lies.
    return pd.DataFrame(
        rows | {name: int(frames[name][0]) for name in frames.indexes if name in "yx"}
    )


def kind_in_order(
    frames: xr.DataArray,
    *,
    state: pd.DataFrame | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tell it of blocks in their order."""
    return kind(frames), kind(frames)


def brighter(frames: xr.DataArray) -> xr.DataArray:
    """Return the frames as floating-point numbers above their darkest pixel."""
    return frames.astype("float32") - frames.min(("y", "x"))


NEEDS: list[Any] = [Blockwise(halo_frames=1), Blockwise(tile_pixels=4, halo_pixels=1), Sequential()]


@pytest.mark.parametrize("needs", NEEDS, ids=["frames", "tiles", "in order"])
@pytest.mark.parametrize("eager", [False, True])
def test_frames_are_in_memory_where_that_is_declared(
    write_run: WriteRun, needs: Any, eager: bool
) -> None:
    """By the engine, and at the desk where one unit is computed again."""
    run = write_run(frames=8)
    function = kind_in_order if isinstance(needs, Sequential) else kind
    algorithm = Algorithm("kind", "1.0.0", function, needs, eager=eager)
    assert process(run, algorithm).table()["in memory"].eq(eager).all()

    again = reproduce(run.location, algorithm, frame=4).compute()
    assert isinstance(again, pd.DataFrame)
    assert again["in memory"].eq(eager).all()


def test_a_whole_run_is_never_loaded_at_once() -> None:
    """It may not fit into memory, so that the declaration is refused."""
    with pytest.raises(AlgorithmError, match="kind cannot be eager and need WholeRun"):
        Algorithm("kind", "1.0.0", kind, WholeRun(), eager=True)


@pytest.mark.parametrize(
    ("algorithm", "given"),
    [
        (Algorithm("brighter", "1.0.0", brighter), {}),
        (find_particles, {"diameter": 5}),
    ],
    ids=["arrays", "particles"],
)
def test_eager_and_lazy_give_the_same_bytes(
    write_run: WriteRun, tmp_path: Any, algorithm: Algorithm, given: dict[str, Any]
) -> None:
    """Where each pixel is computed by itself, and where particles are looked for."""
    run = write_run(frames=8, shape=(32, 40))
    eager, lazy = (
        process(run, replace(algorithm, eager=each), results=tmp_path / str(each), **given)
        for each in (True, False)
    )
    if algorithm is find_particles:
        assert len(eager.table()) > 10
        pd.testing.assert_frame_equal(eager.table(), lazy.table(), check_exact=True)
    else:
        xr.testing.assert_identical(eager.arrays().load(), lazy.arrays().load())
