"""The data channel of a camera: blocks that are received into memory taken beforehand."""

import ctypes
from dataclasses import dataclass, fields
from enum import Enum, auto
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from forebay.acquisition.sources.genicam.library import library

_SUCCESS = 0
_IMAGE_PAYLOADS: Final = frozenset({1, 5})
"""An image, and an image with chunks behind it."""
_ALIGNMENT = 64
_LEAST_BUFFERS = 4
_MOST_BUFFERS = 4096
_SOCKET_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Reception:
    """How the blocks of a camera came in."""

    complete: int = 0
    """Blocks that came whole."""
    incomplete: int = 0
    """Blocks of which a part was lost, so that they were given up."""
    unbuffered: int = 0
    """Packets that were thrown away, for no buffer was free."""
    resent_packets: int = 0
    """Packets that were lost and came when they were asked for again."""

    def __add__(self, other: "Reception") -> "Reception":
        """Return the sum of two."""
        names = [field.name for field in fields(self)]
        return Reception(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Layout(NamedTuple):
    """How an image came."""

    height: int
    width: int
    format_code: int
    """Number of the pixel format."""


class Loss(Enum):
    """What came instead of an image."""

    NOTHING = auto()
    """No block in this time."""
    NO_IMAGE = auto()
    """A whole block that is no image, or an image with padding."""


class Incomplete(NamedTuple):
    """A block of which packets are lost for good."""

    block: int
    """Its number; 0 where the packet with the number is among them."""


class Image(NamedTuple):
    """An image in a buffer."""

    block: int
    """Number of its block."""
    timestamp: int
    """When it was taken, in nanoseconds on the camera's clock."""
    arrived: int
    """When it began to arrive, in nanoseconds since 1970-01-01 UTC."""
    layout: Layout
    """How it came."""
    data: npt.NDArray[np.uint8]
    """Its bytes; valid until it is given back."""


class BlockStream:
    """Receives what a camera sends; Aravis does so in a thread of its own.

    Lost packets are asked for again where the camera can send them again.  A block that is not
    whole 0.1 s after its last packet is given up.

    Parameters
    ----------
    device
        The ``ArvDevice``, which stays open as long as this is.
    block_bytes
        Largest block.
    buffer_bytes
        Size of all buffers together, of which there are 4 at least.

    Raises
    ------
    AravisError
        If the camera refuses it, or does not answer.
    """

    def __init__(self, device: int, *, block_bytes: int, buffer_bytes: int) -> None:
        self._library = library()
        row = -(-block_bytes // _ALIGNMENT) * _ALIGNMENT
        count = max(_LEAST_BUFFERS, min(_MOST_BUFFERS, buffer_bytes // row))
        self._memory = np.empty((count, row), np.uint8)
        self._memory.fill(0)  # so that no page of it is made when a frame comes
        create = self._library.arv_device_create_stream
        self._stream: int = self._library.checked(create, device, None, None)
        self._held: int | None = None
        size = ctypes.c_int(_SOCKET_BYTES)
        self._library.g_object_set(
            ctypes.c_void_p(self._stream), b"socket-buffer-size", size, ctypes.c_void_p()
        )
        for index in range(count):
            memory = self._memory[index].ctypes.data
            buffer = self._library.arv_buffer_new_full(block_bytes, memory, index + 1, None)
            self._library.arv_stream_push_buffer(self._stream, buffer)

    @property
    def reception(self) -> Reception:
        """How the blocks came in until now."""
        names = (
            b"n_completed_buffers",
            b"n_failures",
            b"n_underruns",
            b"n_resent_packets",
        )
        count = self._library.arv_stream_get_info_uint64_by_name
        return Reception(*(count(self._stream, name) for name in names))

    def receive(self, seconds: float) -> Image | Incomplete | Loss:
        """Wait for the next block; the one before is given back.

        Parameters
        ----------
        seconds
            Longest time to wait.
        """
        self.give_back()
        pop = self._library.arv_stream_timeout_pop_buffer
        self._held = pop(self._stream, round(seconds * 1e6))
        if self._held is None:
            return Loss.NOTHING
        if self._library.arv_buffer_get_status(self._held) != _SUCCESS:
            return Incomplete(self._library.arv_buffer_get_frame_id(self._held))
        return self._image(self._held)

    def give_back(self) -> None:
        """Let the buffer of the last image be used again."""
        if self._held is not None:
            self._library.arv_stream_push_buffer(self._stream, self._held)
            self._held = None

    def close(self) -> None:
        """End the reception; takes 2.5 s where the camera does not answer.

        The pixels of an image that was delivered may still be read.
        """
        self.give_back()
        self._library.g_object_unref(self._stream)

    def _image(self, buffer: int) -> Image | Loss:
        aravis = self._library
        if aravis.arv_buffer_get_payload_type(buffer) not in _IMAGE_PAYLOADS:
            return Loss.NO_IMAGE
        x, y, width, height, right, below = (ctypes.c_int() for _ in range(6))
        aravis.arv_buffer_get_image_region(buffer, x, y, width, height)
        aravis.arv_buffer_get_image_padding(buffer, right, below)
        if right.value or below.value:
            return Loss.NO_IMAGE
        size = ctypes.c_size_t()
        aravis.arv_buffer_get_data(buffer, size)
        row = self._memory[aravis.arv_buffer_get_user_data(buffer) - 1]
        return Image(
            aravis.arv_buffer_get_frame_id(buffer),
            aravis.arv_buffer_get_timestamp(buffer),
            aravis.arv_buffer_get_system_timestamp(buffer),
            Layout(height.value, width.value, aravis.arv_buffer_get_image_pixel_format(buffer)),
            row[: size.value],
        )
