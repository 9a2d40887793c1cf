"""A GigE Vision camera that is under control of this program."""

import ctypes
import socket
from typing import NamedTuple

from forebay.acquisition.clock import Clock
from forebay.acquisition.sources.genicam.features import Features
from forebay.acquisition.sources.genicam.library import AravisError, library

CONTROL_PORT = 3956
"""UDP port of a camera's control channel."""

_TIMESTAMP_CONTROL = 0x0944
_LATCH = 2
_LATCHED_HIGH = 0x0948
_LATCHED_LOW = 0x094C
_TRIALS = 5


class ClockReading(NamedTuple):
    """Both clocks at one moment."""

    offset: int
    """What to add to the camera's time to get nanoseconds since 1970-01-01 UTC."""
    uncertainty: int
    """By how much that may be wrong, in nanoseconds."""


class Device:
    """The control channel of a camera; Aravis keeps it alive in a thread of its own.

    Nothing is sent to any other address than the camera's.

    Parameters
    ----------
    address
        IPv4 address of the camera.

    Raises
    ------
    AravisError
        If no camera answers there, or another program has control of it.
    """

    def __init__(self, address: str) -> None:
        self._library = library()
        self.pointer = self._open(address)
        """The ``ArvDevice``."""
        self.features = Features(self.pointer, address)
        """Its settings."""
        if not self.is_controlled:
            self.close()
            raise AravisError("another program has control of it; end that one")

    @property
    def is_controlled(self) -> bool:
        """Whether this program still has control of the camera."""
        return bool(self._library.arv_gv_device_is_controller(self.pointer))

    def read_clocks(self, clock: Clock) -> ClockReading | None:
        """Read the camera's clock and the one of this machine together.

        The camera keeps its time when it is told to.  That was between the sending and the answer,
        so of several trials the one that took the shortest counts.

        Returns
        -------
        ClockReading or None
            None if the camera's clock cannot be read.

        Raises
        ------
        AravisError
            If the camera does not answer.
        """
        frequency = self._library.checked(
            self._library.arv_gv_device_get_timestamp_tick_frequency, self.pointer
        )
        if not frequency:
            return None
        readings = []
        for _ in range(_TRIALS):
            before = clock.time_ns()
            try:
                self._write_register(_TIMESTAMP_CONTROL, _LATCH)
            except AravisError:
                return None
            took = clock.time_ns() - before
            ticks = self._read_register(_LATCHED_HIGH) << 32 | self._read_register(_LATCHED_LOW)
            if not ticks:
                return None
            offset = before + took // 2 - ticks * 1_000_000_000 // frequency
            readings.append(ClockReading(offset, max(1, took // 2)))
        return min(readings, key=lambda reading: reading.uncertainty)

    def close(self) -> None:
        """Give up control; takes 5 s where the camera does not answer."""
        self._library.g_object_unref(self.pointer)

    def _open(self, address: str) -> int:
        convert = self._library.g_inet_address_new_from_string
        ends = [convert(text.encode()) for text in (_own_address(address), address)]
        try:
            pointer: int = self._library.checked(self._library.arv_gv_device_new, *ends)
        finally:
            for end in ends:
                self._library.g_object_unref(end)
        return pointer

    def _read_register(self, register: int) -> int:
        value = ctypes.c_uint()
        read = self._library.arv_device_read_register
        self._library.checked(read, self.pointer, register, ctypes.byref(value))
        return value.value

    def _write_register(self, register: int, value: int) -> None:
        write = self._library.arv_device_write_register
        self._library.checked(write, self.pointer, register, value)


def _own_address(address: str) -> str:
    """Return the address of this machine that the camera at another address sees."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, CONTROL_PORT))  # sends nothing
        except OSError as error:
            raise AravisError(f"there is no way to it: {error.strerror}") from error
        return str(probe.getsockname()[0])
