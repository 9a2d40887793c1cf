"""Host memory that a GPU fetches by itself: what is decoded there is copied to it once."""

import functools
import importlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import BufferPrototype

_OUT_OF_MEMORY = 2
"""CUDA's error of an allocation that failed: cudaErrorMemoryAllocation."""

_log = logging.getLogger("forebay.acquisition")


class PinnedMemory:
    """Gives arrays in pinned memory, and other ones where the system has no more of it.

    CuPy keeps the pieces and hands them out again.  What `cupy.asarray` takes from such an array it
    copies straight to the GPU, in the order of the current stream, and it keeps the piece until
    that is done: nobody gets it before.  Other memory it copies to a pinned piece first.

    Parameters
    ----------
    cupyx
        CuPy's additions to NumPy.
    """

    def __init__(self, cupyx: Any) -> None:
        self._cupyx = cupyx
        self._told = False

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array whose values are not set."""
        shape, dtype = tuple(shape), np.dtype(dtype)
        if 0 in shape:
            return np.empty(shape, dtype)
        try:
            made: npt.NDArray[Any] = self._cupyx.empty_pinned(shape, dtype)
        except RuntimeError as error:
            if getattr(error, "status", None) != _OUT_OF_MEMORY:
                raise
            if not self._told:
                self._told = True
                _log.warning(
                    "the system pins no more memory (%s): frames reach the GPU by another copy; see "
                    "'forebay doctor --role compute' for the limit memlock",
                    error,
                )
            return np.empty(shape, dtype)
        return made

    def contiguous(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array whose values lie one after the other, in pinned memory if they do not."""
        if array.flags.c_contiguous:
            return array
        made = self.empty(array.shape, array.dtype)
        made[...] = array
        return made


def pinned_memory_for(prototype: BufferPrototype | None) -> PinnedMemory | None:
    """Return memory for what goes where a prototype of Zarr's puts it; None where that is no GPU."""
    if prototype is None:
        return None
    # Whoever reads into the host's memory need not wait for CuPy, where it is installed.
    from zarr.buffer import gpu

    return _of_cupy() if issubclass(prototype.nd_buffer, gpu.NDBuffer) else None


@functools.cache
def _of_cupy() -> PinnedMemory:
    return PinnedMemory(importlib.import_module("cupyx"))
