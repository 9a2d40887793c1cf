"""The client's side of a control socket."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.control.folder import SocketFolder, socket_name
from forebay.acquisition.control.messages import (
    LINE_BYTES,
    VERSION,
    ClosedEvent,
    Event,
    Reply,
    decode_answer,
)
from forebay.acquisition.errors import ControlError

_STOP_SECONDS = 0.1
"""How soon the end of the waiting is noticed; what is told is noticed at once."""


class ControlClient:
    """A connection to the acquisition that is writing a run on this machine.

    Parameters
    ----------
    run
        Identity of the run, or the path of a socket.
    timeout
        Seconds within which a request is answered.
    clock
        Source of times.

    Raises
    ------
    ControlError
        If no acquisition is writing the run on this machine, or not this user's.

    Examples
    --------
    >>> ControlClient("6f1d3a52-0d0b-4a8e-9a53-6a4a3c1f2e10")
    Traceback (most recent call last):
    forebay.acquisition.errors.ControlError: no acquisition of this user is writing run ...
    """

    def __init__(
        self, run: str | Path, *, timeout: float = 10.0, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._what = f"run {run}" if isinstance(run, str) else str(run)
        self._timeout = timeout
        self._clock = clock
        self._received = bytearray()
        try:
            self._socket = _connect(run, timeout)
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            if isinstance(error, ControlError):
                raise
            raise ControlError(
                f"no acquisition of this user is writing {self._what} on this machine: look with "
                "'forebay runs show' whether it is closed, or who is writing it"
            ) from error

    def request(self, request: str, **fields: Any) -> dict[str, Any]:
        """Send a request, and return what comes back when it is done.

        Parameters
        ----------
        request
            One of ``status``, ``stop``, ``start``, ``annotate``, ``mark``, ``reduce``.
        fields
            What belongs to it, as docs/reference/control-protocol.md has it.

        Raises
        ------
        RequestError
            If the acquisition does not do it; its message says why.
        ControlError
            If it does not answer in time, or ends before it does.
        """
        self._send(request, **fields)
        deadline = self._clock.monotonic() + self._timeout
        while (left := deadline - self._clock.monotonic()) > 0:
            answer = self._receive(left)
            if isinstance(answer, Reply):
                return self._checked(answer)
        raise self._silent()

    def events(self, stop: threading.Event) -> Iterator[Event]:
        """Yield what the acquisition tells, beginning with how it stands, until the run is closed.

        Parameters
        ----------
        stop
            Ends the waiting when it is set.

        Raises
        ------
        RequestError
            If the acquisition does not let this client follow.
        ControlError
            If it ends without having closed the run, or this client has taken too little.
        """
        self._send("follow")
        while not stop.is_set():
            told = self._receive(_STOP_SECONDS)
            if isinstance(told, Reply):
                self._checked(told)
            elif told is not None:
                yield told
                if isinstance(told, ClosedEvent):
                    return

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Hold the connection within the block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _send(self, request: str, **fields: Any) -> None:
        content = {"version": VERSION, "request": request, **fields}
        line = json.dumps(content).encode() + b"\n"
        if len(line) > LINE_BYTES:
            raise RequestError(f"the request has {len(line)} bytes; {LINE_BYTES} are the most")
        self._socket.settimeout(self._timeout)
        # Who was turned away has been sent the reason, which can still be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            try:
                self._socket.sendall(line)
            except TimeoutError as error:
                raise self._silent() from error

    def _receive(self, seconds: float) -> Reply | Event | None:
        """Return the next that is sent; None where nothing comes in that time, or nothing known."""
        if b"\n" not in self._received:
            self._socket.settimeout(seconds)
            try:
                received = self._socket.recv(LINE_BYTES)
            except TimeoutError:
                return None
            except ConnectionError:
                received = b""
            if not received:
                raise ControlError(f"the acquisition that was writing {self._what} is gone")
            self._received += received
        line, found, rest = self._received.partition(b"\n")
        if not found and len(line) < LINE_BYTES:
            return None
        self._received = rest
        try:
            return decode_answer(line)
        except ValueError as error:
            raise ControlError(
                f"what writes {self._what} sent a line that is none of this protocol, version "
                f"{VERSION}: {str(error).splitlines()[0]}"
            ) from error

    def _checked(self, reply: Reply) -> dict[str, Any]:
        if not reply.ok:
            raise RequestError(reply.error or "the acquisition does not say why it refuses")
        return reply.result

    def _silent(self) -> ControlError:
        return ControlError(
            f"the acquisition that is writing {self._what} does not answer within "
            f"{self._timeout:g} s: its process may be stopped, or its storage hang"
        )


def _connect(run: str | Path, timeout: float) -> socket.socket:
    if isinstance(run, Path):
        with SocketFolder.above(run) as folder:
            return folder.connect(run.name, timeout=timeout)
    found = SocketFolder.find()
    if found is None:
        raise FileNotFoundError(run)
    with found as folder:
        return folder.connect(socket_name(run), timeout=timeout)
