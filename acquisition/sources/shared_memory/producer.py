"""A program that has connected to write frames."""

import contextlib
import socket
import struct
from typing import Self

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.shared_memory.exchange import Exchange
from forebay.acquisition.sources.shared_memory.messages import (
    GOODBYE,
    HELLO,
    LAST,
    LAST_MAGIC,
    Hello,
    decode_hello,
    encode_refusal,
)
from forebay.acquisition.sources.shared_memory.patience import Patience

_CREDENTIALS = struct.Struct("3i")


class Producer:
    """The program at the other end of a connection.

    Parameters
    ----------
    connection
        The socket, which is taken over.
    name
        What it is that the program writes to, for messages.
    """

    def __init__(self, connection: socket.socket, name: str) -> None:
        connection.setblocking(False)
        self._socket = connection
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        process, self.user, _ = _CREDENTIALS.unpack(found)
        """The user that it belongs to, as the system knows it."""
        self.name = f"process {process}, which writes frames to {name},"
        """What it is called in messages."""
        self.said_goodbye = False
        """Whether it has said that no frame will come any more."""
        self.counted_through: int | None = None
        """Counter of the last exposure, where it has said that it skipped that one."""
        self._said = bytearray()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def hello(self, patience: Patience) -> Hello:
        """Wait for what it says first.

        Raises
        ------
        SourceError
            If that is not what it should be, or does not come in time.
        """
        while len(self._said) < HELLO.size and not patience.over:
            if self.fileno() in patience.wait(self) and not self._listen(HELLO.size):
                break
        said = bytes(self._said)
        self._said.clear()
        return decode_hello(said)

    def refuse(self, why: str) -> None:
        """Tell it that it is not wanted, and let it go."""
        with contextlib.suppress(OSError):
            self._socket.send(encode_refusal(why))
        self._socket.close()

    def welcome(self, exchange: Exchange) -> None:
        """Give it the memory to write into; if it is gone, `gone` tells."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._socket, [exchange.welcome], list(exchange.files))

    def gone(self) -> bool:
        """Listen to what it says, and tell whether it is gone.

        Raises
        ------
        SourceError
            If it says anything but goodbye.
        """
        there = self._listen(LAST.size)
        said = bytes(self._said)
        if not (GOODBYE.startswith(said) or LAST_MAGIC.startswith(said[: len(LAST_MAGIC)])):
            raise SourceError(f"{self.name} says {said!r} in between; mend it")
        if len(said) == LAST.size:
            _, self.counted_through = LAST.unpack(said)
        self.said_goodbye = said == GOODBYE or self.counted_through is not None
        return not there or self.said_goodbye

    def _listen(self, most: int) -> bool:
        """Take what it said, `most` bytes in all; False if it is gone."""
        try:
            said = self._socket.recv(most - len(self._said))
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self._said += said
        return bool(said)

    def __enter__(self) -> Self:
        """Be connected within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()
