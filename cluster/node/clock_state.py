"""How the kernel keeps its clock."""

import ctypes
import os
from dataclasses import dataclass

from forebay.cluster.node.errors import UnreadableError

_UNSYNCHRONISED = 0x40
"""``STA_UNSYNC``: nobody has told the kernel the time for long."""
_NO_STATE = 5
"""``TIME_ERROR``, what the call returns for a clock that is not synchronised."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel knows of its clock."""

    synchronised: bool
    """Whether somebody keeps it by another clock."""
    error_seconds: float
    """How far it may be off, by its own estimate."""


class _Timex(ctypes.Structure):
    """``struct timex`` of ``adjtimex(2)``."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def system_clock_state() -> ClockState:
    """Return the state of this machine's clock; nothing is changed.

    Raises
    ------
    UnreadableError
        If the kernel refuses.

    Examples
    --------
    >>> system_clock_state().error_seconds >= 0
    True
    """
    library = ctypes.CDLL(None, use_errno=True)
    state = _Timex()
    returned = library.adjtimex(ctypes.byref(state))
    if returned < 0:
        raise UnreadableError(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    synchronised = returned != _NO_STATE and not state.status & _UNSYNCHRONISED
    return ClockState(synchronised, state.maxerror / 1e6)
