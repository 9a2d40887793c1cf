"""A network with nothing but a loopback."""

import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """Go into a network of our own: nothing that is dialled there leaves this machine."""
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        os.unshare(os.CLONE_NEWNET)
    except PermissionError:
        os.close(outside)
        pytest.skip("a network of our own needs CAP_SYS_ADMIN")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(control, _GET_FLAGS, request))[1]
            fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))
        # Dask asks for the way out to learn its own address.
        subprocess.run(["ip", "route", "add", "default", "dev", "lo"], check=True)
        yield
    finally:
        os.setns(outside, os.CLONE_NEWNET)
        os.close(outside)
