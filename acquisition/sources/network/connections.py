"""Who connects, who leaves, and who is turned away."""

import logging
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from forebay.acquisition.intake import AnomalyKind, AnomalyLog

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
    anomalies
        Where those are told who were turned away.
    max_frame_bytes
        Largest frame that is taken, for the messages.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", anomalies: AnomalyLog, *, max_frame_bytes: int
    ) -> None:
        self._watched = socket
        self._anomalies = anomalies
        self._max_frame_bytes = max_frame_bytes
        # Connections of which no message has come yet, those of them that have ended, and those
        # turned away whose end is still to be noted.
        self._silent = self._ended = self._turned_away = 0
        self.socket: zmq.Socket[bytes] = socket.get_monitor_socket(_WATCHED)
        """Becomes readable when there is something to tell."""

    def heard(self) -> None:
        """Take note that a message has come."""
        self._note_all()
        self._silent = self._ended = 0

    def look(self) -> bool:
        """Take note of what has happened since the last look; False if nothing has.

        A connection may be over before its messages are taken.  So that nobody is said to have
        left without one, look for messages again wherever something has happened.
        """
        if self._note_all():
            return True
        for _ in range(self._ended):
            # ZeroMQ says no more than this of a message that is too large.
            self._anomalies.report(
                AnomalyKind.SENDER_REFUSED,
                "a sender left before a message of it came: if its frames are larger than "
                f"max_frame_bytes={self._max_frame_bytes}, that is why",
            )
        self._ended = 0
        return False

    def close(self) -> None:
        """End the watch; before the socket is closed."""
        self._watched.disable_monitor()
        self.socket.close(linger=0)

    def _note_all(self) -> bool:
        happened = False
        while self.socket.poll(0):
            self._note(recv_monitor_message(self.socket))
            happened = True
        return happened

    def _note(self, happened: Any) -> None:
        event = zmq.Event(happened["event"])
        if event in _TURNED_AWAY:
            self._turned_away += 1
            self._anomalies.report(AnomalyKind.SENDER_REFUSED, f"a sender: {_TURNED_AWAY[event]}")
        elif event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._silent += 1
            _log.info("a sender has connected")
        elif self._turned_away:
            self._turned_away -= 1
        else:
            _log.info("a sender has disconnected")
            if self._silent:
                self._silent -= 1
                self._ended += 1
