"""A camera that speaks GigE Vision on a loopback that nobody else is on."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam.device import Device
from forebay.acquisition.sources.genicam.library import library

FAKE_CAMERA: Final = "arv-fake-gv-camera-0.8"
ADDRESS: Final = "127.0.0.1"
CONTROL_PORT: Final = 3956
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_DISCOVER = bytes([0x42, 0x01, 0x00, 0x02, 0x00, 0x00, 0xFF, 0xFF])
_SERIAL = slice(8 + 0xD8, 8 + 0xD8 + 16)


class Camera:
    """Aravis's fake camera, as a process that can be killed, stopped and started again."""

    def __init__(self, serial: str = "GV7", *options: str) -> None:
        self.serial = serial
        self.command = [FAKE_CAMERA, "-i", ADDRESS, "-s", serial, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self.command)
        self.await_answer()

    def await_answer(self) -> None:
        """Return when the camera of this serial number answers, and no other."""
        deadline = time.monotonic() + 60
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ADDRESS, CONTROL_PORT))
            probe.settimeout(0.05)
            while time.monotonic() < deadline:
                with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                    probe.send(_DISCOVER)
                    answer = probe.recv(1024)
                    assert answer[_SERIAL].rstrip(b"\0").decode() == self.serial
                    return
        raise AssertionError("the fake camera did not start")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def bring_loopback_up() -> None:
    """Do what ``ip link set lo up`` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _GET_FLAGS, request))[1]
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


@pytest.fixture
def network() -> Iterator[bool]:
    """Go into a network of our own with nothing but a loopback, and say whether that is allowed.

    Where it is not, tests take turns on the loopback of this machine, for a camera has one port.
    """
    if shutil.which(FAKE_CAMERA) is None:
        pytest.skip(f"{FAKE_CAMERA} is not here; on Debian it is in aravis-tools")
    try:
        library()
    except SourceError as error:
        pytest.skip(str(error))
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        os.unshare(os.CLONE_NEWNET)
    except PermissionError:
        os.close(outside)
        with (Path(tempfile.gettempdir()) / "forebay-camera-tests.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield False
        return
    try:
        bring_loopback_up()
        yield True
    finally:
        os.setns(outside, os.CLONE_NEWNET)
        os.close(outside)


@pytest.fixture
def private_network(network: bool) -> None:
    """Skip what would send a broadcast on the networks of this machine."""
    if not network:
        pytest.skip("a network of our own needs CAP_SYS_ADMIN")


@pytest.fixture
def description(network: bool) -> str:
    """The GenICam description of the fake camera, in XML, which it sends itself."""
    camera = Camera()
    camera.start()
    device = Device(ADDRESS)
    try:
        return device.features.description
    finally:
        device.close()
        camera.kill()


@pytest.fixture
def start_camera(network: bool) -> Iterator[Callable[..., Camera]]:
    """Start fake cameras; they are killed after the test."""
    with contextlib.ExitStack() as started:

        def start(serial: str = "GV7", *options: str) -> Camera:
            camera = Camera(serial, *options)
            camera.start()
            started.callback(camera.kill)
            return camera

        yield start


@pytest.fixture
def camera(start_camera: Callable[..., Camera]) -> Camera:
    """A fake camera at 127.0.0.1."""
    return start_camera()
