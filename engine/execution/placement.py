"""Where the frames of a unit are to be: in the host's memory, or in that of a worker's GPU."""

from importlib.util import find_spec

import dask
import xarray as xr
from zarr.core.buffer import BufferPrototype

from forebay.engine.errors import AlgorithmError
from forebay.engine.results.output import Output

BACKEND = "array.backend"
"""Dask's own setting for the library that arrays are made in; a worker for a GPU has "cupy"."""


def prototype_of_worker() -> BufferPrototype | None:
    """Return Zarr's way to the memory where this worker computes; None for the host's.

    Raises
    ------
    AlgorithmError
        If the worker is for a GPU and has no CuPy.
    """
    if dask.config.get(BACKEND, "numpy") != "cupy":
        return None
    if find_spec("cupy") is None:
        raise AlgorithmError(
            f"this worker has {BACKEND} = cupy, and CuPy is not installed: install forebay with "
            "the extra gpu on it ('pip install forebay[gpu]'), or take the setting away"
        )
    from zarr.buffer.gpu import buffer_prototype

    return buffer_prototype


def placed(state: Output | None, prototype: BufferPrototype | None) -> Output | None:
    """Return a kept state with its arrays where the frames are; coordinates and tables stay."""
    if prototype is None or not isinstance(state, xr.Dataset):
        return state
    buffer = prototype.nd_buffer
    return state.assign(
        {
            name: array.copy(data=buffer.from_numpy_array(array.to_numpy()).as_ndarray_like())
            for name, array in state.data_vars.items()
        }
    )
