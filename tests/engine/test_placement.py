"""Frames of a unit are put where its worker computes; results come back to the host."""

from typing import Any, ClassVar

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
import zarr.buffer.cpu
import zarr.buffer.gpu
from dask.distributed import LocalCluster
from tests.engine.conftest import WriteRun
from zarr.core.buffer import BufferPrototype

from forebay import ops
from forebay.engine import Algorithm, Blockwise, Sequential, WholeRun, process
from forebay.engine.errors import AlgorithmError
from forebay.engine.execution import placement, work
from forebay.engine.execution.placement import placed, prototype_of_worker
from forebay.engine.execution.work import seen_frames
from forebay.engine.unit import Job, plan


class Counted(zarr.buffer.cpu.NDBuffer):
    """Zarr's buffer in the host's memory, which knows what was put into it."""

    given: ClassVar[list[tuple[int, ...]]] = []

    @classmethod
    def from_numpy_array(cls, array_like: npt.ArrayLike) -> "Counted":
        """Take an array, and remember its shape unless it is empty."""
        array = np.asarray(array_like)
        if array.size:
            cls.given.append(array.shape)
        return cls(array)


@pytest.fixture
def counted() -> BufferPrototype:
    """Give a prototype that stands in for the one of a GPU."""
    Counted.given = []
    return BufferPrototype(buffer=zarr.buffer.cpu.Buffer, nd_buffer=Counted)


@pytest.mark.parametrize(
    "needs",
    [Blockwise(halo_frames=1), Blockwise(tile_pixels=4), WholeRun()],
    ids=["frames", "tiles", "whole run"],
)
def test_each_block_is_put_there_once(
    write_run: WriteRun, counted: BufferPrototype, needs: Any
) -> None:
    """After it was checked; the coordinates stay, and the values are those of the host."""
    run = write_run(frames=8, frames_per_block=4, shape=(6, 8))
    job = Job.of(run, Algorithm("same", "1.0.0", lambda frames: frames, needs), {})
    for unit, blocks in plan(run, job):
        Counted.given.clear()

        frames = seen_frames(run, unit, blocks, prototype=counted)
        values = frames.values

        sizes = [len(unit.seen.t), len(unit.seen.y), len(unit.seen.x)]
        assert values.shape == tuple(sizes)
        assert sum(np.prod(each) for each in Counted.given) == np.prod(sizes)
        assert isinstance(frames.data, da.Array)
        np.testing.assert_array_equal(values, seen_frames(run, unit, blocks).values)
        assert isinstance(frames.frame_id.values, np.ndarray)


def test_a_worker_goes_by_dasks_own_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the host's memory, unless arrays are made in CuPy; without CuPy that is told."""
    assert prototype_of_worker() is None
    with dask.config.set({"array.backend": "cupy"}):
        monkeypatch.setattr(placement, "find_spec", lambda name: name == "cupy" or None)
        assert prototype_of_worker() is zarr.buffer.gpu.buffer_prototype
        monkeypatch.setattr(placement, "find_spec", lambda name: None)
        with pytest.raises(AlgorithmError, match="CuPy is not installed: install forebay with"):
            prototype_of_worker()


def test_workers_get_the_setting_from_their_cluster() -> None:
    """As the cluster for GPUs gives it: in the process of a worker, and in no other."""
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=1,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            config={"array": {"backend": "cupy"}},
        ) as cluster,
        cluster.get_client() as client,
    ):
        found = client.submit(lambda: dask.config.get("array.backend")).result(timeout=60)
    assert found == "cupy"
    assert dask.config.get("array.backend", "numpy") == "numpy"


def filtered(
    frames: xr.DataArray, *, state: xr.Dataset | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return frames through a filter that goes on where the block before has ended."""
    before = None if state is None else state["level"]
    mean = ops.exponential_filter(frames, alpha=0.3, initial=before)
    return mean, mean[-1].drop_vars(["t", "timestamp", "frame_id", "flags"]).rename("level")


def test_results_and_states_are_the_same_wherever_frames_are(
    write_run: WriteRun, counted: BufferPrototype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state goes where the frames are, and all that is kept comes back."""
    algorithm = Algorithm("filtered", "1.0.0", filtered, Sequential())
    here = process(write_run("here", frames=8, frames_per_block=4), algorithm).arrays()
    monkeypatch.setattr(work, "prototype_of_worker", lambda: counted)
    there = process(write_run("there", frames=8, frames_per_block=4), algorithm).arrays()
    assert (6, 8) in Counted.given, "the state of the second block"
    assert Counted.given.count((4, 6, 8)) == 2
    np.testing.assert_array_equal(there["frames"], here["frames"])


def test_tables_stay_in_the_hosts_memory(counted: BufferPrototype) -> None:
    table = xr.Dataset({"n": ("i", [1, 2])}).to_dataframe()
    assert placed(table, counted) is table
    assert placed(None, counted) is None


@pytest.mark.gpu
def test_frames_of_a_unit_are_cupy_arrays_on_a_gpu(write_run: WriteRun) -> None:
    """And what an algorithm returns is in the host's memory."""
    cupy: Any = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("CuPy finds no CUDA device")
    seen: list[type] = []

    def smoothed(frames: xr.DataArray) -> xr.DataArray:
        seen.append(type(frames.data._meta))
        return ops.gaussian_filter(frames, sigma=1)

    algorithm = Algorithm("smoothed", "1.0.0", smoothed)
    here = process(write_run("here"), algorithm).arrays()
    with dask.config.set({"array.backend": "cupy"}):
        there = process(write_run("there"), algorithm).arrays()
    assert seen[0] is np.ndarray
    assert seen[-1] is cupy.ndarray
    np.testing.assert_allclose(there["frames"], here["frames"], rtol=1e-5)
