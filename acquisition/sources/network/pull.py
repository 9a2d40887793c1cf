"""The socket that messages are pulled from."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from forebay.acquisition.errors import SourceError
from forebay.acquisition.intake import AnomalyLog
from forebay.acquisition.sources.network.connections import Connections
from forebay.acquisition.sources.network.header import MAX_HEADER_BYTES
from forebay.acquisition.sources.network.keys import KeyPair

_ENCRYPTION_BYTES = 64
"""What CURVE adds to a message, and a little more."""
_KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
"""A sender whose machine has vanished is forgotten after a minute."""


class PullSocket:
    """A bounded queue of messages from all who connect.

    Each connection may have `queue_frames` messages waiting here, and no part of one is larger
    than `max_frame_bytes`, or than a header may be.  All but `wake` is called from one thread at a time.

    Parameters
    ----------
    endpoint
        Where to listen, as `check_endpoint` returns it.
    queue_frames
        Messages of a connection that may wait.
    max_frame_bytes
        Largest part of a message; whoever sends a larger one is disconnected.
    keys
        The key of this side and the public keys of those who may send; None without encryption.
    anomalies
        Where those are told who are turned away.

    Raises
    ------
    SourceError
        If it cannot be listened there.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        queue_frames: int,
        max_frame_bytes: int,
        keys: tuple[KeyPair, frozenset[bytes]] | None,
        anomalies: AnomalyLog,
    ) -> None:
        with ExitStack() as opened:
            context = zmq.Context()
            opened.callback(context.term)
            if keys is not None:
                opened.callback(_authenticate(context, keys[1]))
            socket = context.socket(zmq.PULL)
            opened.callback(socket.close, linger=0)
            socket.rcvhwm = queue_frames
            socket.maxmsgsize = max(max_frame_bytes, MAX_HEADER_BYTES) + _ENCRYPTION_BYTES
            socket.ipv6 = "[" in endpoint
            for option, value in _KEEPALIVE.items():
                socket.setsockopt(option, value)
            if keys is not None:
                socket.curve_server = True
                socket.curve_secretkey = keys[0].secret
            self._connections = Connections(socket, anomalies, max_frame_bytes=max_frame_bytes)
            opened.callback(self._connections.close)
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                raise SourceError(
                    f"cannot listen at {endpoint}: {error.strerror}; choose another port or "
                    "address, or end what listens there"
                ) from error
            self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
            """Where it listens, with the port that was found."""
            self._wake = os.eventfd(0)
            self._opened = opened.pop_all()
        self._socket = socket
        self._closing = threading.Lock()
        self._closed = False
        self._poller = zmq.Poller()
        for readable in (socket, self._connections.socket, self._wake):
            self._poller.register(readable, zmq.POLLIN)

    def receive(self, seconds: float | None) -> list[zmq.Frame] | None:
        """Return the parts of the next message; None if none came in time, or `wake` was called.

        Parameters
        ----------
        seconds
            Longest time to wait; None for no limit.
        """
        while True:
            try:
                message = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                if self._connections.look():
                    continue
            else:
                self._connections.heard()
                return message
            ready = dict(self._poller.poll(None if seconds is None else round(seconds * 1000)))
            if not ready or self._wake in ready:
                return None

    def wake(self) -> None:
        """End the wait that `receive` is in, and each later one; may be called from any thread."""
        with self._closing:
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Free everything; may be called twice."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            os.close(self._wake)
        self._opened.close()


class _Allowed:
    """Asked by the authenticator whether a key is among those of the senders."""

    def __init__(self, keys: frozenset[bytes]) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002 (the form is given)
        return key in self._keys


def _authenticate(context: "zmq.Context[Any]", senders: frozenset[bytes]) -> Callable[[], None]:
    """Let only those connect who have one of some keys; return what ends that."""
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve_callback(credentials_provider=_Allowed(senders))
    return authenticator.stop
