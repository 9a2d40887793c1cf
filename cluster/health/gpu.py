"""What is wrong with the GPUs of a worker's machine: memory errors, and errors of the hardware."""

import importlib
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

_OF_PROGRAMS = {13, 31, 43, 45, 68, 109}
"""XID errors that programs make: the GPU itself is well after them (NVIDIA, "XID Errors")."""
_MOST_EVENTS = 100
"""Events that are taken in at one look."""


class GpuErrors:
    """Looks at the GPUs that this process sees; an XID error is told of for as long as it lives.

    The driver tells of XID errors as they happen, so only those are known that came since the first
    look.

    Parameters
    ----------
    pynvml
        NVIDIA's library; the one that is installed if not given.
    own
        The only GPU that is looked at, by its number or UUID; all of the machine if not given.

    Examples
    --------
    >>> GpuErrors(None).look() if find_spec("pynvml") is None else []
    []
    """

    def __init__(self, pynvml: Any = None, *, own: str | None = None) -> None:
        self._nvml = pynvml
        self._own = own
        self._handles: dict[str, Any] | None = None
        self._events: Any = None
        self._hardware: dict[tuple[int, int], str] = {}

    def look(self) -> list[str]:
        """Return what is wrong; nothing without a GPU."""
        if self._handles is None:
            self._handles = self._begin()
        if not self._handles:
            return []
        self._take_events()
        found = (self._of_memory(name, handle) for name, handle in self._handles.items())
        return [*filter(None, found), *self._hardware.values()]

    def _begin(self) -> dict[str, Any]:
        if self._nvml is None:
            if find_spec("pynvml") is None:
                return {}
            self._nvml = importlib.import_module("pynvml")
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            handles = self._handles_of_interest()
        except nvml.NVMLError:
            # There is no GPU, or no driver: nothing here needs one then.
            return {}
        try:
            self._events = nvml.nvmlEventSetCreate()
            for handle in handles.values():
                nvml.nvmlDeviceRegisterEvents(
                    handle, nvml.nvmlEventTypeXidCriticalError, self._events
                )
        except nvml.NVMLError:
            # Not all of them tell of events, such as parts of a GPU.
            self._events = None
        return handles

    def _handles_of_interest(self) -> dict[str, Any]:
        nvml, own = self._nvml, self._own
        if own is not None and not own.isdigit():
            return {own: nvml.nvmlDeviceGetHandleByUUID(own)}
        numbers = range(nvml.nvmlDeviceGetCount()) if own is None else [int(own)]
        return {str(each): nvml.nvmlDeviceGetHandleByIndex(each) for each in numbers}

    def _take_events(self) -> None:
        nvml = self._nvml
        for _ in range(_MOST_EVENTS if self._events is not None else 0):
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
                number = int(nvml.nvmlDeviceGetIndex(event.device))
            except nvml.NVMLError:
                # There is none, or its GPU does not answer any more, which is seen below.
                return
            xid = int(event.eventData)
            if xid not in _OF_PROGRAMS:
                self._hardware[number, xid] = f"GPU {number}: error of its hardware (XID {xid})"

    def _of_memory(self, name: str, handle: Any) -> str:
        nvml = self._nvml
        try:
            wrong = nvml.nvmlDeviceGetTotalEccErrors(
                handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            )
        except nvml.NVMLError as error:
            # Another one is told of, such as a GPU that has fallen off the bus (XID 79).
            unknown = error.value == nvml.NVML_ERROR_NOT_SUPPORTED
            return "" if unknown else f"GPU {name}: {error}"
        return f"GPU {name}: {wrong} memory errors that could not be corrected" if wrong else ""


def own_gpu(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the GPU that a process computes on if it chooses none: the first that it may see.

    Parameters
    ----------
    environ
        The environment of the process; of this one if not given.

    Examples
    --------
    >>> own_gpu({"CUDA_VISIBLE_DEVICES": "2,3,0,1"})
    '2'
    >>> own_gpu({})
    """
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[0].strip() or None
