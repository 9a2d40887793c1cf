"""What is wrong with the GPUs of a worker's machine: memory errors, and errors of the hardware."""

import importlib
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

    Examples
    --------
    >>> GpuErrors(None).look() if find_spec("pynvml") is None else []
    []
    """

    def __init__(self, pynvml: Any = None) -> None:
        self._nvml = pynvml
        self._handles: list[Any] | None = None
        self._events: Any = None
        self._hardware: dict[tuple[int, int], str] = {}

    def look(self) -> list[str]:
        """Return what is wrong; nothing without a GPU."""
        if self._handles is None:
            self._handles = self._begin()
        if not self._handles:
            return []
        self._take_events()
        found = (self._of_memory(number) for number in range(len(self._handles)))
        return [*filter(None, found), *self._hardware.values()]

    def _begin(self) -> list[Any]:
        if self._nvml is None:
            if find_spec("pynvml") is None:
                return []
            self._nvml = importlib.import_module("pynvml")
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            number = nvml.nvmlDeviceGetCount()
            handles = [nvml.nvmlDeviceGetHandleByIndex(each) for each in range(number)]
        except nvml.NVMLError:
            # There is no GPU, or no driver: nothing here needs one then.
            return []
        try:
            self._events = nvml.nvmlEventSetCreate()
            for handle in handles:
                nvml.nvmlDeviceRegisterEvents(
                    handle, nvml.nvmlEventTypeXidCriticalError, self._events
                )
        except nvml.NVMLError:
            # Not all of them tell of events, such as parts of a GPU.
            self._events = None
        return handles

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

    def _of_memory(self, number: int) -> str:
        nvml = self._nvml
        handle = (self._handles or [])[number]
        try:
            wrong = nvml.nvmlDeviceGetTotalEccErrors(
                handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            )
        except nvml.NVMLError as error:
            # Another one is told of, such as a GPU that has fallen off the bus (XID 79).
            unknown = error.value == nvml.NVML_ERROR_NOT_SUPPORTED
            return "" if unknown else f"GPU {number}: {error}"
        return f"GPU {number}: {wrong} memory errors that could not be corrected" if wrong else ""
