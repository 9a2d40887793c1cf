"""One client of a control socket: the lines that it sent, and those that it has yet to take."""

import selectors
import socket
import struct

from forebay.acquisition.control.messages import LINE_BYTES

OUTGOING_BYTES = 256 * 1024
"""How far a client may lie behind before it is let go."""

_CREDENTIALS = struct.Struct("3i")


class Connection:
    """A client.  Nothing here waits, and what is kept of it is bounded.

    While it leaves what was sent to it untaken, nothing more is read from it.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over a socket that was accepted."""
        connection.setblocking(False)
        self.socket = connection
        """The socket itself."""
        self.follows = False
        """Whether it wants to be told of events."""
        self.waiting = False
        """Whether its last request is being done; the next one is left alone meanwhile."""
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._last = False

    @property
    def user(self) -> int:
        """The user at the other end, as the system knows it."""
        found = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(found)
        return int(user)

    @property
    def waits_for(self) -> int:
        """What the selector is to wait for; 0 for nothing."""
        if self.waiting:
            return 0
        busy = self._outgoing or b"\n" in self._incoming
        return selectors.EVENT_WRITE if busy else selectors.EVENT_READ

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        return self._last and self.waits_for == selectors.EVENT_READ

    @property
    def too_long(self) -> bool:
        """Whether its line has become longer than a line may be."""
        return len(self._incoming) >= LINE_BYTES and b"\n" not in self._incoming

    @property
    def behind(self) -> bool:
        """Whether it takes too little of what is sent to it."""
        return len(self._outgoing) > OUTGOING_BYTES

    def next_line(self) -> bytes | None:
        """Return the next line without its line feed, once all before it is answered and taken."""
        if self.flush():
            if b"\n" not in self._incoming:
                self._receive()
            end = self._incoming.find(b"\n")
            if end >= 0:
                line = bytes(self._incoming[:end])
                del self._incoming[: end + 1]
                return line
        return None

    def _receive(self) -> None:
        try:
            received = self.socket.recv(LINE_BYTES - len(self._incoming))
        except BlockingIOError:
            return
        self._incoming += received
        self._last = self._last or not received

    def send(self, line: bytes) -> None:
        """Send a line, now or when there is room for it."""
        self._outgoing += line
        self.flush()

    def flush(self) -> bool:
        """Send what is left, as far as there is room; tell whether that was all."""
        try:
            while self._outgoing:
                del self._outgoing[: self.socket.send(self._outgoing)]
        except BlockingIOError:
            return False
        return True

    def flush_within(self, seconds: float) -> None:
        """Send what is left, and wait for room so long.

        Raises
        ------
        OSError
            If there was no room, or nobody is there to take it.
        """
        self.socket.settimeout(max(seconds, 0.001))
        self.socket.sendall(self._outgoing)

    def end(self) -> None:
        """Read nothing more; what was sent to it may still be taken."""
        self._last = True
        self._incoming.clear()
