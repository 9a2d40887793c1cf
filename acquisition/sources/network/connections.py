"""Who connects, who leaves, and who is turned away."""

import logging
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from forebay.acquisition.sources.network.refusals import Refusal, Refusals

_TURNED_AWAY = {
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: "it broke off, or does not speak ZeroMQ",
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: "it does not speak ZeroMQ, or not with the keys that are "
    "in use here",
    zmq.Event.HANDSHAKE_FAILED_AUTH: "its public key is not among those of the senders",
}
_WATCHED = (
    zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.DISCONNECTED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)

_log = logging.getLogger("forebay.acquisition")


class Connections:
    """Tells of the connections of a socket; used from the thread that receives.

    Parameters
    ----------
    socket
        The socket, not yet bound.
    refusals
        Where those are counted who were turned away.
    max_frame_bytes
        Largest frame that is taken, for the messages.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", refusals: Refusals, *, max_frame_bytes: int
    ) -> None:
        self._watched = socket
        self._refusals = refusals
        self._max_frame_bytes = max_frame_bytes
        # Connections that no message has come of, and those whose end is still to be told.
        self._silent = self._turned_away = 0
        self.socket: zmq.Socket[bytes] = socket.get_monitor_socket(_WATCHED)
        """Becomes readable when there is something to tell."""

    def heard(self) -> None:
        """Take note that a message came."""
        self._silent = 0

    def tell(self) -> None:
        """Tell what has happened since the last call."""
        while self.socket.poll(0):
            self._tell(recv_monitor_message(self.socket))

    def close(self) -> None:
        """End the watch; before the socket is closed."""
        self._watched.disable_monitor()
        self.socket.close(linger=0)

    def _tell(self, happened: Any) -> None:
        event = zmq.Event(happened["event"])
        if event in _TURNED_AWAY:
            self._turned_away += 1
            self._refusals.add(Refusal.CONNECTION, f"a sender: {_TURNED_AWAY[event]}")
        elif event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._silent += 1
            _log.info("a sender has connected")
        elif self._turned_away:
            self._turned_away -= 1
        elif self._silent:
            # ZeroMQ says no more than this of a message that is too large.
            self._silent -= 1
            self._refusals.add(
                Refusal.CONNECTION,
                "a sender left before a message of it came: if its frames are larger than "
                f"max_frame_bytes={self._max_frame_bytes}, that is why",
            )
        else:
            _log.info("a sender has disconnected")
