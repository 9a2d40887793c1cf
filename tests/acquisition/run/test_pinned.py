"""What goes to a GPU is decoded into memory that it fetches by itself; here NumPy stands for one."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import zarr.buffer.cpu
import zarr.core.buffer.gpu
from tests.acquisition.conftest import Write
from zarr.core.buffer import BufferPrototype

from forebay.acquisition import Extent, open_run
from forebay.acquisition.memory import pinned
from forebay.acquisition.memory.pinned import PinnedMemory, pinned_memory_for


class OnDevice(np.ndarray):
    """An array in the memory of the device that NumPy stands for."""

    __cuda_array_interface__: ClassVar[dict[str, Any]] = {}


class Device:
    """Stands for CuPy and what it has beside NumPy: knows what it was given, and from where."""

    def __init__(self) -> None:
        self.pinned: list[npt.NDArray[Any]] = []
        self.sent: list[tuple[npt.NDArray[Any], bool]] = []
        self.refusal: Exception | None = None

    def empty_pinned(self, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
        """Give memory."""
        if self.refusal is not None:
            raise self.refusal
        self.pinned.append(np.empty(shape, dtype))
        return self.pinned[-1]

    def asarray(self, array: npt.NDArray[Any]) -> OnDevice:
        """Copy to the device; what is there stays as it is."""
        if not isinstance(array, OnDevice) and array.size:
            ours = any(np.shares_memory(array, each) for each in self.pinned)
            self.sent.append((array, ours and array.flags.c_contiguous))
        return array if isinstance(array, OnDevice) else np.array(array).view(OnDevice)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """Let Zarr's GPU buffers lie in it."""
    made = Device()
    monkeypatch.setattr(zarr.core.buffer.gpu, "cp", SimpleNamespace(asarray=made.asarray))
    monkeypatch.setitem(sys.modules, "cupyx", made)
    pinned._of_cupy.cache_clear()
    yield made
    pinned._of_cupy.cache_clear()


GPU: BufferPrototype = zarr.core.buffer.gpu.buffer_prototype


@pytest.mark.parametrize("compression", ["none", "blosc-lz4", "zstd"])
def test_values_are_the_hosts_and_each_piece_is_sent_once_from_pinned_memory(
    write_run: Write, tmp_path: Path, device: Device, compression: str
) -> None:
    """Whole blocks, frames across blocks, tiles of them, and in any order."""
    written = write_run(compression=compression)
    run = open_run(tmp_path / "run")
    lazy = run.frames_of(run.blocks, prototype=GPU)
    for part in (
        (slice(None),),
        (slice(2, 9),),
        (slice(None), slice(1, 5), slice(2, 7)),
        (slice(None, None, -3),),
        (3,),
    ):
        device.sent.clear()
        read = lazy.data[part].compute()
        np.testing.assert_array_equal(read, written[part])
        assert device.sent
        assert all(from_pinned for _, from_pinned in device.sent)
    device.sent.clear()
    tile = run.read(run.blocks, Extent(1, 9), y=slice(1, 5), x=slice(2, 7), prototype=GPU)
    np.testing.assert_array_equal(tile.data, written[1:9, 1:5, 2:7])
    assert [(array.shape, from_pinned) for array, from_pinned in device.sent] == [((8, 4, 5), True)]


def test_frames_for_the_hosts_memory_pin_nothing(
    write_run: Write, tmp_path: Path, device: Device
) -> None:
    written = write_run()
    np.testing.assert_array_equal(open_run(tmp_path / "run").frames.values, written)
    assert pinned_memory_for(None) is None
    assert pinned_memory_for(zarr.buffer.cpu.buffer_prototype) is None
    assert not device.pinned


class CudaError(RuntimeError):
    """As CuPy raises them."""

    def __init__(self, status: int) -> None:
        super().__init__(f"cuda error {status}")
        self.status = status


def test_where_no_more_is_pinned_frames_go_all_the_same(
    write_run: Write, tmp_path: Path, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once; what else is wrong with the GPU is an error."""
    written = write_run()
    run = open_run(tmp_path / "run")
    device.refusal = CudaError(2)
    with caplog.at_level(logging.WARNING):
        read = run.frames_of(run.blocks, prototype=GPU).data.compute()
    np.testing.assert_array_equal(read, written)
    (told,) = [each.message for each in caplog.records if "pins no more memory" in each.message]
    assert told.endswith("see 'forebay doctor --role compute' for the limit memlock")
    device.refusal = CudaError(100)
    with pytest.raises(CudaError, match="100"):
        run.frames_of(run.blocks, prototype=GPU).data.compute()


def test_nothing_is_pinned_for_nothing(device: Device) -> None:
    memory = PinnedMemory(device)
    assert memory.empty((0, 4), "uint16").shape == (0, 4)
    assert not device.pinned
    assert memory.empty((2, 4), "uint16") is device.pinned[0]
