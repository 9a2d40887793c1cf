"""A stand-in for a bad network and for a better camera than the fake one.

It sits at an address of its own between the program and the fake camera, loses the packets that
it is told to lose, sends again those that are asked for, and has a clock that can be read, none
of which the fake camera does by itself.
"""

import select
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Self

ADDRESS: Final = "127.0.0.2"
_CAMERA: Final = ("127.0.0.1", 3956)
_READ, _WRITE, _RESEND = 0x80, 0x82, 0x40
_ACKNOWLEDGE = 1
_STREAM_PORT, _STREAM_ADDRESS, _CAPABILITIES = 0xD00, 0xD18, 0x934
_CLOCK, _CLOCK_HIGH, _CLOCK_LOW = 0x944, 0x948, 0x94C
_CAN_RESEND = 1 << 2
_LEADER, _PAYLOAD = 1, 3
_KEPT = 20_000

type Loses = Callable[[int, int], bool]


def lose_nothing(block: int, packet: int) -> bool:
    return False


class Relay:
    """Passes on what the camera at 127.0.0.1 and the program say to each other.

    Parameters
    ----------
    loses
        Whether a packet of a block is lost on its way.
    resends
        Whether packets that are asked for are sent again, and are not lost then.
    clock_offset
        Nanoseconds by which the camera's clock is behind UTC, where it can be read.
    image
        The bytes of every image, instead of those of the camera.
    """

    def __init__(
        self,
        *,
        loses: Loses = lose_nothing,
        resends: bool = True,
        clock_offset: int | None = None,
        image: bytes | None = None,
    ) -> None:
        self._loses = loses
        self._resends = resends
        self._clock_offset = clock_offset
        self._image = image
        self._latched = 0
        self._asked = 0
        self.asked_again = 0
        """Packets that were asked for again."""
        self.lost: list[tuple[int, int]] = []
        """Packets that were lost on their way, by the numbers of their blocks and their own."""
        self.taken: dict[int, int] = {}
        """When each block was taken, in nanoseconds of UTC, by its number."""
        self._control = self._socket(ADDRESS, 3956)
        self._to_camera = self._socket("127.0.0.1", 0)
        self._from_camera = self._socket("127.0.0.1", 0)
        self._program: tuple[str, int] | None = None
        self._receiver: tuple[str, int] | None = None
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._ended, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="relay")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.close()
        self._thread.join()
        for each in (self._control, self._to_camera, self._from_camera, self._ended):
            each.close()

    @staticmethod
    def _socket(address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        return made

    def _run(self) -> None:
        passes = {
            self._control: self._command,
            self._to_camera: self._answer,
            self._from_camera: self._stream,
        }
        while True:
            ready, _, _ = select.select([*passes, self._ended], [], [])
            if self._ended in ready:
                return
            for each in ready:
                message, sender = each.recvfrom(65536)
                passes[each](message, sender)

    def _command(self, message: bytes, sender: tuple[str, int]) -> None:
        """Pass on what the program tells the camera, or do it."""
        command, _, number = struct.unpack_from(">HHH", message, 2)
        if command == _RESEND:
            self._send_again(*struct.unpack_from(">III", message, 8))
            return
        self._program = sender
        register = self._asked = int.from_bytes(message[8:12])
        if command == _WRITE and register == _STREAM_PORT:
            self._receiver = (sender[0], int.from_bytes(message[12:16]))
            port = self._from_camera.getsockname()[1] if self._receiver[1] else 0
            message = message[:12] + port.to_bytes(4)
        if command == _WRITE and register == _STREAM_ADDRESS:
            message = message[:12] + socket.inet_aton("127.0.0.1")
        if self._clock_offset is not None and register in {_CLOCK, _CLOCK_HIGH, _CLOCK_LOW}:
            self._read_clock(command, register, number)
            return
        self._to_camera.sendto(message, _CAMERA)

    def _read_clock(self, command: int, register: int, number: int) -> None:
        assert self._program is not None
        assert self._clock_offset is not None
        if register == _CLOCK:
            self._latched = time.time_ns() - self._clock_offset
        value = {_CLOCK: 1, _CLOCK_HIGH: self._latched >> 32, _CLOCK_LOW: self._latched % 2**32}
        answer = struct.pack(">HHHHI", 0, command + _ACKNOWLEDGE, 4, number, value[register])
        self._control.sendto(answer, self._program)

    def _answer(self, message: bytes, sender: tuple[str, int]) -> None:
        """Pass on what the camera answers."""
        assert self._program is not None
        if int.from_bytes(message[2:4]) == _READ + _ACKNOWLEDGE and self._asked == _CAPABILITIES:
            capabilities = int.from_bytes(message[8:12]) | _CAN_RESEND
            message = message[:8] + capabilities.to_bytes(4)
        self._control.sendto(message, self._program)

    def _stream(self, message: bytes, sender: tuple[str, int]) -> None:
        """Pass on a packet of a block, or lose it."""
        block, info = struct.unpack_from(">HI", message, 2)
        kind, packet = info >> 24, info & 0xFFFFFF
        if kind == _LEADER and self._clock_offset is not None:
            self.taken[block] = int.from_bytes(message[12:20])
            shown = self.taken[block] - self._clock_offset
            message = message[:12] + shown.to_bytes(8) + message[20:]
        if kind == _PAYLOAD and self._image is not None:
            assert len(message) - 8 == len(self._image), "an image of one packet is wanted"
            message = message[:8] + self._image
        self._kept[block, packet] = message
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        if self._loses(block, packet):
            self.lost.append((block, packet))
        else:
            self._deliver(message)

    def _send_again(self, block: int, first: int, last: int) -> None:
        for packet in range(first, last + 1):
            self.asked_again += 1
            if self._resends and (block & 0xFFFF, packet) in self._kept:
                self._deliver(self._kept[block & 0xFFFF, packet])

    def _deliver(self, message: bytes) -> None:
        if self._receiver is not None and self._receiver[1]:
            self._control.sendto(message, self._receiver)
