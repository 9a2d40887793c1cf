"""Zarr reads a run into GPU memory, whatever its frames are packed with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tests.acquisition.conftest import Write

from forebay.acquisition.format.codec import CompressionName


@pytest.mark.gpu
@pytest.mark.parametrize("compression", ["none", "blosc-lz4", "zstd"])
def test_blocks_become_cupy_arrays(
    write_run: Write, tmp_path: Path, compression: CompressionName
) -> None:
    """With the same values, also where single frames of a block are asked for."""
    cupy: Any = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("CuPy finds no CUDA device")
    written = write_run(compression=compression)
    with zarr.config.enable_gpu():
        array: Any = zarr.open_array(tmp_path / "run" / "frames", mode="r")
        whole, some = array[...], array[3:6]
    assert isinstance(whole, cupy.ndarray)
    np.testing.assert_array_equal(cupy.asnumpy(whole), written)
    np.testing.assert_array_equal(cupy.asnumpy(some), written[3:6])
