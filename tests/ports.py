"""Ports for servers that have to be told where to listen."""

import contextlib
import secrets
import socket
from typing import Final

_GIVEN_TO_NOBODY: Final = range(10_000, 32_000)
"""The system itself gives ports above, to any connection that is made before the server is up."""


def free_ports(number: int) -> list[int]:
    """Return some ports of 127.0.0.1 on which nobody listens."""
    found: set[int] = set()
    while len(found) < number:
        port = secrets.choice(_GIVEN_TO_NOBODY)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    return free_ports(1)[0]
