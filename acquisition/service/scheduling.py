"""Where a thread runs and before whom, and memory that stays in memory: as far as permitted."""

import ctypes
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from forebay.acquisition.errors import AcquisitionError


class SchedulingSettings(BaseModel):
    """How the threads of an acquisition are scheduled, and what is done about its memory.

    Each is a wish.  Where it is not permitted the acquisition runs without, and says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cores: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Numbers of the processor cores that the threads run on; all if not given.",
    )
    realtime_priority: int = Field(
        default=0,
        ge=0,
        le=99,
        description="Priority under SCHED_FIFO, 1 to 99; 0 for the ordinary scheduler.",
    )
    lock_memory: bool = Field(
        default=False, description="Keep the buffer for frames in memory, never in swap."
    )
    pin_memory: bool = Field(
        default=False,
        description="Pin the buffer for frames with CUDA, for a program that copies frames from it to a GPU.",
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """How a thread is scheduled now."""

    cores: tuple[int, ...]
    """The cores that it may run on."""
    realtime_priority: int
    """Its priority under ``SCHED_FIFO``; 0 under the ordinary scheduler."""
    refusals: tuple[str, ...] = ()
    """What was wished and is not so, each with the reason and what to do."""


def place_thread(settings: SchedulingSettings, *, thread: int | None = None) -> Placement:
    """Pin a thread to cores and raise its priority, as far as permitted.

    Threads that it starts later take after it: what flushes a block is as urgent as what writes it.

    Parameters
    ----------
    settings
        What is wished.
    thread
        Native number of the thread; the calling one if not given.

    Returns
    -------
    Placement
        How it is now; never an error for what is not permitted.

    Raises
    ------
    AcquisitionError
        If there is no such thread.

    Examples
    --------
    >>> place_thread(SchedulingSettings()).refusals
    ()
    """
    native = threading.get_native_id() if thread is None else thread
    try:
        refusals = [*_pin(native, settings.cores), *_prioritise(native, settings.realtime_priority)]
        fifo = os.sched_getscheduler(native) == os.SCHED_FIFO
        priority = os.sched_getparam(native).sched_priority if fifo else 0
        cores = tuple(sorted(os.sched_getaffinity(native)))
    except ProcessLookupError as error:
        raise AcquisitionError(f"there is no thread {native}; place it while it runs") from error
    return Placement(cores, priority, tuple(refusals))


@contextmanager
def placed_here(settings: SchedulingSettings) -> Iterator[Placement]:
    """Place the calling thread for the time of the block, and then as it was before.

    Parameters
    ----------
    settings
        What is wished.

    Yields
    ------
    Placement
        How it is within the block.

    Examples
    --------
    >>> with placed_here(SchedulingSettings()) as placement:
    ...     placement.refusals
    ()
    """
    native = threading.get_native_id()
    cores, policy = os.sched_getaffinity(native), os.sched_getscheduler(native)
    priority = os.sched_getparam(native)
    try:
        yield place_thread(settings, thread=native)
    finally:
        os.sched_setscheduler(native, policy, priority)
        os.sched_setaffinity(native, cores)


def _pin(native: int, cores: Collection[int] | None) -> Iterator[str]:
    if cores is None:
        return
    wished, there = sorted(set(cores)), sorted(os.sched_getaffinity(native))
    try:
        os.sched_setaffinity(native, wished)
    except PermissionError as error:
        yield f"the cores {wished} are refused ({error.strerror}): it runs on {there}"
        return
    except (OSError, ValueError, OverflowError):
        yield f"there is none of the cores {wished}: it runs on {there}; choose among those"
        return
    there = sorted(os.sched_getaffinity(native))
    if there != wished:
        yield f"of the cores {wished} it has {there} only; choose among those of the process"


def _prioritise(native: int, priority: int) -> Iterator[str]:
    if not priority:
        return
    try:
        os.sched_setscheduler(native, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError as error:
        yield (
            f"the real-time priority {priority} is refused ({error.strerror}): it runs at the "
            f"ordinary one; allow it with `ulimit -r {priority}` or the capability CAP_SYS_NICE"
        )


@contextmanager
def locked_memory(buffer: npt.NDArray[np.generic] | memoryview) -> Iterator[str | None]:
    """Keep a buffer in memory for the time of the block, as far as permitted.

    Parameters
    ----------
    buffer
        The memory, contiguous; it must stay where it is.

    Yields
    ------
    str or None
        Why it is not locked and what to do; None where it is.

    Examples
    --------
    >>> with locked_memory(np.zeros(4096, np.uint8)) as refusal:
    ...     pass
    """
    pages = np.frombuffer(buffer, np.uint8)
    address, length = pages.ctypes.data, pages.nbytes
    del pages  # shared memory cannot be closed while somebody looks at it
    library = ctypes.CDLL(None, use_errno=True)
    region = ctypes.c_void_p(address), ctypes.c_size_t(length)
    if library.mlock(*region) != 0:
        cause = os.strerror(ctypes.get_errno())
        yield (
            f"locking {length} bytes of memory is refused ({cause}): they may go to swap; allow "
            f"it with `ulimit -l {-(-length // 1024)}` or the capability CAP_IPC_LOCK"
        )
        return
    try:
        yield None
    finally:
        library.munlock(*region)
