"""Memory that a GPU fetches by itself, by way of CUDA's driver alone."""

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import numpy.typing as npt

_LIBRARY = "libcuda.so.1"
_PORTABLE = 1
"""The memory counts as pinned for every context of the process: CU_MEMHOSTREGISTER_PORTABLE."""


@contextmanager
def pinned_for_cuda(buffer: npt.NDArray[np.generic] | memoryview) -> Iterator[str | None]:
    """Register a buffer with CUDA for the time of the block, where there is a GPU.

    What is copied from it to a GPU, by whatever library of this process, goes there without
    another copy and while the processor does something else.  It takes the context of the first
    GPU, a few hundred MiB of its memory.

    Parameters
    ----------
    buffer
        The memory, contiguous; it must stay where it is.

    Yields
    ------
    str or None
        Why it is not registered; None where it is.
    """
    pages = np.frombuffer(buffer, np.uint8)
    address, length = ctypes.c_void_p(pages.ctypes.data), ctypes.c_size_t(pages.nbytes)
    del pages  # shared memory cannot be closed while somebody looks at it
    with ExitStack() as undone:
        try:
            driver = ctypes.CDLL(_LIBRARY)
            _register(driver, address, length, undone)
            refusal = None
        except (OSError, AttributeError) as error:
            undone.close()
            refusal = (
                f"pinning {length.value} bytes of memory for CUDA is refused ({error}): copies to a "
                "GPU take another step; set acquisition.scheduling.pin_memory to false where there "
                "is no GPU"
            )
        yield refusal


def _register(
    driver: ctypes.CDLL, address: ctypes.c_void_p, length: ctypes.c_size_t, undone: ExitStack
) -> None:
    """Register memory in the first GPU's context; what takes that back is put into `undone`."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call(driver, "cuInit", ctypes.c_uint(0))
    _call(driver, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    undone.callback(driver.cuDevicePrimaryCtxRelease_v2, device)
    _call(driver, "cuCtxPushCurrent_v2", context)
    undone.callback(driver.cuCtxPopCurrent_v2, ctypes.byref(ctypes.c_void_p()))
    _call(driver, "cuMemHostRegister_v2", address, length, ctypes.c_uint(_PORTABLE))
    undone.callback(driver.cuMemHostUnregister, address)


def _call(driver: ctypes.CDLL, name: str, *arguments: object) -> None:
    code = getattr(driver, name)(*arguments)
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        said = text.value.decode() if text.value else "an unknown error"
        raise OSError(f"{name}: {said} ({code})")
